//! `cargo xtask bench`: counts instructions in QEMU, lines and `unsafe` in the trusted crates, and bytes.

mod compare;
mod lines;
mod linux;
mod table;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::image::{self, ImageArgs, Images};
use crate::payload::Guest;
use crate::qemu::{Boot, Machine, SMMU, console};
use crate::run::say;
use crate::setup;
use crate::{markers, paths};
use table::Row;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Calls and exits, driven by the EL1 test host; lines and bytes.
    Calls,
    /// A Linux host beside Ward, against the same Linux without.
    Linux,
}

/// How much two runs of a Linux may differ, in thousandths: how long the disk takes is the one
/// thing that is not counted in instructions.
const LINUX_REPEATS: u64 = 5;

/// Count what the hypervisor costs: instructions, lines, bytes.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench                print the tables
  cargo xtask bench --only linux   a Linux host with and without Ward, and nothing else
  cargo xtask bench --compare      guests of KVM beside Ward, against KVM by itself
  cargo xtask bench --repeat       run twice, and fail when a count differs
  cargo xtask bench --write        also put the tables into docs/performance.md

QEMU counts instructions instead of time (-icount), so the same image gives the same
numbers on every machine. They say nothing about caches or memory. The small kernel is
built when there is none yet (cargo xtask linux).")]
pub(crate) struct BenchArgs {
    /// Measure this part alone
    #[arg(long, value_name = "PART")]
    only: Option<Part>,
    /// Compare what guests cost beside Ward with KVM by itself and in its protected mode, on -cpu max
    #[arg(long, conflicts_with_all = ["only", "cpu"])]
    compare: bool,
    /// Put the tables between the markers in docs/performance.md
    #[arg(long)]
    write: bool,
    /// Run twice and fail when the counts differ; with --compare, say by how much they do
    #[arg(long)]
    repeat: bool,
    /// CPU model, as QEMU names it
    #[arg(long, default_value = "cortex-a76", value_name = "MODEL")]
    cpu: String,
    /// Give up after this many seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    timeout: u64,
}

/// Does `cargo xtask bench`.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    if args.compare {
        return compare(args);
    }
    let wanted = |part| args.only.is_none_or(|only| only == part);
    setup::ensure(if wanted(Part::Linux) {
        setup::Scope::Host
    } else {
        setup::Scope::Boot
    })?;
    let images = image::build(&ImageArgs::default())?;
    if wanted(Part::Calls) {
        let table = calls(args, &images)?;
        println!("{table}");
        if args.write {
            write(|page| table::replace(page, &table))?;
        }
    }
    if wanted(Part::Linux) {
        let table = linux_costs(args, &images)?;
        println!("{table}");
        if args.write {
            write(|page| markers::replace(page, "bench-linux", &table))?;
        }
    }
    Ok(())
}

/// The table of guests beside Ward and without.
fn compare(args: &BenchArgs) -> Result<()> {
    setup::ensure(setup::Scope::Host)?;
    let images = image::build(&ImageArgs::default())?;
    let limit = Duration::from_secs(args.timeout);
    let columns = compare::measure(&images, limit)?;
    let mut table = compare::render(&columns);
    if args.repeat {
        let again = compare::measure(&images, limit)?;
        table.push_str(&compare::spread(&columns, &again));
    }
    println!("{table}");
    if args.write {
        write(|page| markers::replace(page, compare::MARKERS, &table))?;
    }
    Ok(())
}

/// The table of calls, lines and bytes.
fn calls(args: &BenchArgs, images: &Images) -> Result<String> {
    let all = || -> Result<[Vec<Row>; 2]> {
        Ok([measure(args, images, &[])?, measure(args, images, &SMMU)?])
    };
    let [mut rows, smmu] = all()?;
    if args.repeat {
        let again = all()?;
        same(&table::differences(&rows, &again[0]))?;
        same(&table::differences(&smmu, &again[1]))?;
        println!(
            "bench: both runs agree on all {} counts",
            rows.len() + smmu.len()
        );
    }
    let devices = table::render_both(&rows, &smmu);
    rows.extend(lines::trusted_crates()?);
    let sizes = images.sizes;
    rows.push(Row::new(
        "image code and read-only data",
        sizes.code + sizes.rodata,
        "bytes",
    ));
    rows.push(Row::new("image data", sizes.data, "bytes"));
    rows.push(Row::new("image bss", sizes.bss, "bytes"));
    Ok(format!("{}\n{devices}", table::render(&rows)))
}

/// The tables of a Linux host.
fn linux_costs(args: &BenchArgs, images: &Images) -> Result<String> {
    let limit = Duration::from_secs(args.timeout);
    let costs = linux::measure(&images.ward, &args.cpu, limit)?;
    if args.repeat {
        let again = linux::measure(&images.ward, &args.cpu, limit)?;
        same(&costs.differences(&again, LINUX_REPEATS))?;
        println!("bench: both runs of Linux agree to {LINUX_REPEATS} in 1000");
    }
    Ok(linux::render(&costs))
}

fn same(different: &[String]) -> Result<()> {
    if !different.is_empty() {
        bail!(
            "two runs of the same image differ:\n  {}",
            different.join("\n  ")
        );
    }
    Ok(())
}

/// Boots the bench suite and reads its `BENCH name value unit` lines. The machine has these devices
/// beside (arguments of QEMU).
fn measure(args: &BenchArgs, images: &Images, devices: &[&str]) -> Result<Vec<Row>> {
    // One CPU: with instruction counting QEMU runs the CPUs in turn, and waiting would be counted.
    let machine = Machine {
        cpu: &args.cpu,
        cpus: 1,
        memory: 1024,
        count_instructions: true,
    };
    let mut qemu = Boot {
        machine,
        images,
        bootargs: "bench",
        guest: Guest::WithKey,
        wait_for_gdb: false,
    }
    .command();
    qemu.args(devices);
    say("counting instructions in QEMU");
    let console = console::watch(&mut qemu, Some(Duration::from_secs(args.timeout)), true)?;
    if let Some(wrong) = console.bad_end() {
        bail!("the benchmark did not finish: {wrong}");
    }
    let rows = table::read(&console.lines)?;
    if rows.is_empty() {
        bail!(
            "the console showed no line `BENCH name value unit`: did the test host know the suite `bench`?"
        );
    }
    Ok(rows)
}

fn write(change: impl FnOnce(&str) -> Result<String>) -> Result<()> {
    let file = paths::root().join("docs/performance.md");
    let page =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let page = change(&page).with_context(|| format!("in {}", file.display()))?;
    fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))?;
    println!("bench: wrote {}", paths::display(&file));
    Ok(())
}
