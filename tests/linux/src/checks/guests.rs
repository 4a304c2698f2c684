//! Guests of this host's KVM: attacked, killed, pressed, and Linux in them.
//!
//! Most of it is done by the program `ward-vm-test`, a process for each test, since some of what a
//! malicious host does ends whoever does it. Linux guests are started by `ward run`, as anybody
//! would.

mod counters;
mod debian;
mod linux;
mod process;
mod qemu;
pub(crate) mod run;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::report::Report;
use crate::scenario::Context;
use crate::system;
use process::Process;

pub(crate) use counters::all_back;
pub(crate) use debian::{debian, disk as debian_disk};
pub(crate) use linux::{attacked, linux};
pub(crate) use qemu::{qemu, root as qemu_root};

/// The program.
const TEST: &str = "/bin/ward-vm-test";
/// How long one of its tests may take.
const LIMIT: Duration = Duration::from_secs(120);
/// The stages at which a VMM says that it is.
const STAGES: &[&str] = &[
    "begin",
    "created",
    "memory",
    "vcpus",
    "boot-info",
    "image",
    "verified",
    "running",
    "second",
    "shared",
];

/// There is a KVM that can protect guests. What there is at the start is noted.
pub(crate) fn kvm(_: &Context, report: &mut Report) -> Result<()> {
    ensure!(
        fs::metadata("/dev/kvm").is_ok(),
        "there is no /dev/kvm: does this kernel know Ward?"
    );
    // Guests' clocks are this host's, whose kernel does not set it by itself.
    let clock = Command::new("/bin/busybox")
        .args(["hwclock", "-s", "-u"])
        .status()
        .context("cannot start busybox")?;
    ensure!(clock.success(), "hwclock ended with {clock}");
    counters::remember()?;
    report.note(&format!("at the start: {}", counters::describe()?));
    Ok(())
}

/// The virtio disk is swap space.
pub(crate) fn swap(_: &Context, _: &mut Report) -> Result<()> {
    for program in ["mkswap", "swapon"] {
        let status = Command::new("/bin/busybox")
            .args([program, "/dev/vda"])
            .stdout(Stdio::null())
            .status()
            .context("cannot start busybox")?;
        ensure!(status.success(), "{program} ended with {status}");
    }
    Ok(())
}

/// The scenario's attacks are all that the program knows.
pub(crate) fn named(_: &Context, report: &mut Report) -> Result<()> {
    let known = Process::start(TEST, &["attack", "list"])?.end(LIMIT)?;
    report.note(&format!("{} attacks", known.lines.len()));
    ensure!(!known.lines.is_empty(), "{TEST} knows no attack");
    let missing: Vec<&String> = known
        .lines
        .iter()
        .filter(|name| !crate::scenario::attacks(&format!("attack-{name}")))
        .collect();
    ensure!(missing.is_empty(), "these are not tried: {missing:?}");
    peek()
}

/// The module that reads any frame is there; it may be already.
fn peek() -> Result<()> {
    if fs::metadata("/proc/ward_peek").is_ok() {
        return Ok(());
    }
    system::load_module("ward_peek.ko", "")
}

/// The attack of the check's name.
pub(crate) fn attack(context: &Context, _: &mut Report) -> Result<()> {
    one(context, "attack")
}

/// The load of the check's name.
pub(crate) fn load(context: &Context, _: &mut Report) -> Result<()> {
    peek()?;
    one(context, "load")
}

/// The race of the check's name.
pub(crate) fn race(context: &Context, _: &mut Report) -> Result<()> {
    one(context, "race")
}

fn one(context: &Context, kind: &str) -> Result<()> {
    let name = context.check.get();
    let name = name
        .strip_prefix(kind)
        .and_then(|rest| rest.strip_prefix('-'))
        .context("a check with another name")?;
    let end = Process::start(TEST, &[kind, name])?.end(LIMIT)?;
    ensure!(
        end.status.success(),
        "{} ({})",
        end.lines.last().map_or("it said nothing", String::as_str),
        end.status
    );
    Ok(())
}

/// No VM's number is in use.
pub(crate) fn numbers(_: &Context, _: &mut Report) -> Result<()> {
    peek()?;
    let end = Process::start(TEST, &["numbers"])?.end(LIMIT)?;
    ensure!(end.status.success(), "{:?}", end.lines);
    Ok(())
}

/// A VMM is killed at each stage of a guest's life; all comes back.
pub(crate) fn killed_at_each_stage(context: &Context, report: &mut Report) -> Result<()> {
    for stage in STAGES {
        let mut child = Command::new(TEST)
            .args(["live", stage])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a VMM")?;
        let out = child.stdout.take().context("no output")?;
        let wanted = format!("STAGE {stage}");
        let reached = BufReader::new(out)
            .lines()
            .map_while(Result::ok)
            .any(|line| line == wanted);
        child.kill().context("cannot kill a VMM")?;
        child.wait().context("lost a VMM")?;
        ensure!(reached, "no VMM came to the stage {stage}");
    }
    all_back(context, report)
}

/// VMMs are killed at random moments, `ward.lives=` of them, two at a time; all comes back.
pub(crate) fn killed_at_random(context: &Context, report: &mut Report) -> Result<()> {
    let lives: u64 = context.args.value("lives")?;
    let seed: u64 = context.args.value("seed")?;
    let start = Instant::now();
    let mut random = seed | 1;
    let mut next = move || {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for life in (0..lives).step_by(2) {
        let mut pair = Vec::new();
        for n in 0..2 {
            let child = Command::new(TEST)
                .args(["live", &(seed + life + n).to_string()])
                .stdout(Stdio::null())
                .spawn()
                .context("cannot start a VMM")?;
            pair.push(child);
        }
        for child in &mut pair {
            // Somewhere between its first instruction and a guest that has worked for a while.
            std::thread::sleep(Duration::from_micros(next() % 400_000));
            if let Some(status) = child.try_wait()? {
                bail!("life {life}: a VMM ended by itself: {status}");
            }
            child.kill().context("cannot kill a VMM")?;
            child.wait().context("lost a VMM")?;
        }
    }
    report.note(&format!(
        "{lives} VMMs killed in {} s",
        start.elapsed().as_secs()
    ));
    all_back(context, report)
}
