//! The tier `dma`: the EL1 test host attacks with bus masters, on machines with an SMMUv3; and a
//! Linux host that knows of no SMMU has all its devices busy behind one.
//!
//! `WARD_SWITCH=NAME` does the opposite: it builds Ward without one protection, and the tests that
//! are about it must fail. Which ones is said here.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::linux;
use super::machines::{Run, run as machine};
use super::suite;
use super::tally::Tally;
use crate::image::{self, ImageArgs, Images};
use crate::run::{self, cargo, say};
use crate::{paths, payload};

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
    "-machine",
    "iommu=smmuv3",
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

/// A protection that a test image can be built without.
struct Switch {
    /// The firmware's feature.
    name: &'static str,
    /// What must fail then.
    red: &'static [&'static str],
}

const SWITCHES: &[Switch] = &[
    Switch {
        name: "bypass-smmu",
        red: &[
            "read-of-wards-memory",
            "write-to-wards-memory",
            "read-of-a-guests-page",
            "write-to-a-guests-page",
            "read-of-records-and-tables",
            "write-to-a-guests-table",
            "stale-translation-after-donation",
            "stale-translation-after-donation-of-a-block",
            "neighbours-of-a-donated-page-work",
            "memory-of-a-guest-that-is-off",
            "unshared-page",
            "device-memory",
            "registers-of-the-interrupt-controller",
            "registers-of-the-smmu-by-dma",
            "beyond-memory",
            "flood-of-refused-accesses",
            "race-of-dma-with-donation",
            "race-of-dma-with-unshare",
            "past-a-mapping",
            "another-streams-addresses",
            "read-only-mapping",
            "stale-translation-after-clear",
            "stream-given-back",
        ],
    },
    Switch {
        name: "stale-smmu",
        red: &[
            "stale-translation-after-donation",
            "stale-translation-after-donation-of-a-block",
            "unshared-page",
            "race-of-dma-with-donation",
            "race-of-dma-with-unshare",
            "stale-translation-after-clear",
            "mapped-page-cannot-be-given-away",
            "stream-given-back",
        ],
    },
];

/// Does the tier.
pub(super) fn run(tally: &mut Tally, long: bool) -> Result<()> {
    has_edu()?;
    let only = std::env::var("WARD_RUN").ok();
    let switch = std::env::var("WARD_SWITCH").ok();
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
    if let Some(name) = switch {
        return without(&name, images, &runs, tally);
    }
    for run in runs {
        if let Err(error) = suite::run_with(run, &images, DEVICES, tally) {
            tally.fail(run.name, &format!("{error:#}"));
        }
    }
    if only.is_none() {
        linux::dma(tally, long)?;
    }
    Ok(())
}

/// Is the device there? Some distributions build QEMU without it.
fn has_edu() -> Result<()> {
    let mut qemu = Command::new("qemu-system-aarch64");
    run::output(qemu.args(["-device", "edu,help"]))
        .map(drop)
        .context("this QEMU has no device `edu`, with which DMA is tested: Debian's package qemu-system-arm has it")
}

/// Builds Ward without a protection and has the tests miss it.
fn without(name: &str, mut images: Images, runs: &[&Run], tally: &mut Tally) -> Result<()> {
    let Some(switch) = SWITCHES.iter().find(|switch| switch.name == name) else {
        let names: Vec<&str> = SWITCHES.iter().map(|switch| switch.name).collect();
        bail!("WARD_SWITCH names none of {}", names.join(", "));
    };
    images.ward = build_without(switch.name)?;
    for run in runs {
        let (log, report) = suite::boot(run, &format!("{}-{name}", run.name), &images, DEVICES)?;
        println!("{}: without {name}; console in {log}", run.name);
        for wrong in &report.wrong {
            println!("{}: as it must be: {wrong}", run.name);
        }
        for test in switch.red {
            let failed = format!("dma::{test}: ");
            if report.wrong.iter().any(|wrong| wrong.starts_with(&failed)) {
                tally.passed += 1;
            } else {
                let why = format!("{test} did not fail without {name}: it proves nothing ({log})");
                tally.fail(run.name, &why);
            }
        }
    }
    Ok(())
}

/// Builds target/ward/ward-switch.bin.
fn build_without(switch: &str) -> Result<PathBuf> {
    say(&format!("building an EL2 image with {switch}, for tests"));
    let mut command = cargo(&["build", "--target", paths::BARE_TARGET, "-p", "firmware"]);
    command.args(["--release", "--features", switch]);
    // Of its own: the shipped image would else be linked anew.
    let target = paths::target_dir().join("switch-image");
    command.env("CARGO_TARGET_DIR", &target);
    command.env("WARD_KEYS", payload::public_key()?);
    run::status(&mut command)?;
    let flat = paths::ward_dir()?.join("ward-switch.bin");
    let built = target.join(paths::BARE_TARGET).join("release/firmware");
    image::flatten(&built, &flat)?;
    Ok(flat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_fail_is_there() {
        let sources = [
            include_str!("../../../tests/payload/src/host/suites/dma/memory.rs"),
            include_str!("../../../tests/payload/src/host/suites/dma/race.rs"),
            include_str!("../../../tests/payload/src/host/suites/dma/streams.rs"),
        ];
        for test in SWITCHES.iter().flat_map(|switch| switch.red) {
            let name = format!("\"{test}\"");
            assert!(
                sources.iter().any(|source| source.contains(&name)),
                "{test}"
            );
        }
    }

    #[test]
    fn races_have_a_second_cpu() {
        assert!(RUNS.iter().all(|run| run.machine.cpus >= 2));
    }
}
