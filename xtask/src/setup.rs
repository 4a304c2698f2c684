//! `cargo xtask setup`: makes sure of the Rust toolchain, a nightly with Miri, QEMU, and what
//! building a Linux host kernel takes.
//!
//! Each part finds what is missing and plans how to get it ([`plan`]); only this module acts.

mod apt;
mod distro;
mod kernel;
mod plan;
mod qemu;
pub(crate) mod rust;

use anyhow::{Result, bail};
use clap::Args;

use crate::run::{CannotStart, say};
use plan::{Fix, Missing};

/// Install what building and testing need, or say exactly what to do.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask setup             install what is missing, say what is done
  cargo xtask setup --check     only report; exit status 2 when something is missing

Needed: the toolchain, components and targets of rust-toolchain.toml; a nightly toolchain
with miri and rust-src (for the tier `miri` only); qemu-system-aarch64 9.1 or newer; a C
compiler for arm64 and what else a Linux kernel is built with.
On Debian and Ubuntu packages are installed as root, or through sudo when it asks for no
password; otherwise the exact commands are printed. `demo`, `test`, `bench`, `image`,
`linux` and `run` do this by themselves first, as far as they need it.")]
pub(crate) struct SetupArgs {
    /// Only report what is missing
    #[arg(long)]
    check: bool,
}

/// How much must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The pinned toolchain: enough to build.
    Build,
    /// The toolchain and QEMU: enough to boot.
    Boot,
    /// The toolchain and what a kernel is built with.
    Linux,
    /// QEMU and what a kernel is built with: enough to boot a Linux host.
    Host,
    /// All of it, and the nightly toolchain with Miri: enough for every test.
    Test,
}

/// Does `cargo xtask setup`.
pub(crate) fn run(args: &SetupArgs) -> Result<()> {
    if args.check {
        let missing = missing(Scope::Test)?;
        if missing.is_empty() {
            println!("setup: everything is there");
            return Ok(());
        }
        let report: Vec<String> = missing.iter().map(Missing::report).collect();
        bail!(CannotStart(format!(
            "{} missing\n{}",
            count(missing.len()),
            report.join("\n")
        )));
    }
    ensure(Scope::Test)?;
    println!("setup: everything is there");
    Ok(())
}

/// Makes sure that `scope` is there; silent and quick when it is.
///
/// # Errors
///
/// Names what is missing and what to do, when it could not be installed.
pub(crate) fn ensure(scope: Scope) -> Result<()> {
    let mut before: Vec<Missing> = Vec::new();
    loop {
        let now = missing(scope)?;
        // The same thing missing with the same plan as before: acting again would not help.
        if let Some(stuck) = now.iter().find(|missing| before.contains(missing)) {
            bail!(CannotStart(format!(
                "still missing after trying to install it: {}",
                stuck.report()
            )));
        }
        let by_hand: Vec<String> = now
            .iter()
            .filter(|missing| !missing.can_apply())
            .map(Missing::report)
            .collect();
        for missing in now.iter().filter(|missing| missing.can_apply()) {
            say(&format!("setup: {}", missing.what));
            if let Fix::Steps(steps) = &missing.fix {
                steps.iter().try_for_each(plan::Step::apply)?;
            }
        }
        if !by_hand.is_empty() {
            bail!(CannotStart(format!(
                "{} missing that setup cannot install here\n{}",
                count(by_hand.len()),
                by_hand.join("\n")
            )));
        }
        if now.is_empty() {
            return Ok(());
        }
        before = now;
    }
}

/// What the tier `miri` lacks, if anything.
pub(crate) fn miri_missing() -> Option<String> {
    rust::nightly().map(|missing| missing.report())
}

fn missing(scope: Scope) -> Result<Vec<Missing>> {
    let mut missing = rust::pinned()?;
    if matches!(scope, Scope::Boot | Scope::Host | Scope::Test) {
        missing.extend(qemu::missing());
    }
    if matches!(scope, Scope::Linux | Scope::Host | Scope::Test) {
        missing.extend(kernel::missing());
    }
    if scope == Scope::Test {
        missing.extend(rust::nightly());
    }
    Ok(missing)
}

fn count(things: usize) -> String {
    if things == 1 {
        "1 thing is".to_owned()
    } else {
        format!("{things} things are")
    }
}
