//! `cargo xtask test`: runs the tiers of tests in order and adds up what passed.

mod ahead;
mod dma;
mod linux;
mod machines;
mod payloads;
mod suite;
mod tally;
mod tiers;
mod without;

pub(crate) use linux::report;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use crate::{run::say, setup};
use tally::Tally;
use tiers::{TIERS, Tier};

/// Run the tests, or some tiers of them.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask test                          everything; some 45 minutes on 2 cores
  cargo xtask test --list                   the tiers and what each one does
  cargo xtask test --tier unit --tier qemu  two of them
  cargo xtask test --long                   long runs: a million lock-step calls, all machines
  WARD_RUN=dma-a76-2cpu cargo xtask test --tier dma   one machine
  cargo xtask test --allow-missing miri     go on without a nightly toolchain
  cargo xtask test --list-protections       what Ward can be built without, to see tests fail
  cargo xtask test --without zeroing        do the tests of this protection miss it?

A failing tier does not keep the others from running. The last line is
`N passed, M failed`; the exit status is 1 when something failed.")]
pub(crate) struct TestArgs {
    /// Run only this tier (may be repeated)
    #[arg(long = "tier", value_name = "TIER", value_parser = tier_name)]
    tiers: Vec<String>,
    /// List the tiers and stop
    #[arg(long)]
    list: bool,
    /// Run the long form of each tier
    #[arg(long)]
    long: bool,
    /// Leave this tier out, and say so, when its tool cannot be had
    #[arg(long, value_name = "TIER", value_parser = ["miri"])]
    allow_missing: Vec<String>,
    /// Build Ward without this protection, and have those tests run, of the tiers linux, guest
    /// and dma, that must fail then (may be repeated)
    #[arg(long, value_name = "NAME", value_parser = protection, conflicts_with = "long")]
    without: Vec<String>,
    /// List the protections that --without takes, with the tests that miss each, and stop
    #[arg(long)]
    list_protections: bool,
}

/// Does `cargo xtask test`. Failures are reported here, because the last line must be the count.
pub(crate) fn run(args: &TestArgs) -> Result<ExitCode> {
    if args.list {
        TIERS
            .iter()
            .for_each(|tier| println!("{:12} {}", tier.name, tier.what));
        return Ok(ExitCode::SUCCESS);
    }
    if args.list_protections {
        without::list();
        return Ok(ExitCode::SUCCESS);
    }
    if !args.without.is_empty() {
        return without(args);
    }
    let chosen =
        |tier: &&Tier| args.tiers.is_empty() || args.tiers.iter().any(|name| name == tier.name);
    let tiers: Vec<&Tier> = TIERS.iter().filter(chosen).collect();
    let mut total = Tally::default();
    if let Err(error) = setup::ensure(scope(args, &tiers)) {
        total.fail("setup", &format!("{error:#}"));
    }
    let others = tiers.len() > 1;
    let kernel = tiers
        .iter()
        .any(|tier| ["linux", "guest", "demo", "dma"].contains(&tier.name));
    let _ahead = (others && kernel).then(ahead::Ahead::start);
    for tier in tiers {
        if tier.name == "miri"
            && args.allow_missing.iter().any(|name| name == "miri")
            && setup::miri_missing().is_some()
        {
            say("tier miri: left out, no nightly toolchain with miri (--allow-missing miri)");
            continue;
        }
        total.add(run_tier(tier, args.long));
    }
    Ok(end(&total))
}

/// Does `--without`: what must fail has to.
fn without(args: &TestArgs) -> Result<ExitCode> {
    if let Some(tier) = args.tiers.iter().find(|tier| *tier != "guest") {
        bail!("--without is about the tier guest, not {tier}: leave --tier {tier} out");
    }
    setup::ensure(setup::Scope::Host)?;
    let mut total = Tally::default();
    let named = |one: &&without::Protection| args.without.iter().any(|name| name == one.name);
    let chosen: Vec<_> = without::PROTECTIONS.iter().filter(named).collect();
    if let Err(error) = without::run(&chosen, &mut total) {
        total.fail("without", &format!("{error:#}"));
    }
    Ok(end(&total))
}

/// The last lines, and the exit status.
fn end(total: &Tally) -> ExitCode {
    for failure in &total.failed {
        println!("FAILED {failure}");
    }
    println!("{} passed, {} failed", total.passed, total.failed.len());
    if total.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run_tier(tier: &Tier, long: bool) -> Tally {
    say(&format!("tier {}: {}", tier.name, tier.what));
    let start = Instant::now();
    let mut tally = Tally::default();
    if let Err(error) = (tier.run)(&mut tally, long) {
        tally.fail(tier.name, &format!("{error:#}"));
    } else if tally.is_empty() {
        // A tier that checks nothing must not look like one that is well.
        tally.fail(tier.name, "it ran no check at all");
    }
    let word = if tally.failed.is_empty() {
        "ok"
    } else {
        "FAILED"
    };
    println!(
        "tier {}: {word}, {} passed, {} failed, {:.1} s",
        tier.name,
        tally.passed,
        tally.failed.len(),
        start.elapsed().as_secs_f32()
    );
    tally
}

/// What setup must provide for these tiers; QEMU is not installed for someone who runs `fmt`.
fn scope(args: &TestArgs, tiers: &[&Tier]) -> setup::Scope {
    let runs = |name: &str| tiers.iter().any(|tier| tier.name == name);
    if runs("miri") && args.allow_missing.is_empty() {
        setup::Scope::Test
    } else if ["linux", "guest", "demo", "dma"].into_iter().any(runs) {
        setup::Scope::Host
    } else if runs("qemu") || runs("boot") {
        setup::Scope::Boot
    } else {
        setup::Scope::Build
    }
}

fn tier_name(name: &str) -> Result<String, String> {
    let names: Vec<&str> = TIERS.iter().map(|tier| tier.name).collect();
    if names.contains(&name) {
        Ok(name.to_owned())
    } else {
        Err(format!("the tiers are {}", names.join(", ")))
    }
}

fn protection(name: &str) -> Result<String, String> {
    let names = || without::PROTECTIONS.iter().map(|one| one.name);
    if names().any(|known| known == name) {
        Ok(name.to_owned())
    } else {
        let names: Vec<&str> = names().collect();
        Err(format!("the protections are {}", names.join(", ")))
    }
}
