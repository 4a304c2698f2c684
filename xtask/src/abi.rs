//! `cargo xtask abi`: prints the manual's chapter on calls and the C header from the one table,
//! `hyp_core::abi::CALLS`. The printing itself is `examples/abi`, which alone needs hyp-core.

use std::fs;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::paths;
use crate::run::{self, cargo, say};

/// The generated files, and what `examples/abi` calls each one.
const FILES: [(&str, &str); 2] = [
    ("docs/calls.md", "manual"),
    ("linux/include/ward_abi.h", "header"),
];

/// Write docs/calls.md and linux/include/ward_abi.h from the table of calls.
#[derive(Args, Default)]
#[command(after_help = "\
Examples:
  cargo xtask abi             write both files
  cargo xtask abi --check     only compare; exit status 1 when one is out of date

The table is hyp_core::abi::CALLS in hyp-core/src/abi/calls.rs. Change it there, run this,
and commit all three files together.")]
pub(crate) struct AbiArgs {
    /// Only compare
    #[arg(long)]
    pub(crate) check: bool,
}

/// Does `cargo xtask abi`.
pub(crate) fn run(args: &AbiArgs) -> Result<()> {
    let mut stale = Vec::new();
    say("printing the table of calls (builds hyp-core)");
    for (name, part) in FILES {
        let file = paths::root().join(name);
        let text = run::output(&mut cargo(&[
            "run",
            "--quiet",
            "-p",
            "xtask",
            "--example",
            "abi",
            part,
        ]))?;
        if fs::read_to_string(&file).is_ok_and(|old| old == text) {
            continue;
        }
        if args.check {
            stale.push(name);
            continue;
        }
        if let Some(dir) = file.parent() {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("abi: wrote {name}");
    }
    if !stale.is_empty() {
        bail!(
            "out of date with hyp_core::abi: {}; run `cargo xtask abi` and commit the result",
            stale.join(" and ")
        );
    }
    Ok(())
}
