//! The command line: what all commands share. Help, man pages, completion and the manual are
//! printed from here.

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::fmt::Write;
use std::path::PathBuf;
use vmm_frontend::exit;

mod bundle;
pub mod running;

pub use bundle::{BundleArgs, DigestArg};

/// Starts private guests under the Ward hypervisor, and prepares what they start from
#[derive(Parser)]
#[command(name = "ward", version, after_help = after_help(), propagate_version = true, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
    /// How results and errors are printed
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs: one JSON object, errors on standard error
    Json,
}

#[derive(Subcommand)]
pub enum Command {
    /// Make a key pair to sign guests with
    ///
    /// Writes the secret key, readable by you alone, and the public key, 64 hexadecimal digits that
    /// are built into the Ward image of every machine that shall start your guests. Never overwrites
    /// a file.
    #[command(after_help = "\
Example:
  ward keygen --out owner.key            writes owner.key and owner.key.pub")]
    Keygen {
        /// The secret key's new file; the public key goes to FILE.pub
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    Bundle(Box<BundleArgs>),
    /// Show what is in a bundle, trusted or not
    ///
    /// Prints the signer, the machine, the images with their digests, the kernel's release, and
    /// what the device tree says. Says whether the bundle is intact, which is not whether it is
    /// trusted: for that see `ward verify`.
    #[command(after_help = "\
Examples:
  ward inspect guest.ward
  ward inspect guest.ward --tree | less                   the device tree's source
  ward inspect guest.ward --output json | jq .signer")]
    Inspect {
        /// The bundle
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
        /// Print the source of the device tree instead
        #[arg(long)]
        tree: bool,
    },
    /// Check a bundle with the code that Ward runs at EL2
    #[command(after_help = "\
Example:
  ward verify guest.ward --trust owner.key.pub && echo Ward would start it")]
    Verify {
        /// The bundle
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
        /// File of a public key that is trusted; may be given several times
        #[arg(long, value_name = "PUB", required = true)]
        trust: Vec<PathBuf>,
        /// Bits of a guest's address space on the machine that will run it
        #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(32..=52))]
        ipa_bits: u32,
    },
    #[command(flatten)]
    Running(running::Running),
    /// Print a script that completes command lines in a shell
    #[command(after_help = "\
Examples:
  ward completion bash | sudo tee /etc/bash_completion.d/ward
  ward completion zsh > ~/.zfunc/_ward")]
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write the manual pages
    #[command(after_help = "\
Example:
  ward man ~/.local/share/man/man1 && man ward-bundle")]
    Man {
        /// An existing directory, into which ward.1 and a page for each command go
        #[arg(value_name = "DIRECTORY")]
        directory: PathBuf,
    },
}

/// The table of exit statuses.
fn after_help() -> String {
    let mut text = "\
Examples:
  ward keygen --out owner.key
  ward bundle --kernel Image --initrd initrd.img --key owner.key --out guest.ward
  ward verify guest.ward --trust owner.key.pub

Exit codes:"
        .to_owned();
    for (status, meaning) in exit::TABLE {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {status:>2}  {meaning}");
    }
    text
}
