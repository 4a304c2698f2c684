//! Linux in a guest of `ward run`: what its boot costs, and its disk.
//!
//! All of it is counted from outside, on both CPUs, and so are waits in which nobody runs. The
//! guest (`ward.scenario=bench` of ward-guest-init) says where it is in lines of its console.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::counter::instructions;

/// The program that runs guests.
const WARD: &str = "/bin/ward";
/// The guest.
const BUNDLE: &str = "/guests/bench.ward";
/// What the guest's lines begin with.
const MARK: &str = "WARD-BENCH ";
/// The guest's disk, all of which it reads.
const DISK: &str = "/tmp/disk";
const MIB: u64 = 16;

/// Whether there is such a guest here.
pub(super) fn is_there() -> bool {
    std::fs::metadata(BUNDLE).is_ok()
}

/// What KVM counts of its guests, in `/sys/kernel/debug/kvm`, and what we call it.
const EXITS: [(&str, &str); 6] = [
    ("exits", "all"),
    ("hvc_exit_stat", "calls"),
    ("wfi_exit_stat", "wfi"),
    ("wfe_exit_stat", "wfe"),
    ("mmio_exit_kernel", "mmio-kernel"),
    ("mmio_exit_user", "mmio-user"),
];

/// A moment of the guest's life: instructions that ran, exits until then.
#[derive(Clone, Copy)]
struct Moment {
    instructions: u64,
    exits: [u64; EXITS.len()],
}

/// Prints what the guest costs.
pub(super) fn run(protected: bool) -> Result<()> {
    disk()?;
    let [start, init, empty, read, done] = guest(protected)?;
    let between = |from: Moment, to: Moment| to.instructions.saturating_sub(from.instructions);
    let blocks = between(read, done).saturating_sub(between(empty, read));
    println!("BENCH boot-to-init {} instructions", between(start, init));
    println!("BENCH virtio-blk-mib {} instructions", blocks / MIB);
    for (at, (_, kind)) in EXITS.iter().enumerate() {
        let between = |from: Moment, to: Moment| to.exits[at].saturating_sub(from.exits[at]);
        println!("EXITS boot-to-init:{kind} {}", between(start, init));
        println!("EXITS virtio-blk-mib:{kind} {}", between(read, done) / MIB);
    }
    Ok(())
}

/// Now. The count of instructions comes first, since to read the exits costs some.
fn now() -> Result<Moment> {
    let instructions = instructions();
    let mut exits = [0; EXITS.len()];
    for (count, (file, _)) in exits.iter_mut().zip(EXITS) {
        let path = format!("/sys/kernel/debug/kvm/{file}");
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        *count = text
            .trim()
            .parse()
            .with_context(|| format!("{path}: {text}"))?;
    }
    Ok(Moment {
        instructions,
        exits,
    })
}

/// A disk with something in it.
fn disk() -> Result<()> {
    let mut file = File::create(DISK).context("cannot make a disk")?;
    let block = [0xa5; 1 << 16];
    for _ in 0..MIB << 4 {
        file.write_all(&block).context("cannot write a disk")?;
    }
    Ok(())
}

/// One life of the guest: the moment before it, and those of its lines.
fn guest(protected: bool) -> Result<[Moment; 5]> {
    let mut command = Command::new(WARD);
    command.args(["run", BUNDLE, "--disk", DISK, "--no-reboot"]);
    if !protected {
        command.arg("--normal");
    } else if std::fs::metadata("/sys/kernel/debug/ward").is_err() {
        command.arg("--unverified");
    }
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut counts = vec![now()?];
    let mut ward = command.spawn().context("cannot start ward")?;
    let out = ward.stdout.take().context("no output")?;
    let mut all = String::new();
    for line in BufReader::new(out).lines() {
        let line = line.context("the guest's console")?;
        if line.contains(MARK) {
            counts.push(now()?);
        }
        all.push_str(&line);
        all.push('\n');
    }
    let mut errors = String::new();
    if let Some(mut err) = ward.stderr.take() {
        let _ = err.read_to_string(&mut errors);
    }
    let status = ward.wait().context("ward is gone")?;
    ensure!(status.success(), "ward ended with {status}: {errors}{all}");
    let counts = counts.try_into();
    counts.map_err(|counts: Vec<_>| anyhow::anyhow!("{} of 4 lines: {all}", counts.len() - 1))
}
