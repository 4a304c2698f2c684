//! A malicious host: the module `ward_attack` fires calls from every CPU while the machine works.

use anyhow::{Context as _, Result, bail};

use crate::report::Report;
use crate::scenario::Context;
use crate::{proc, system};

const FILE: &str = "/proc/ward_attack";

/// Fires `ward.calls=` calls on each CPU, begun with `ward.seed=`, and takes the module's verdict.
pub(crate) fn run(context: &Context, report: &mut Report) -> Result<()> {
    let (seed, calls): (u64, u64) = (context.args.value("seed")?, context.args.value("calls")?);
    system::load_module("ward_attack.ko", "bundle=/bundle")?;
    proc::write(FILE, &format!("{seed} {calls}\n"))?;
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
