//! The tiers `linux` and `guest`: a Linux host beside Ward does the whole-machine list, and runs,
//! attacks and kills guests, on a range of machines.

mod disk;
pub(crate) mod report;
mod runs;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::tally::Tally;
use crate::debian::{self, repository};
use crate::guest::{self, Parts};
use crate::host;
use crate::host::kernel::{self, Choice, Prepared};
use crate::image::{self, ImageArgs};
use crate::initramfs::{self, Named, Tests};
use crate::linux::{modules, stock};
use crate::qemu::console::{self, Console};
use crate::qemu::host::{HostBoot, Reader};
use crate::qemu::lost;
use crate::run::say;
use report::Report;
use runs::{Below, Disk, PKVM, RUNS, Run, Tier};

/// How many lines of a console are shown when something is wrong.
const TAIL: usize = 25;

/// What Ward says of an access by a device that an SMMU ended.
const REFUSED: &str = " was refused ";

/// Does the tier `linux`.
pub(super) fn run(tally: &mut Tally, long: bool) -> Result<()> {
    tier(Tier::Linux, tally, long)
}

/// Does the tier `guest`.
pub(super) fn guests(tally: &mut Tally, long: bool) -> Result<()> {
    tier(Tier::Guest, tally, long)
}

/// Does the runs of the tier `dma` that have a Linux host.
pub(super) fn dma(tally: &mut Tally, long: bool) -> Result<()> {
    tier(Tier::Dma, tally, long)
}

/// Whether the tier `dma` has a run of that name with a Linux host.
pub(super) fn is_dma(name: &str) -> bool {
    RUNS.iter()
        .any(|run| run.tier == Tier::Dma && run.name == name)
}

fn tier(tier: Tier, tally: &mut Tally, long: bool) -> Result<()> {
    // One run alone, for whoever works on it.
    let only = std::env::var("WARD_RUN").ok();
    let wanted = |run: &&Run| match &only {
        Some(name) => run.name == name,
        None => long || !run.long,
    };
    let of_tier = || RUNS.iter().filter(|run| run.tier == tier);
    let chosen: Vec<&Run> = of_tier().filter(wanted).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = of_tier().map(|run| run.name).collect();
        bail!("WARD_RUN names none of the runs {}", names.join(", "));
    }
    let ready = Ready::make(tier)?;
    for run in chosen {
        let result = one(run, &ready, What::All).and_then(|console| judge(run, &console, tally));
        if let Err(error) = result {
            tally.fail(run.name, &format!("{error:#}"));
        }
    }
    Ok(())
}

/// A Linux host on images that lack a protection, which does some checks.
pub(super) struct Lacking(Ready);

impl Lacking {
    /// What all of them share.
    pub(super) fn make() -> Result<Self> {
        let mut ready = Ready::make(Tier::Linux)?;
        ready.guests.push(vm_test()?);
        Ok(Lacking(ready))
    }

    /// Has the host of a run, on this image or by itself, do these checks alone. Returns what it
    /// printed, and what went wrong.
    pub(super) fn run(
        &mut self,
        name: &str,
        image: Option<&Path>,
        checks: &[&str],
    ) -> Result<(Console, Vec<String>)> {
        let run = RUNS.iter().find(|run| run.name == name);
        let run = run.with_context(|| format!("there is no run {name}"))?;
        let what = match image {
            None => What::WithoutWard(checks),
            Some(image) => {
                self.0.ward = image.to_path_buf();
                self.0.test_ward = image.to_path_buf();
                What::Checks(checks)
            }
        };
        let console = one(run, &self.0, what)?;
        let report = Report::read(&console.lines, run.boots);
        Ok((console, report.wrong))
    }
}

/// What all runs share.
struct Ready {
    /// Ward as it is shipped, and for tests.
    ward: PathBuf,
    test_ward: PathBuf,
    /// The small kernel.
    kernel: Prepared,
    program: PathBuf,
    busybox: PathBuf,
    bundle: PathBuf,
    /// Modules that tests load, for the small kernel.
    spare: Vec<PathBuf>,
    /// What hosts with guests have beside.
    guests: Vec<Named>,
}

impl Ready {
    fn make(tier: Tier) -> Result<Self> {
        let images = image::build(&ImageArgs::default())?;
        let kernel = kernel::prepare(&Choice::Small)?;
        let mut spare = Vec::new();
        if let Some(built) = &kernel.small {
            for name in ["ward_log", "ward_attack", "ward_peek"] {
                spare.push(modules::build(built, name)?);
            }
        }
        let guests = match tier {
            Tier::Linux | Tier::Dma => Vec::new(),
            Tier::Guest => guest_files(&kernel.image)?,
        };
        Ok(Ready {
            guests,
            test_ward: match tier {
                // It has Ward as it is shipped.
                Tier::Dma => images.ward.clone(),
                Tier::Linux | Tier::Guest => image::build_test()?,
            },
            bundle: images.payload.bundle().to_path_buf(),
            ward: images.ward,
            kernel,
            program: host::program("ward-host-test")?,
            busybox: stock::busybox()?,
            spare,
        })
    }
}

/// The programs that start and attack guests, and Linux guests.
fn guest_files(kernel: &Path) -> Result<Vec<Named>> {
    let parts = Parts::make(kernel)?;
    let stock = guest::Stock::make(&kernel::prepare(&Choice::Stock)?.image, &parts)?;
    let mut files = parts.files(guest::TESTS, Some(&stock))?;
    files.push(("bin/ward".to_owned(), host::ward()?));
    files.push(vm_test()?);
    files.extend(repository::files(&host::dir("guests")?)?);
    Ok(files)
}

fn vm_test() -> Result<Named> {
    let program = host::program("ward-vm-test")?;
    Ok(("bin/ward-vm-test".to_owned(), program))
}

/// What is done of a run.
#[derive(Clone, Copy)]
enum What<'a> {
    /// All of it.
    All,
    /// These checks.
    Checks(&'a [&'a str]),
    /// These checks, by a kernel with KVM's own protected mode in place of Ward.
    WithoutWard(&'a [&'a str]),
}

/// One run: its disks and initramfs, and the boot.
fn one(run: &Run, ready: &Ready, what: What) -> Result<Console> {
    let stock;
    let (kernel, spare) = if run.stock {
        stock = kernel::prepare(&Choice::Stock)?;
        (&stock, &[][..])
    } else {
        (&ready.kernel, &ready.spare[..])
    };
    let machine = run.machine;
    say(&format!(
        "{}: {} on {} x {}, {} MiB: {}",
        run.name, kernel.what, machine.cpus, machine.cpu, machine.memory, run.scenario
    ));
    let dir = host::dir("test")?;
    let file = |kind: &str| dir.join(format!("{}.{kind}", run.name));
    let (initrd, nvme, virtio) = (file("initramfs"), file("nvme"), file("virtio"));
    let wanted = |(name, _): &&Named| guest::wanted(run.scenario, name);
    let files: Vec<Named> = ready.guests.iter().filter(wanted).cloned().collect();
    let content = Tests {
        program: &ready.program,
        busybox: &ready.busybox,
        modules: &kernel.modules,
        spare,
        bundle: &ready.bundle,
        files: &files,
    };
    initramfs::tests(&content, &initrd)?;
    disk::nvme(&nvme, &kernel.image, &initrd)?;
    match run.disk {
        Disk::Empty => drop(disk::empty(&virtio)?),
        Disk::Debian => debian::guest_disk(&ready.kernel.image, &virtio)?,
        Disk::Qemu => debian::copy(&debian::disk(&debian::QEMU, &ready.kernel.image)?, &virtio)?,
    }
    let mut bootargs = run.bootargs();
    if let What::Checks(checks) | What::WithoutWard(checks) = what {
        // A host that loses what its guests had has no room for many.
        bootargs = format!("{bootargs} ward.lives=4 ward.only={}", checks.join(","));
    }
    if let What::WithoutWard(_) = what {
        bootargs = format!("{bootargs} {PKVM}");
    }
    let boot = HostBoot {
        machine,
        ward: match run.below {
            Below::TestWard => &ready.test_ward,
            Below::Ward | Below::Nothing => &ready.ward,
        },
        kernel: &kernel.image,
        initrd: &initrd,
        bootargs: &bootargs,
        smmu: run.smmu(),
        nvme: &nvme,
        virtio: &virtio,
        console: Reader::Program,
        wait_for_gdb: false,
    };
    let limit = Duration::from_secs(run.limit);
    let mut qemu = match (what, run.below) {
        (What::WithoutWard(_), _) | (_, Below::Nothing) => boot.without_ward(),
        _ => boot.command(),
    };
    qemu.args(run.devices);
    let console = lost::again(|| {
        let mut hopeless = report::Hopeless::default();
        console::watch_until(&mut qemu, Some(limit), false, |line| hopeless.after(line))
    })?;
    for file in [&initrd, &nvme, &virtio] {
        // Only the console is of use afterwards.
        let _ = fs::remove_file(file);
    }
    Ok(console)
}

/// What is wrong with what Ward said of accesses that it ended.
fn accesses(run: &Run, lines: &[String]) -> Vec<String> {
    let refused = lines.iter().filter(|line| line.contains(REFUSED));
    let (told, other): (Vec<_>, Vec<_>) =
        refused.partition(|line| run.refused.iter().any(|it| line.contains(it)));
    let missing = run
        .refused
        .iter()
        .filter(|it| !told.iter().any(|line| line.contains(*it)));
    let missing = missing.map(|it| format!("Ward did not say: {it}"));
    other.into_iter().take(1).cloned().chain(missing).collect()
}

/// Adds what the console shows to the tally, and keeps the console.
fn judge(run: &Run, console: &Console, tally: &mut Tally) -> Result<()> {
    let log = console.keep(&format!("linux-{}", run.name))?;
    let mut report = Report::read(&console.lines, run.boots);
    if run.tier == Tier::Dma {
        report.wrong.extend(accesses(run, &console.lines));
    }
    report.wrong.extend(console.bad_end());
    let short = |note: &&String| !note.starts_with("attack: CALLS");
    for note in report.notes.iter().filter(short) {
        println!("{}: {note}", run.name);
    }
    if !report.wrong.is_empty() {
        let tail = console.lines.len().saturating_sub(TAIL);
        println!("{}: the console's last lines:", run.name);
        for line in &console.lines[tail..] {
            println!("    {line}");
        }
    }
    tally.console(run.name, &log, report.passed, &report.wrong);
    Ok(())
}

/// Writes a file's content at an offset.
fn put(disk: &fs::File, from: &Path, offset: u64) -> Result<u64> {
    use std::os::unix::fs::FileExt;
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    disk.write_all_at(&bytes, offset)
        .context("cannot write to the test disk: is the disk full?")?;
    Ok(bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ward_tells_of_the_accesses_that_a_run_wants_refused_and_of_no_other() {
        let run = |name| RUNS.iter().find(|run| run.name == name).unwrap();
        let says = |what: &str| format!("ward: smmu 0: {what}: nothing is mapped there");
        let strict = run("a76-2cpu-dma-strict");
        let mut lines: Vec<String> = strict.refused.iter().map(|it| says(it)).collect();
        assert!(lines.len() > 1 && accesses(strict, &lines).is_empty());
        // The disk's.
        lines.push(says("stream 0x0010 was refused a read at 0xffffe000"));
        assert_eq!(accesses(strict, &lines), lines[lines.len() - 1..]);
        lines.pop();
        lines.remove(0);
        let missing = format!("Ward did not say: {}", strict.refused[0]);
        assert_eq!(accesses(strict, &lines), [missing]);
        // Where none is wanted each is wrong.
        assert_eq!(accesses(run("a76-2cpu-dma-load"), &lines), lines[..1]);
    }
}
