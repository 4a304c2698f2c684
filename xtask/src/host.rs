//! `cargo xtask run`: a Linux host beside Ward, with a shell on the serial console.

pub(crate) mod kernel;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::debian;
use crate::guest::{self, Parts};
use crate::image::{self, ImageArgs, Images, check_bootargs};
use crate::initramfs::Named;
use crate::linux::{self, stock};
use crate::qemu::Machine;
use crate::qemu::host::{HostBoot, Reader};
use crate::run::{self, cargo, say, shell_line};
use crate::{demo, initramfs, paths, setup};
use kernel::Choice;

/// The target of static programs for the host.
pub(crate) const TARGET: &str = "aarch64-unknown-linux-musl";
/// The size of a scratch disk; it takes as much room as is written to it.
const DISK: u64 = 256 << 20;

/// Boot Ward with a Linux host in QEMU and give a shell in it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask run                                   the small kernel, 2 CPUs, 2 GiB
  cargo xtask run --kernel stock                    Debian's own arm64 kernel, unpacked, not installed
  cargo xtask run --kernel ~/linux/arch/arm64/boot/Image
  cargo xtask run --cpus 8 --memory 16384 --cpu max
  cargo xtask run --debian                          with a Debian for a protected guest, on the virtio disk
  cargo xtask run --append 'loglevel=3 maxcpus=1'
  cargo xtask run --debug                           wait for gdb, and print how to attach

In the shell `ward run /guest.ward` starts a protected guest, signed with this workspace's key, and
`ward-vm-test` attacks guests (`ward-vm-test attack list`). Debian's kernel has no KVM for Ward.
With --debian there is one more guest, a small Debian with apt:
`ward run /debian.ward --disk /dev/vda --net tap=tap0`.

The machine has GICv3 with ITS, an SMMUv3, an NVMe disk, and a disk and a network card by virtio-pci.
Both disks are scratch files in target/ward/linux/run and keep what is written to them. Leave with
`poweroff -f` in the shell, or Ctrl-A X; Ctrl-A C leads to QEMU's monitor. `reboot -f` starts the
machine again, Ward included. The exit status is 0 when the machine powered off, 1 when QEMU failed.")]
pub(crate) struct RunArgs {
    /// The host's kernel: `small` (cargo xtask linux), `stock` (Debian's), or the file of an arm64 Image
    #[arg(long, default_value = "small", value_name = "small|stock|PATH")]
    kernel: Choice,
    /// Number of CPUs
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8))]
    cpus: u32,
    /// RAM in MiB
    #[arg(long, default_value_t = 2048, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1024..=16384))]
    memory: u32,
    /// CPU model, as QEMU names it: cortex-a53, cortex-a76, neoverse-n1, max
    #[arg(long, default_value = "cortex-a76", value_name = "MODEL")]
    cpu: String,
    /// More words for the kernel's command line
    #[arg(long, default_value = "", value_name = "WORDS")]
    append: String,
    /// Have a Debian on the virtio disk, and a signed guest that starts from it
    #[arg(long)]
    debian: bool,
    /// Build Ward without optimisation, stop before the first instruction, and wait for gdb
    #[arg(long)]
    debug: bool,
}

/// Does `cargo xtask run`.
pub(crate) fn run(args: &RunArgs) -> Result<()> {
    setup::ensure(setup::Scope::Host)?;
    check_bootargs(&args.append)?;
    let kernel = kernel::prepare(&args.kernel)?;
    let images = image::build(&ImageArgs {
        debug_build: args.debug,
        ..ImageArgs::default()
    })?;
    let dir = dir("run")?;
    let initrd = dir.join("initramfs");
    say("making the initramfs");
    let mut modules = kernel.modules.clone();
    if let Some(small) = &kernel.small {
        for name in ["ward_log", "ward_peek"] {
            modules.push(linux::modules::build(small, name)?);
        }
    }
    let mut files = tools(&kernel, &images)?;
    let virtio = if args.debian {
        let bundle = Parts::make(&kernel.image)?.bundle(&guest::RUN_DEBIAN)?;
        files.push(("debian.ward".to_owned(), bundle));
        let file = dir.join("debian.img");
        if !file.exists() {
            debian::guest_disk(&kernel.image, &file)?;
        }
        file
    } else {
        disk(&dir.join("virtio.img"))?
    };
    initramfs::shell(&stock::busybox()?, &modules, &files, &initrd)?;
    let bootargs = format!("console=ttyAMA0 {}", args.append);
    let boot = HostBoot {
        machine: Machine {
            cpu: &args.cpu,
            cpus: args.cpus,
            memory: args.memory,
            count_instructions: false,
        },
        ward: &images.ward,
        kernel: &kernel.image,
        initrd: &initrd,
        bootargs: bootargs.trim_end(),
        smmu: true,
        nvme: &disk(&dir.join("nvme.img"))?,
        virtio: &virtio,
        console: Reader::Person,
        wait_for_gdb: args.debug,
    };
    let mut qemu = boot.command();
    say(&format!("booting {}: {}", kernel.what, shell_line(&qemu)));
    if args.debug {
        eprint!("{}", demo::gdb_help(&images)?);
    }
    say("leave with `poweroff -f` in the shell, or Ctrl-A X");
    let status = qemu
        .status()
        .context("cannot start QEMU: `cargo xtask setup` installs it")?;
    ended(status)
}

/// The program that runs guests, one that attacks them, and a signed guest.
pub(crate) fn tools(kernel: &kernel::Prepared, images: &Images) -> Result<Vec<Named>> {
    let mut files = vec![
        ("bin/ward".to_owned(), ward()?),
        ("bin/ward-vm-test".to_owned(), program("ward-vm-test")?),
        ("bundle".to_owned(), images.payload.bundle().to_path_buf()),
    ];
    // Debian's kernel cannot be a protected guest with devices, nor a host of any.
    if kernel.small.is_some() || kernel.modules.is_empty() {
        let bundle = Parts::make(&kernel.image)?.bundle(&guest::RUN)?;
        files.push(("guest.ward".to_owned(), bundle));
    }
    Ok(files)
}

fn ended(status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("QEMU ended with an error ({status}); its own messages are above");
    }
    Ok(())
}

/// Builds a program of tests/linux, static, and returns its file.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    built("ward-host-test", name)
}

/// Builds `ward`, the program that runs guests, static, at target/ward/bin/ward.
pub(crate) fn ward() -> Result<PathBuf> {
    let dir = paths::ward_dir()?.join("bin");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let file = dir.join("ward");
    linux::replace(&built("vmm-frontend", "ward")?, &file)?;
    Ok(file)
}

/// Builds a static program for arm64 Linux, without what only a debugger reads.
fn built(package: &str, name: &str) -> Result<PathBuf> {
    say(&format!("building {name}, a program for the host"));
    let mut build = cargo(&["build", "--release", "--target", TARGET]);
    build.args(["--config", "profile.release.strip='debuginfo'"]);
    run::status(build.args(["-p", package, "--bin", name]))?;
    let release = paths::target_dir().join(TARGET).join("release");
    Ok(release.join(name))
}

/// The directory of what one kind of run leaves, made when it is missing.
pub(crate) fn dir(name: &str) -> Result<PathBuf> {
    let dir = paths::ward_dir()?.join("linux").join(name);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// A scratch disk, made when it is missing.
pub(crate) fn disk(file: &Path) -> Result<PathBuf> {
    if !file.exists() {
        File::create(file)
            .and_then(|new| new.set_len(DISK))
            .with_context(|| format!("cannot make {}", file.display()))?;
    }
    Ok(file.to_path_buf())
}
