//! Payloads on QEMU: an image with its host in one file boots, and each wrong one ends in a line
//! that says what is wrong; and hyp-el2's tests on the device trees of all machines.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::tally::Tally;
use crate::image::{self, ImageArgs, Images, PayloadArgs};
use crate::payload::Guest;
use crate::qemu::{Machine, console, escape};
use crate::run::{cargo, say};
use crate::{paths, trees};

/// Enough for a boot that fails or demonstrates.
const LIMIT: Duration = Duration::from_secs(90);
const MACHINE: Machine<'_> = Machine {
    cpu: "cortex-a76",
    cpus: 2,
    memory: 1024,
    count_instructions: false,
};

/// A change to the good file, and what the console must say. The change gets the place of the header.
struct Case {
    name: &'static str,
    change: fn(&mut Vec<u8>, usize),
    says: &'static str,
}

const fn case(name: &'static str, change: fn(&mut Vec<u8>, usize), says: &'static str) -> Case {
    Case { name, change, says }
}

/// The kernel lies at the first 2 MiB boundary.
const KERNEL: usize = 2 << 20;

const CASES: &[Case] = &[
    case(
        "no-kernel",
        |file, own| {
            let size = own as u64;
            file.truncate(own);
            file[16..24].copy_from_slice(&size.to_le_bytes());
        },
        "cannot start: no host to start",
    ),
    case(
        "cut-off-in-the-kernel",
        |file, _| file.truncate(KERNEL + 0x8000),
        "cannot start: host kernel is not what was appended",
    ),
    case(
        "cut-off-before-the-header",
        |file, own| file.truncate(own),
        "cannot start: what is appended to the image begins with no header",
    ),
    case(
        "another-format",
        |file, own| file[own + 8] = 9,
        "cannot start: what is appended to the image has format 9",
    ),
    case(
        "parts-outside",
        |file, own| file[own + 31] = 1,
        "cannot start: what is appended to the image has parts outside of it",
    ),
];

/// Kernels that are none, as boot modules.
const MODULES: &[(&str, &[u8], &str)] = &[
    ("gzip", b"\x1f\x8b\x08\0", "the host's kernel is gzip'ed"),
    (
        "zboot",
        b"MZ\0\0zimg",
        "the host's kernel is a compressed EFI image",
    ),
    ("pe", b"MZ\x90\0", "the host's kernel is a PE program"),
    (
        "text",
        b"#!/bin/sh\n",
        "the host's kernel is no arm64 Image",
    ),
];

/// The tier.
pub(super) fn run(tally: &mut Tally, _long: bool) -> Result<()> {
    let dir = paths::target_dir().join("ward/trees");
    trees::all(&dir)?;
    let mut test = cargo(&["test", "-p", "hyp-el2", "--lib"]);
    tally.cargo_tests("device trees", test.env("WARD_TREES", &dir))?;

    let images = image::build(&ImageArgs::default())?;
    let good = file(&images)?;
    tally.one("payload: appended", boots(&good));
    tally.one("payload: a module wins", module_wins(&good, &images));
    for case in CASES {
        let name = format!("payload: {}", case.name);
        tally.one(&name, refused(case, &good, &images));
    }
    for (name, start, says) in MODULES {
        let tried = wrong_module(name, start, says, &images);
        tally.one(&format!("payload: module of {name}"), tried);
    }
    tally.one("payload: modules overlap", overlap(&images));
    tally.one("payload: no room", no_room(&images));
    Ok(())
}

/// The image with the test host, which runs its demo.
fn file(images: &Images) -> Result<Vec<u8>> {
    let modules = images.payload.modules(Guest::Bundle);
    let payload = PayloadArgs {
        payload: Some(modules[0].file.clone()),
        initrd: Some(modules[1].file.clone()),
        append: Some("demo".to_owned()),
    };
    let payload = payload.read()?.context("no payload was named")?;
    let path = image::with_payload(images, &payload)?;
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Boots `bytes` until a line contains `says`, or Ward or QEMU stops.
fn boot(name: &str, bytes: &[u8], args: &[String], says: &str) -> Result<()> {
    say(&format!("payload: {name}"));
    let path = paths::ward_dir()?.join("payload-test.bin");
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    let mut qemu = MACHINE.command();
    qemu.args(["-nographic", "-nodefaults", "-serial", "stdio"]);
    qemu.args(["-no-reboot", "-kernel"]);
    qemu.arg(&path).args(args);
    // Ward parks after its last line, so the run ends there.
    let stop = |line: &str| line.contains("cannot start") || line.contains(says);
    let console = console::watch_until(&mut qemu, Some(LIMIT), false, stop)?;
    let log = console.keep(&format!("payload-{name}"))?;
    if !console.lines.iter().any(|line| line.contains(says)) {
        bail!("no line has {says:?} (console: {log})");
    }
    Ok(())
}

fn boots(good: &[u8]) -> Result<()> {
    boot("appended", good, &[], "WARD-DEMO: guest reported success")
}

fn module(path: &Path, address: u64, more: &str) -> [String; 2] {
    let path = escape(&path.to_string_lossy());
    let device = format!("guest-loader,addr={address:#x},kernel={path}{more}");
    ["-device".to_owned(), device]
}

fn module_wins(good: &[u8], images: &Images) -> Result<()> {
    let host = &images.payload.modules(Guest::Bundle)[0].file;
    let args = module(host, 0x5000_0000, ",bootargs=demo");
    boot(
        "module-wins",
        good,
        &args,
        "entering the host at 0x50000000",
    )
}

fn refused(case: &Case, good: &[u8], images: &Images) -> Result<()> {
    let ward = fs::read(&images.ward)?;
    let own = u64::from_le_bytes(ward[16..24].try_into()?);
    let mut bytes = good.to_vec();
    (case.change)(&mut bytes, usize::try_from(own)?);
    boot(case.name, &bytes, &[], case.says)
}

fn wrong_module(name: &str, start: &[u8], says: &str, images: &Images) -> Result<()> {
    let mut bytes = start.to_vec();
    bytes.resize(0x3000, 0x55);
    bad_kernel(name, &bytes, says, images)
}

/// Boots with `bytes` as the module that should be the kernel.
fn bad_kernel(name: &str, bytes: &[u8], says: &str, images: &Images) -> Result<()> {
    let path = paths::ward_dir()?.join("no-kernel");
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    let args = module(&path, 0x5000_0000, "");
    boot(name, &fs::read(&images.ward)?, &args, says)
}

/// A RAM disk in Ward's BSS, which QEMU's own check does not see.
fn overlap(images: &Images) -> Result<()> {
    let modules = images.payload.modules(Guest::Bundle);
    let mut args = module(&modules[0].file, 0x5000_0000, "").to_vec();
    let path = escape(&modules[1].file.to_string_lossy());
    args.push("-device".to_owned());
    args.push(format!("guest-loader,addr=0x40240000,initrd={path}"));
    boot("overlap", &fs::read(&images.ward)?, &args, "overlaps")
}

/// A kernel that says it needs more memory than there is.
fn no_room(images: &Images) -> Result<()> {
    let mut bytes = fs::read(&images.payload.modules(Guest::Bundle)[0].file)?;
    bytes[16..24].copy_from_slice(&(0xf000_0000_u64).to_le_bytes());
    let says = "no room in RAM for the host's kernel";
    bad_kernel("no-room", &bytes, says, images)
}
