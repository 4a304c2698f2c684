//! The tier `dma`: the EL1 test host attacks with bus masters, on machines with an SMMUv3; and a
//! Linux host that knows of no SMMU has all its devices busy behind one.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::linux;
use super::machines::{Run, run as machine};
use super::suite;
use super::tally::Tally;
use crate::image::{self, ImageArgs, Images};
use crate::qemu::SMMU;
use crate::qemu::console::Console;
use crate::run;

/// The machines.
const RUNS: &[Run] = &[
    limited(machine("dma-a76-2cpu", "dma", "cortex-a76", 2, 1024)),
    limited(machine("dma-n1-4cpu", "dma", "neoverse-n1", 4, 2048)),
];

/// Each transfer of the device takes a tenth of a second: some 40 s in all.
const fn limited(run: Run) -> Run {
    Run { limit: 300, ..run }
}

/// What these machines have beside: an SMMU, two devices that do DMA as they are told, without the
/// mask of 28 bits that would have attacks miss, and one on a bus that no SMMU stands before.
const DEVICES: &[&str] = &[
    SMMU[0],
    SMMU[1],
    "-device",
    "edu,addr=2.0,dma_mask=0xffffffffffffffff",
    "-device",
    "edu,addr=3.0,dma_mask=0xffffffffffffffff",
    "-global",
    "virtio-mmio.force-legacy=false",
    "-object",
    "rng-builtin,id=entropy",
    "-device",
    "virtio-rng-device,rng=entropy",
];

/// Does the tier.
pub(super) fn run(tally: &mut Tally, long: bool) -> Result<()> {
    has_edu()?;
    let only = std::env::var("WARD_RUN").ok();
    if only.as_deref().is_some_and(linux::is_dma) {
        return linux::dma(tally, long);
    }
    let wanted = |run: &&Run| only.as_ref().is_none_or(|name| run.name == name);
    let runs: Vec<&Run> = RUNS.iter().filter(wanted).collect();
    if runs.is_empty() {
        let names: Vec<&str> = RUNS.iter().map(|run| run.name).collect();
        bail!("WARD_RUN names none of the runs {}", names.join(", "));
    }
    let images = image::build(&ImageArgs::default())?;
    for run in runs {
        if let Err(error) = suite::run(run, &images, DEVICES, tally) {
            tally.fail(run.name, &format!("{error:#}"));
        }
    }
    if only.is_none() {
        linux::dma(tally, long)?;
    }
    Ok(())
}

/// Boots the test host on the smaller of the machines, and returns what it printed.
pub(super) fn boot(images: &Images) -> Result<Console> {
    has_edu()?;
    suite::boot(&RUNS[0], images, DEVICES)
}

/// Is the device there? Some distributions build QEMU without it.
fn has_edu() -> Result<()> {
    let mut qemu = Command::new("qemu-system-aarch64");
    run::output(qemu.args(["-device", "edu,help"]))
        .map(drop)
        .context("this QEMU has no device `edu`, with which DMA is tested: Debian's package qemu-system-arm has it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn races_have_a_second_cpu() {
        assert!(RUNS.iter().all(|run| run.machine.cpus >= 2));
    }
}
