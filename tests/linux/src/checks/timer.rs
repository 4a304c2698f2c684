//! Timers work on every CPU, and which one the host uses.

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
    report.note(&format!("the host's timer: {}", which()?));
    Ok(())
}

fn count(column: usize) -> Result<u64> {
    let timers = proc::interrupts(&["arch_timer"])?;
    Ok(timers
        .iter()
        .filter_map(|timer| timer.counts.get(column))
        .sum())
}

fn which() -> Result<&'static str> {
    let timers = proc::interrupts(&["arch_timer"])?;
    let has = |number| {
        timers
            .iter()
            .any(|timer| timer.what.split(' ').any(|word| word == number))
    };
    match (has(VIRTUAL), has(PHYSICAL)) {
        (true, false) => Ok("virtual (PPI 27)"),
        (false, true) => Ok("physical (PPI 30)"),
        _ => bail!("not one of the timers: {timers:?}"),
    }
}
