//! The tiers, in the order in which they run: quick ones first.

use anyhow::{Result, bail};

use super::dma;
use super::linux;
use super::machines::RUNS;
use super::payloads;
use super::suite;
use super::tally::Tally;
use crate::host::TARGET as LINUX_TARGET;
use crate::image::{self, ImageArgs, Images};
use crate::paths::BARE_TARGET;
use crate::run::{self, cargo};
use crate::{abi, demo, setup};

/// One tier of tests.
pub(super) struct Tier {
    /// What `--tier` calls it.
    pub(super) name: &'static str,
    /// What it does, in one line.
    pub(super) what: &'static str,
    /// Does it; the flag asks for the long form.
    pub(super) run: fn(&mut Tally, bool) -> Result<()>,
}

/// All tiers.
pub(super) const TIERS: &[Tier] = &[
    Tier {
        name: "fmt",
        what: "every file is formatted (cargo fmt --check)",
        run: fmt,
    },
    Tier {
        name: "clippy",
        what: "no lint, on the host's crates and the arm64 ones",
        run: clippy,
    },
    Tier {
        name: "unit",
        what: "unit, integration and documentation tests on this machine",
        run: unit,
    },
    Tier {
        name: "lockstep",
        what: "random calls on hyp-core and the specification in lock step",
        run: lockstep,
    },
    Tier {
        name: "concurrency",
        what: "locks and per-frame transitions under all interleavings",
        run: concurrency,
    },
    Tier {
        name: "miri",
        what: "hyp-core's tests under Miri: undefined behaviour",
        run: miri,
    },
    Tier {
        name: "docs",
        what: "documentation builds without a warning; calls.md and ward_abi.h are up to date",
        run: docs,
    },
    Tier {
        name: "image",
        what: "the EL2 image: header, segments, relocations, FP/SIMD, size",
        run: image,
    },
    Tier {
        name: "boot",
        what: "device trees of many machines; payloads, right and wrong, in QEMU",
        run: payloads::run,
    },
    Tier {
        name: "qemu",
        what: "the EL1 test host on a range of machines in QEMU",
        run: qemu,
    },
    Tier {
        name: "dma",
        what: "attacks by real DMA, behind an SMMU and beside it, in QEMU",
        run: dma::run,
    },
    Tier {
        name: "linux",
        what: "a Linux host: CPUs, devices, sleep, kexec, reboot, panic, attacks",
        run: linux::run,
    },
    Tier {
        name: "guest",
        what: "guests of a Linux host: run, attacked, killed, under load",
        run: linux::guests,
    },
    Tier {
        name: "demo",
        what: "the bare demo ends well, and the one with a Linux host and guest",
        run: demo,
    },
];

/// The crates with arm64 assembly, which build for the bare-metal target.
const BARE_CRATES: [&str; 6] = ["-p", "hyp-el2", "-p", "firmware", "-p", "ward-payload"];

/// The crates that do on arm64 Linux what they do nowhere else.
const LINUX_CRATES: [&str; 4] = ["-p", "vmm-frontend", "-p", "ward-host-test"];

/// One command of the tier `concurrency`.
struct Concurrency {
    /// Name of the check.
    name: &'static str,
    /// Environment, such as `RUSTFLAGS=--cfg loom`.
    environment: &'static [(&'static str, &'static str)],
    /// Arguments of cargo.
    args: &'static [&'static str],
}

/// The concurrency tests. With `--long` they also get `WARD_LONG=1`.
const CONCURRENCY: &[Concurrency] = &[
    Concurrency {
        name: "loom: the lock, every interleaving",
        environment: &[("RUSTFLAGS", "--cfg loom")],
        args: &["test", "-p", "hyp-el2", "--lib", "lock"],
    },
    Concurrency {
        name: "shuttle: racing calls, random schedules",
        environment: &[],
        args: &["test", "-p", "ward-tests", "--test", "interleave"],
    },
];

fn fmt(tally: &mut Tally, _long: bool) -> Result<()> {
    tally.one("fmt", run::status(&mut cargo(&["fmt", "--all", "--check"])));
    Ok(())
}

fn clippy(tally: &mut Tally, _long: bool) -> Result<()> {
    let deny = ["--", "-D", "warnings"];
    tally.one(
        "clippy (host)",
        run::status(cargo(&["clippy", "--all-targets"]).args(deny)),
    );
    let mut bare = cargo(&["clippy", "--target", BARE_TARGET]);
    let mut linux = cargo(&["clippy", "--all-targets", "--target", LINUX_TARGET]);
    tally.one(
        "clippy (arm64 Linux)",
        run::status(linux.args(LINUX_CRATES).args(deny)),
    );
    tally.one(
        "clippy (arm64)",
        run::status(bare.args(BARE_CRATES).args(deny)),
    );
    Ok(())
}

fn unit(tally: &mut Tally, _long: bool) -> Result<()> {
    tally.cargo_tests("unit", &mut cargo(&["test", "--no-fail-fast"]))
}

fn lockstep(tally: &mut Tally, long: bool) -> Result<()> {
    let mut test = cargo(&[
        "test",
        "-p",
        "ward-tests",
        "--test",
        "lockstep",
        "--",
        "--nocapture",
    ]);
    tally.cargo_tests(
        "lockstep",
        test.env("WARD_STEPS", if long { "1000000" } else { "20000" }),
    )
}

fn concurrency(tally: &mut Tally, long: bool) -> Result<()> {
    if CONCURRENCY.is_empty() {
        bail!(
            "no concurrency test is listed: add its command to CONCURRENCY in xtask/src/test/tiers.rs"
        );
    }
    for Concurrency {
        name,
        environment,
        args,
    } in CONCURRENCY
    {
        let mut test = cargo(args);
        // Their own directory: other flags would rebuild everything else each time.
        test.env(
            "CARGO_TARGET_DIR",
            crate::paths::target_dir().join("concurrency"),
        );
        test.envs(environment.iter().copied());
        if long {
            test.env("WARD_LONG", "1");
        }
        tally.cargo_tests(name, &mut test)?;
    }
    Ok(())
}

fn miri(tally: &mut Tally, _long: bool) -> Result<()> {
    if let Some(missing) = setup::miri_missing() {
        bail!(
            "Miri is not there, so undefined behaviour was not looked for (--allow-missing miri goes on without)\n{missing}"
        );
    }
    // Through rustup: $CARGO is the pinned toolchain's and knows no other.
    let mut miri = std::process::Command::new("rustup");
    miri.args(["run", "nightly", "cargo", "miri", "test", "-p", "hyp-core"])
        .current_dir(crate::paths::root());
    miri.env("CARGO_TARGET_DIR", crate::paths::target_dir().join("miri"));
    miri.env(
        "MIRIFLAGS",
        "-Zmiri-strict-provenance -Zmiri-symbolic-alignment-check",
    );
    // The pinned toolchain's names for these must not reach the nightly one.
    miri.env_remove("CARGO")
        .env_remove("RUSTC")
        .env_remove("RUSTUP_TOOLCHAIN");
    tally.cargo_tests("miri", &mut miri)
}

fn docs(tally: &mut Tally, _long: bool) -> Result<()> {
    let deny = "-D warnings";
    tally.one(
        "docs (host)",
        run::status(cargo(&["doc", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", deny)),
    );
    let mut bare = cargo(&["doc", "--no-deps", "--quiet", "--target", BARE_TARGET]);
    tally.one(
        "docs (arm64)",
        run::status(bare.args(BARE_CRATES).env("RUSTDOCFLAGS", deny)),
    );
    tally.one("docs (calls)", abi::run(&abi::AbiArgs { check: true }));
    Ok(())
}

fn image(tally: &mut Tally, _long: bool) -> Result<()> {
    tally.one("image", images().and_then(|images| images.check_size()));
    Ok(())
}

fn qemu(tally: &mut Tally, long: bool) -> Result<()> {
    let images = images()?;
    for run in RUNS.iter().filter(|run| long || !run.long) {
        if let Err(error) = suite::run(run, &images, &[], tally) {
            tally.fail(run.name, &format!("{error:#}"));
        }
    }
    Ok(())
}

fn demo(tally: &mut Tally, long: bool) -> Result<()> {
    let boots = |images: Result<Images>| {
        images.and_then(|images| demo::bare::boot(&demo::DemoArgs::usual(), &images))
    };
    if long {
        // What `--debug` shows. First, so that the usual images are what remains.
        let unoptimised = ImageArgs {
            debug_build: true,
            ..ImageArgs::default()
        };
        tally.one("bare demo, unoptimised", boots(image::build(&unoptimised)));
    }
    tally.one("bare demo", boots(images()));
    tally.one("demo", demo::linux());
    Ok(())
}

/// The images as they would be shipped; a second build in one run takes no time.
fn images() -> Result<Images> {
    image::build(&ImageArgs::default())
}
