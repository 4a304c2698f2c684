//! Disks and network card work, with message-signalled interrupts through the ITS.

use std::net::UdpSocket;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::cpus;
use crate::disk::{self, SCRATCH, SCRATCH_SIZE};
use crate::report::Report;
use crate::scenario::Context;
use crate::{proc, system};

/// Bytes that each CPU writes and reads.
const PIECE: usize = 256 << 10;
/// The first name of a network card.
const CARD: &str = "eth0";
/// This machine and QEMU's end of the cable, as its user network numbers them.
const HERE: &str = "10.0.2.15";
pub(crate) const THERE: &str = "10.0.2.2";

/// The NVMe disk keeps what is written from every CPU, and interrupts each one by the ITS.
pub(crate) fn nvme(_: &Context, report: &mut Report) -> Result<()> {
    let before = counts("nvme")?;
    exercise(disk::DISK, SCRATCH)?;
    let after = counts("nvme")?;
    for (column, (before, after)) in before.iter().zip(&after).enumerate() {
        if before >= after {
            bail!("no interrupt of the disk reached the CPU in column {column}: {after:?}");
        }
    }
    report.note(&format!("NVMe interrupts by ITS, for each CPU: {after:?}"));
    Ok(())
}

/// The virtio disk keeps what is written, with MSI-X.
pub(crate) fn virtio_blk(_: &Context, _: &mut Report) -> Result<()> {
    let before: u64 = counts("virtio")?.iter().sum();
    exercise("/dev/vda", 0)?;
    if counts("virtio")?.iter().sum::<u64>() <= before {
        bail!("the disk did its work without an interrupt by the ITS");
    }
    Ok(())
}

/// The same without a look at interrupts.
pub(crate) fn virtio_disk() -> Result<()> {
    exercise("/dev/vda", 0)
}

/// The network card sends and receives: QEMU answers who has its address.
pub(crate) fn virtio_net(_: &Context, _: &mut Report) -> Result<()> {
    let interrupts = || -> Result<u64> {
        let lines = proc::interrupts(&["ITS", "virtio", "input"])?;
        Ok(lines.iter().map(proc::Interrupt::total).sum())
    };
    let before = interrupts()?;
    let status = Command::new("/bin/busybox")
        .args(["ifconfig", CARD, HERE, "netmask", "255.255.255.0", "up"])
        .status()
        .context("cannot start busybox")?;
    if !status.success() {
        bail!("the card {CARD} cannot be set up ({status})");
    }
    let socket = UdpSocket::bind((HERE, 0)).context("cannot make a socket")?;
    let answered = system::until(Duration::from_secs(20), || {
        // To the port "discard": only the question who has the address is answered.
        socket
            .send_to(b"ward", (THERE, 9))
            .context("cannot send a packet")?;
        let table = proc::read("/proc/net/arp")?;
        Ok(table
            .lines()
            .any(|line| line.starts_with(THERE) && !line.contains("00:00:00:00:00:00")))
    })?;
    if !answered {
        bail!("nobody answers for {THERE}");
    }
    if interrupts()? == before {
        bail!("a packet came without an interrupt by the ITS");
    }
    Ok(())
}

/// Interrupts by the ITS of that user, for each CPU.
fn counts(user: &str) -> Result<Vec<u64>> {
    let lines = proc::interrupts(&["ITS", user])?;
    let Some(first) = lines.first() else {
        bail!("/proc/interrupts has no line of {user} by the ITS");
    };
    let mut sums = vec![0; first.counts.len()];
    for line in &lines {
        for (sum, count) in sums.iter_mut().zip(&line.counts) {
            *sum += count;
        }
    }
    Ok(sums)
}

/// Writes and reads back from each CPU, past the kernel's cache.
fn exercise(path: &str, start: u64) -> Result<()> {
    let disk = disk::open(path)?;
    let cpus = cpus::online()?;
    let piece = PIECE as u64;
    if cpus.len() as u64 * piece > SCRATCH_SIZE {
        bail!("no room on the disk for {} CPUs", cpus.len());
    }
    let pattern = |cpu: usize| -> Vec<u8> {
        (0..PIECE)
            .map(|index| (index / 7 + index * 3 + cpu * 31) as u8)
            .collect()
    };
    let place = |cpu: usize| start + cpu as u64 * piece;
    for &cpu in &cpus {
        system::on_cpu(cpu, || {
            disk.write_all_at(&pattern(cpu), place(cpu))
                .and_then(|()| disk.sync_data())
                .with_context(|| format!("CPU {cpu} cannot write to {path}"))
        })?;
    }
    proc::write("/proc/sys/vm/drop_caches", "3\n")?;
    for &cpu in &cpus {
        let mut bytes = vec![0; PIECE];
        system::on_cpu(cpu, || {
            disk.read_exact_at(&mut bytes, place(cpu))
                .with_context(|| format!("CPU {cpu} cannot read from {path}"))
        })?;
        if bytes != pattern(cpu) {
            bail!("{path} does not give back what CPU {cpu} wrote");
        }
    }
    Ok(())
}
