//! CPUs go off and come back while all of them are busy.

use std::hint;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, Result, bail};

use super::cpus;
use crate::report::Report;
use crate::scenario::Context;
use crate::{proc, system};

/// How often each CPU goes and comes, unless `ward.rounds=` says otherwise.
const ROUNDS: u64 = 5;

/// Every CPU but the first goes off and on, several times, under load, and then runs a thread.
pub(crate) fn while_loaded(context: &Context, report: &mut Report) -> Result<()> {
    let rounds = match context.args.text("rounds") {
        Some(_) => context.args.value("rounds")?,
        None => ROUNDS,
    };
    let (stop, work) = (AtomicBool::new(false), AtomicU64::new(0));
    let result = thread::scope(|scope| {
        for _ in 0..2 * context.cpus {
            scope.spawn(|| load(&stop, &work));
        }
        let result = off_and_on(context.cpus, rounds, &work);
        stop.store(true, Ordering::Relaxed);
        result
    });
    report.note(&format!(
        "hotplug: {rounds} rounds, {} pieces of work meanwhile",
        work.load(Ordering::Relaxed)
    ));
    result?;
    cpus::all_online(context, report)
}

/// Keeps a CPU busy with arithmetic, memory of its own, and the kernel.
fn load(stop: &AtomicBool, work: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let mut memory = vec![0_u64; 64 << 10];
        for (index, word) in (0_u64..).zip(&mut memory) {
            *word = index.rotate_left(7) ^ work.load(Ordering::Relaxed);
        }
        hint::black_box(&memory);
        thread::yield_now();
        work.fetch_add(1, Ordering::Relaxed);
    }
}

fn off_and_on(cpus: usize, rounds: u64, work: &AtomicU64) -> Result<()> {
    for round in 0..rounds {
        let before = work.load(Ordering::Relaxed);
        for cpu in 1..cpus {
            let file = format!("/sys/devices/system/cpu/cpu{cpu}/online");
            for state in ["0", "1"] {
                proc::write(&file, state).with_context(|| format!("round {round}"))?;
                if proc::read(&file)? != state {
                    bail!("round {round}: CPU {cpu} is not in the state {state}");
                }
            }
            system::on_cpu(cpu, || Ok(())).with_context(|| format!("round {round}"))?;
        }
        let went_on = || Ok(work.load(Ordering::Relaxed) > before);
        if !system::until(std::time::Duration::from_secs(20), went_on)? {
            bail!("round {round}: the load stands still");
        }
    }
    Ok(())
}
