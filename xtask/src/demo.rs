//! `cargo xtask demo`: Ward, a Linux host, and a signed Linux guest that `ward run` starts; then the
//! host reaches for the guest's secrets by every route there is.

pub(crate) mod bare;
mod show;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::guest::{self, Parts};
use crate::host::kernel::{self, Choice};
use crate::host::{self, disk};
use crate::image::{self, ImageArgs};
use crate::initramfs::{self, Tests};
use crate::linux::{modules, stock};
use crate::qemu::Machine;
use crate::qemu::console;
use crate::qemu::host::{HostBoot, Reader};
use crate::qemu::lost;
use crate::run::{say, shell_line};
use crate::setup;
use crate::test::report::{Hopeless, Report};

pub(crate) use bare::gdb_help;

/// Seconds until it is given up.
const LIMIT: u64 = 600;

/// Boot Ward, a Linux host and a protected guest in QEMU, and see attacks refused.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask demo                                   2 CPUs, 1 GiB, Neoverse N1
  cargo xtask demo --cpus 4 --memory 4096 --cpu cortex-a76
  cargo xtask demo --kernel Image                    with another build of the project's kernel
  cargo xtask demo --bare                            without Linux, in seconds: the EL1 test host and guest
  cargo xtask demo --bare --debug                    wait for gdb, and print how to attach

The first time it builds the Linux kernel, about 15 minutes on two cores; then it takes about a minute.

The host starts a Linux guest by `ward run`: first one that checks what it sees of its machine,
then one that holds secrets. The host attacks it: by its VMM's mapping, /proc/PID/mem, /dev/mem,
a kernel module, vmsplice, process_vm_readv, swapping, moving and merging its pages, KVM's
registers, the run page. After each attack the guest says whether its secrets are intact.

The exit status is 0 only when the guests reported success, every attack was refused, all
memory came back, and the machine powered off by itself.")]
pub(crate) struct DemoArgs {
    /// Number of CPUs
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8))]
    cpus: u32,
    /// RAM in MiB
    #[arg(long, default_value_t = 1024, value_name = "MIB", value_parser = clap::value_parser!(u32).range(512..=16384))]
    memory: u32,
    /// CPU model, as QEMU names it: cortex-a53, cortex-a76, neoverse-n1, max
    #[arg(long, default_value = "neoverse-n1", value_name = "MODEL")]
    cpu: String,
    /// The kernel of host and guest: `small` (cargo xtask linux), or the file of an arm64 Image
    #[arg(long, default_value = "small", value_name = "small|PATH")]
    kernel: Choice,
    /// Give up after this many seconds [default: 600; 60 with --bare]
    #[arg(long, value_name = "SECONDS", conflicts_with = "debug")]
    timeout: Option<u64>,
    /// Without Linux: the EL1 test host and test guest
    #[arg(long)]
    bare: bool,
    /// Build without optimisation, stop before the first instruction, and wait for gdb
    #[arg(long, requires = "bare")]
    debug: bool,
}

impl DemoArgs {
    /// What `cargo xtask demo --bare` does without other arguments.
    pub(crate) fn usual() -> Self {
        DemoArgs {
            cpus: 2,
            memory: 1024,
            cpu: "cortex-a76".to_owned(),
            kernel: Choice::Small,
            timeout: None,
            bare: true,
            debug: false,
        }
    }

    fn machine(&self) -> Machine<'_> {
        Machine {
            cpu: &self.cpu,
            cpus: self.cpus,
            memory: self.memory,
            count_instructions: false,
        }
    }
}

/// Does `cargo xtask demo`.
pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    if args.bare {
        return bare::run(args);
    }
    setup::ensure(setup::Scope::Host)?;
    let start = Instant::now();
    boot(args)?;
    println!(
        "demo: the guest kept its secrets, {} s; `cargo xtask run` gives you the host's shell",
        start.elapsed().as_secs()
    );
    Ok(())
}

/// The demo as a test.
pub(crate) fn linux() -> Result<()> {
    boot(&DemoArgs {
        bare: false,
        cpu: "neoverse-n1".to_owned(),
        ..DemoArgs::usual()
    })
}

/// Builds what is missing, boots, shows, judges.
fn boot(args: &DemoArgs) -> Result<()> {
    let kernel = kernel::prepare(&args.kernel)?;
    let images = image::build(&ImageArgs::default())?;
    let dir = host::dir("demo")?;
    let mut spare = Vec::new();
    if let Some(small) = &kernel.small {
        for name in ["ward_log", "ward_peek"] {
            spare.push(modules::build(small, name)?);
        }
    }
    let parts = Parts::make(&kernel.image)?;
    let mut files = parts.files(guest::DEMO, None)?;
    files.push(("bin/ward".to_owned(), host::ward()?));
    let test = "ward-vm-test";
    files.push((format!("bin/{test}"), host::program(test)?));
    let initrd = dir.join("initramfs");
    let content = Tests {
        program: &host::program("ward-host-test")?,
        busybox: &stock::busybox()?,
        modules: &[],
        spare: &spare,
        bundle: images.payload.bundle(),
        files: &files,
    };
    initramfs::tests(&content, &initrd)?;
    let machine = args.machine();
    let bootargs = format!(
        "console=ttyAMA0 printk.devkmsg=on ward.scenario=demo ward.cpus={} ward.memory={}",
        machine.cpus, machine.memory
    );
    let boot = HostBoot {
        machine,
        ward: &images.ward,
        kernel: &kernel.image,
        initrd: &initrd,
        bootargs: &bootargs,
        smmu: true,
        nvme: &disk(&dir.join("nvme.img"))?,
        virtio: &disk(&dir.join("virtio.img"))?,
        console: Reader::Program,
        wait_for_gdb: false,
    };
    let mut qemu = boot.command();
    say(&format!("booting {}: {}", kernel.what, shell_line(&qemu)));
    let limit = Duration::from_secs(args.timeout.unwrap_or(LIMIT));
    let console = lost::again(|| {
        let (mut hopeless, mut shown) = (Hopeless::default(), show::Show::default());
        console::watch_until(&mut qemu, Some(limit), false, |line| {
            if let Some(text) = shown.line(line) {
                println!("{text}");
            }
            hopeless.after(line)
        })
    })?;
    let _ = fs::remove_file(&initrd);
    let log = console.keep("demo")?;
    let mut report = Report::read(&console.lines, &["demo"]);
    report.wrong.extend(console.bad_end());
    if !report.wrong.is_empty() {
        bail!(
            "the demo failed:\n  * {}\nThe whole console is in {log}",
            report.wrong.join("\n  * ")
        );
    }
    println!(
        "demo: {} checks passed; the whole console is in {log}",
        report.passed
    );
    Ok(())
}
