//! Timers work on every CPU, and which one the host uses.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::cpus;
use crate::report::Report;
use crate::scenario::Context;
use crate::{proc, system};

/// The virtual and the physical timer's private interrupt, as Linux numbers them.
const VIRTUAL: &str = "27";
const PHYSICAL: &str = "30";
const VIRTUAL_NAME: &str = "virtual (PPI 27)";
const PHYSICAL_NAME: &str = "physical (PPI 30)";
const NAP: Duration = Duration::from_millis(50);

/// On each CPU a sleep ends, not too early, and by an interrupt of that CPU's timer.
pub(crate) fn ticks_everywhere(_: &Context, report: &mut Report) -> Result<()> {
    for (column, cpu) in cpus::online()?.into_iter().enumerate() {
        let before = count(column)?;
        system::on_cpu(cpu, || {
            let start = Instant::now();
            thread::sleep(NAP);
            let slept = start.elapsed();
            if slept < NAP {
                bail!("CPU {cpu} slept {slept:?} instead of {NAP:?}");
            }
            Ok(())
        })?;
        if count(column)? == before {
            bail!("CPU {cpu} slept without an interrupt of its timer");
        }
    }
    let (timer, at_ward) = (which()?, knows_ward());
    report.note(&format!("the host's timer: {timer}"));
    // A kernel that runs vCPUs leaves the virtual one to them by itself; any other has it.
    if (timer == PHYSICAL_NAME) != at_ward {
        bail!("a kernel that knows of Ward: {at_ward}; its timer: {timer}");
    }
    Ok(())
}

fn count(column: usize) -> Result<u64> {
    let timers = proc::interrupts(&["arch_timer"])?;
    Ok(timers
        .iter()
        .filter_map(|timer| timer.counts.get(column))
        .sum())
}

/// Has this kernel's KVM found Ward? Then it shows Ward's counters; the module `ward_log` does not.
fn knows_ward() -> bool {
    Path::new("/sys/kernel/debug/ward/stats").exists()
}

fn which() -> Result<&'static str> {
    let timers = proc::interrupts(&["arch_timer"])?;
    let has = |number| {
        timers
            .iter()
            .any(|timer| timer.what.split(' ').any(|word| word == number))
    };
    match (has(VIRTUAL), has(PHYSICAL)) {
        (true, false) => Ok(VIRTUAL_NAME),
        (false, true) => Ok(PHYSICAL_NAME),
        _ => bail!("not one of the timers: {timers:?}"),
    }
}
