//! A malicious host: the module `ward_attack` fires calls from every CPU while the machine works.

use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::{devices, hotplug};
use crate::report::Report;
use crate::scenario::Context;
use crate::{proc, system};

const FILE: &str = "/proc/ward_attack";

/// Fires `ward.calls=` calls on each CPU, begun with `ward.seed=`, and takes the module's verdict.
pub(crate) fn run(context: &Context, report: &mut Report) -> Result<()> {
    let (seed, calls): (u64, u64) = (context.args.value("seed")?, context.args.value("calls")?);
    system::load_module("ward_attack.ko", "bundle=/bundle")?;
    thread::scope(|scope| {
        let attack = scope.spawn(|| proc::write(FILE, &format!("{seed} {calls}\n")));
        // The attack begins on every CPU; from then on they go and come.
        thread::sleep(Duration::from_secs(1));
        let mut worked = Ok(());
        while worked.is_ok() && !attack.is_finished() {
            worked = work(context, report);
        }
        let attacked = attack
            .join()
            .map_err(|_| anyhow!("the attack's thread died"))?;
        worked.context("the host's own work, while it attacked")?;
        attacked
    })?;
    let verdict = proc::read(FILE)?;
    let failed: Vec<&str> = verdict
        .lines()
        .filter(|line| line.starts_with("FAILED"))
        .collect();
    for line in verdict.lines() {
        report.note(&format!("attack: {line}"));
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    verdict
        .lines()
        .any(|line| line.starts_with("ok "))
        .then_some(())
        .context("the module checked nothing")
}

/// What a host does: its CPUs come and go under load, a disk, processes.
fn work(context: &Context, report: &mut Report) -> Result<()> {
    hotplug::while_loaded(context, report)?;
    devices::nvme(context, report)?;
    for _ in 0..20 {
        let status = Command::new("/bin/busybox").arg("true").status()?;
        ensure!(status.success(), "a program ended with {status}");
    }
    Ok(())
}
