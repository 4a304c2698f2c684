//! A user process reaches for what is not the host's: it dies of it, and nothing else does.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::ptr;

use anyhow::{Context as _, Result, bail};
use rustix::event::{EventfdFlags, eventfd};
use rustix::mm::{MapFlags, ProtFlags, mmap};

use super::memory::{self, RAM};
use crate::proc;
use crate::report::Report;
use crate::scenario::Context;

const PAGE: usize = 4096;
/// What the child says when it was not stopped, and when the kernel refused its system call.
const LIVED: u8 = 3;
const REFUSED: u8 = 4;
const WRONG: u8 = 5;

/// Nothing of QEMU's machine `virt` is here: between the devices and the first PCI window, and far
/// above all RAM.
fn holes(context: &Context) -> Vec<u64> {
    vec![0x0b00_0000, RAM + context.memory + (1 << 30)]
}

/// The first and the last page of each piece of Ward's memory, and one in the middle.
fn wards(context: &Context) -> Result<Vec<u64>> {
    let page = PAGE as u64;
    Ok(memory::withheld(context)?
        .iter()
        .flat_map(|range| {
            let last = range.end() + 1 - page;
            let middle = (range.start() + last) / 2 / page * page;
            [*range.start(), middle, last]
        })
        .collect())
}

/// A load from a hole.
pub(crate) fn hole_load(context: &Context, _: &mut Report) -> Result<()> {
    all(holes(context), "load")
}

/// A store to a hole.
pub(crate) fn hole_store(context: &Context, _: &mut Report) -> Result<()> {
    all(holes(context), "store")
}

/// A system call with a buffer in a hole.
pub(crate) fn hole_syscall(context: &Context, _: &mut Report) -> Result<()> {
    all(holes(context), "syscall")
}

/// A load from Ward's memory.
pub(crate) fn ward_load(context: &Context, _: &mut Report) -> Result<()> {
    all(wards(context)?, "load")
}

/// A store to Ward's memory.
pub(crate) fn ward_store(context: &Context, _: &mut Report) -> Result<()> {
    all(wards(context)?, "store")
}

/// A system call with a buffer in Ward's memory.
pub(crate) fn ward_syscall(context: &Context, _: &mut Report) -> Result<()> {
    all(wards(context)?, "syscall")
}

fn all(addresses: Vec<u64>, what: &str) -> Result<()> {
    for address in addresses {
        try_one(address, what).with_context(|| format!("{what} at {address:#x}"))?;
    }
    Ok(())
}

/// Starts the child and judges how it ended.
fn try_one(address: u64, what: &str) -> Result<()> {
    let status = Command::new("/proc/self/exe")
        .args(["child", what, &format!("{address:#x}")])
        .status()
        .context("cannot start the child")?;
    let signal = status.signal();
    let died = matches!(signal, Some(libc::SIGBUS | libc::SIGSEGV));
    let refused = what == "syscall" && status.code() == Some(REFUSED.into());
    if !died && !refused {
        bail!("the process ended with {status}");
    }
    // The kernel goes on: it still answers, and still has all its CPUs.
    proc::read("/proc/loadavg").map(drop)
}

/// The child: maps the page and touches it.
pub(crate) fn child(what: &str, address: &str) -> ExitCode {
    match touch(what, address) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("FAILED child {what} {address}: {error:#}");
            ExitCode::from(WRONG)
        }
    }
}

fn touch(what: &str, address: &str) -> Result<u8> {
    let number = address.strip_prefix("0x").context("not an address")?;
    let address = u64::from_str_radix(number, 16).context("not an address")?;
    let memory = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/mem")
        .context("cannot open /dev/mem")?;
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, at a place that the kernel chooses, takes nothing from anyone here.
    let page = unsafe {
        mmap(
            ptr::null_mut(),
            PAGE,
            access,
            MapFlags::SHARED,
            &memory,
            address,
        )
    }
    .context("cannot map it")?
    .cast::<u64>();
    match what {
        "load" => {
            // SAFETY: `page` is mapped for reading; that this may kill the process is the point.
            std::hint::black_box(unsafe { page.read_volatile() });
            Ok(LIVED)
        }
        "store" => {
            // SAFETY: `page` is mapped for writing, and no Rust object lies there.
            unsafe { page.write_volatile(0x5741_5244) };
            Ok(LIVED)
        }
        "syscall" => {
            // Nothing is locked while an eventfd's write looks at the buffer: a kernel that dies of
            // that leaves nothing locked behind.
            let sink = eventfd(0, EventfdFlags::empty()).context("cannot make an eventfd")?;
            // SAFETY: the kernel reads eight bytes from `page`, and copes when it cannot.
            let written = unsafe { libc::write(sink.as_raw_fd(), page.cast(), 8) };
            let why = std::io::Error::last_os_error().raw_os_error();
            let refused = written < 0 && why == Some(libc::EFAULT);
            Ok(if refused { REFUSED } else { LIVED })
        }
        _ => bail!("no such access"),
    }
}
