//! The commands around running guests.

use crate::run::RunArgs;
use clap::Subcommand;

#[derive(Subcommand)]
pub enum Running {
    /// Start a guest
    ///
    /// Starts the guest of a signed bundle, protected: Ward verifies it, and keeps its memory and
    /// registers from this host. The terminal is its console; Ctrl-A X ends it, Ctrl-A H helps.
    /// SIGTERM presses its power button, a second one ends it at once. A guest that asks for a
    /// restart is built and verified anew.
    #[command(after_help = "\
Examples:
  ward run guest.ward
  ward run guest.ward --disk root.img --disk data.img,ro --net tap=tap0
  ward run guest.ward --console file=guest.log &
  ward run --normal --kernel Image --initrd initrd.img --append 'console=ttyAMA0' --memory 1G --cpus 2

Whoever is not root needs access to /dev/kvm, and for a protected guest a limit of locked memory
(`ulimit -l`) that covers the guest's: ward says how much.")]
    Run(Box<RunArgs>),
    /// List the guests that run
    #[command(
        after_help = "Examples:\n  ward list\n  ward list --output json | jq -r '.guests[].name'"
    )]
    List,
    /// Show what guests and Ward have done so far
    ///
    /// Exits to the VMM by their kind, memory, what the devices carried; and, for root, the
    /// counters of Ward itself.
    #[command(after_help = "Examples:\n  ward stats\n  ward stats debian --output json")]
    Stats {
        /// One guest alone [default: all]
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// End a guest
    ///
    /// Presses the guest's power button, again every 5 seconds, and waits until it has ended.
    #[command(after_help = "Examples:\n  ward stop debian\n  ward stop debian --force")]
    Stop {
        /// The guest, as `ward list` shows it
        #[arg(value_name = "NAME")]
        name: String,
        /// End it at once, without asking it: like pulling the plug
        #[arg(long)]
        force: bool,
        /// How long to wait for its end
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        wait: u64,
    },
    /// Print Ward's log
    #[command(after_help = "Examples:\n  sudo ward log\n  sudo ward log --follow")]
    Log {
        /// Go on with what comes, until Ctrl-C
        #[arg(long, short)]
        follow: bool,
    },
}
