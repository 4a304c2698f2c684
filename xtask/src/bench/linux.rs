//! A Linux host with and without Ward, in instructions.
//!
//! The same kernel does the same work in machines that differ in nothing else: started at EL1, where
//! no EL2 is; at EL2, as a kernel without Ward is; beside Ward; and that with all devices behind an
//! SMMU, which Ward has and the kernel does not know of.

mod report;
mod start;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::host::{self, kernel};
use crate::initramfs;
use crate::qemu::console::{self, Console};
use crate::qemu::host::Files;
use crate::run::{say, shell_line};
pub(crate) use report::{Costs, render};
use report::{Ward, read, ticks_to_instructions};
use start::Start;

/// What is measured first, from the machine's reset.
const BOOT: &str = "boot-to-init";

/// Everything measured once.
pub(crate) fn measure(ward: &Path, cpu: &str, limit: Duration) -> Result<Costs> {
    let kernel = kernel::prepare(&kernel::Choice::Small)?;
    let program = host::program("ward-host-bench")?;
    let initrd = host::dir("bench")?.join("initramfs");
    initramfs::only(&program, &[], &initrd)?;
    let files = Files {
        ward,
        kernel: &kernel.image,
        initrd: &initrd,
    };
    let mut costs = Costs::default();
    for start in Start::ALL {
        let mut qemu = start.command(cpu, &files);
        say(&format!(
            "counting a Linux {}: {}",
            start.what(),
            shell_line(&qemu)
        ));
        let console = console::watch(&mut qemu, Some(limit), false)?;
        let counts = counts(&console, start.what())?;
        costs.commands.push(start.line(cpu));
        costs.counts.push(counts);
        if start.by_ward() {
            let ward = Ward {
                boot: entered(&console.lines)?,
                memory: report::memory(&console.lines)?,
            };
            // Its kernel starts when Ward is done.
            if let Some((_, boot)) = costs.counts.last_mut().and_then(|all| all.first_mut()) {
                *boot = boot.saturating_sub(ward.boot);
            }
            costs.wards.push(ward);
        }
    }
    costs.check()?;
    Ok(costs)
}

/// The counts of one machine.
fn counts(console: &Console, what: &str) -> Result<Vec<(String, u64)>> {
    let tail = || console.lines[console.lines.len().saturating_sub(12)..].join("\n  ");
    if let Some(wrong) = console.bad_end() {
        bail!("the Linux {what} did not finish: {wrong}\n  {}", tail());
    }
    let counts = read(&console.lines)?;
    if counts.first().is_none_or(|(name, _)| name != BOOT) {
        bail!("the Linux {what} did not say how it booted:\n  {}", tail());
    }
    Ok(counts)
}

/// Instructions until Ward entered its host.
fn entered(lines: &[String]) -> Result<u64> {
    lines
        .iter()
        .find_map(|line| ticks_to_instructions(line.strip_prefix("ward: counter: ")?))
        .context("Ward did not say when it entered the host (`ward: counter: …`)")
}
