//! Debian's QEMU as a VMM of normal guests on this host's `/dev/kvm`: another program than `ward`, as
//! Debian builds it, with the same guests.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rustix::mount::{MountFlags, mount, mount_bind};

use super::linux::{self, GUESTS, LIMIT, TAP};
use super::process::Process;
use crate::report::Report;
use crate::scenario::Context;

/// The disk that xtask filled with QEMU and what it needs.
const DISK: &str = "/dev/vda";
/// Where it is mounted.
const ROOT: &str = "/mnt";

/// Disk, network and random numbers: by registers, and on PCI.
const MMIO: [&str; 3] = [
    "virtio-blk-device,drive=disk",
    "virtio-net-device,netdev=net",
    "virtio-rng-device",
];
const PCI: [&str; 3] = [
    "virtio-blk-pci,drive=disk",
    "virtio-net-pci,netdev=net,romfile=",
    "virtio-rng-pci",
];

/// QEMU's root directory, with this host's devices and guests in it.
pub(crate) fn root(_: &Context, report: &mut Report) -> Result<()> {
    mount(DISK, ROOT, "ext4", MountFlags::empty(), None).context("no disk with QEMU")?;
    for dir in ["dev", "proc", "sys", "tmp", "guests"] {
        let at = format!("{ROOT}/{dir}");
        fs::create_dir_all(&at).with_context(|| format!("cannot make {at}"))?;
        mount_bind(Path::new("/").join(dir), &at).with_context(|| format!("cannot bind {at}"))?;
    }
    let end = Process::start(
        "/bin/busybox",
        &["chroot", ROOT, "/usr/bin/qemu-system-aarch64", "--version"],
    )?
    .end(LIMIT)?;
    let version = end.lines.first().cloned().unwrap_or_default();
    ensure!(end.status.success(), "QEMU does not start: {:?}", end.lines);
    report.note(&version);
    Ok(())
}

/// A guest by its kernel, RAM disk and words, those of the check's name; its devices on PCI if that
/// says so, where they interrupt by messages.
pub(crate) fn qemu(context: &Context, report: &mut Report) -> Result<()> {
    let name = context.check.get();
    let name = name.strip_prefix("guest-qemu-").context("another name")?;
    let (name, devices, word) = match name.strip_prefix("pci-") {
        Some(name) => (name, PCI, " ward.its=1"),
        None => (name, MMIO, ""),
    };
    linux::disk()?;
    linux::network()?;
    let file = format!("{GUESTS}/{name}.args");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let words: Vec<&str> = text.lines().collect();
    let of = |option: &str| -> Result<&str> {
        let at = words.iter().position(|word| *word == option);
        let value = at.and_then(|at| words.get(at + 1)).copied();
        value.with_context(|| format!("{file} has no {option}"))
    };
    let drive = format!("if=none,id=disk,format=raw,file={}", linux::DISK);
    let net = format!("tap,id=net,ifname={TAP},script=no,downscript=no");
    let append = format!("{}{word}", of("--append")?);
    let [blk, net_device, rng] = devices;
    let args = [
        "chroot",
        ROOT,
        "/usr/bin/qemu-system-aarch64",
        "-accel",
        "kvm",
        "-machine",
        "virt,gic-version=3",
        "-cpu",
        "host",
        "-smp",
        of("--cpus")?,
        "-m",
        of("--memory")?,
        "-nographic",
        "-nodefaults",
        "-serial",
        "stdio",
        "-kernel",
        of("--kernel")?,
        "-initrd",
        of("--initrd")?,
        "-append",
        &append,
        "-drive",
        &drive,
        "-device",
        blk,
        "-netdev",
        &net,
        "-device",
        net_device,
        "-device",
        rng,
    ];
    let end = Process::start("/bin/busybox", &args)?.end(LIMIT)?;
    let passed = linux::judge(&end.lines)?;
    ensure!(end.status.success(), "QEMU ended with {}", end.status);
    report.note(&format!(
        "{name} in QEMU: the guest's {passed} checks passed"
    ));
    Ok(())
}
