//! Routes that a program has: its own mapping, system calls, other processes' memory.

use std::fs::OpenOptions;
use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{EventfdFlags, eventfd};
use rustix::pipe::pipe;

use super::{Target, no_secret};
use crate::guest::Guest;
use crate::memory::{self, PAGE};

/// What an attacker writes.
pub(super) const GRAFFITI: u64 = 0x6772_6166_6669_7469;

/// A load from the VMM's mapping.
pub(super) fn mapping_load(_: &Guest, target: &Target) -> Result<()> {
    for &page in &target.pages {
        if let Some(word) = memory::load(page)? {
            bail!("the VMM has loaded {word:#x} from the guest's memory");
        }
    }
    Ok(())
}

/// A store to it.
pub(super) fn mapping_store(_: &Guest, target: &Target) -> Result<()> {
    for &page in &target.pages {
        ensure!(
            !memory::store(page, GRAFFITI)?,
            "the VMM has stored into the guest's memory"
        );
    }
    Ok(())
}

/// System calls that read from the guest's memory, and write to it, for the VMM.
pub(super) fn syscall_buffer(_: &Guest, target: &Target) -> Result<()> {
    let sink = eventfd(0, EventfdFlags::NONBLOCK).context("no eventfd")?;
    let (reader, writer) = pipe().context("no pipe")?;
    let null = OpenOptions::new().read(true).open("/dev/zero")?;
    for &page in &target.pages {
        let memory = page as *mut libc::c_void;
        // SAFETY: the kernel copies eight bytes from there, or says that it cannot.
        let written = unsafe { libc::write(sink.as_raw_fd(), memory, 8) };
        ensure!(
            written < 0,
            "an eventfd took a number from the guest's memory"
        );
        // SAFETY: as above, with a whole page, which a pipe keeps.
        let piped = unsafe { libc::write(writer.as_raw_fd(), memory, PAGE) };
        if let Ok(len @ 1..) = usize::try_from(piped) {
            let mut bytes = vec![0; len];
            rustix::io::read(&reader, &mut bytes).context("the pipe")?;
            no_secret(&bytes)?;
        }
        // SAFETY: the kernel writes a page there, or says that it cannot.
        let read = unsafe { libc::read(null.as_raw_fd(), memory, PAGE) };
        ensure!(read <= 0, "a read has written to the guest's memory");
    }
    Ok(())
}

/// Pages of the guest's, lent to a pipe.
pub(super) fn vmsplice(_: &Guest, target: &Target) -> Result<()> {
    let (reader, writer) = pipe().context("no pipe")?;
    for &page in &target.pages {
        let piece = libc::iovec {
            iov_base: page as *mut libc::c_void,
            iov_len: PAGE,
        };
        // SAFETY: one piece of memory, which the kernel takes a reference of.
        let taken = unsafe { libc::vmsplice(writer.as_raw_fd(), &raw const piece, 1, 0) };
        let Ok(len @ 1..) = usize::try_from(taken) else {
            continue;
        };
        let mut bytes = vec![0; len];
        // An error is a refusal as well; then the pipe is not used on.
        match rustix::io::read(&reader, &mut bytes) {
            Ok(_) => no_secret(&bytes)?,
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

/// A child of the VMM's: Linux copies pages that are pinned when it forks.
pub(super) fn fork(_: &Guest, target: &Target) -> Result<()> {
    // SAFETY: the child only loads, and leaves by `_exit`; both are allowed in a fork.
    match unsafe { libc::fork() } {
        0 => {
            let seen = |&page: &usize| {
                let word = memory::load(page);
                matches!(word, Ok(Some(word)) if super::no_secret(&word.to_le_bytes()).is_err())
            };
            let code = i32::from(target.pages.iter().any(seen));
            // SAFETY: ends this process without anything else.
            unsafe { libc::_exit(code) }
        }
        // Refused as well.
        -1 => Ok(()),
        child => {
            let mut status = 0;
            // SAFETY: `status` is a place for what it writes.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            let seen = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 1;
            ensure!(!seen, "the child has a copy of the guest's secret");
            Ok(())
        }
    }
}

/// `/proc/PID/mem`, read.
pub(super) fn proc_mem_read(target: &Target) -> Result<()> {
    let path = format!("/proc/{}/mem", target.pid);
    let file = OpenOptions::new().read(true).open(&path)?;
    let mut bytes = vec![0; PAGE];
    for &page in &target.pages {
        if file.read_at(&mut bytes, page as u64).is_ok() {
            no_secret(&bytes)?;
        }
    }
    Ok(())
}

/// The same, written.
pub(super) fn proc_mem_write(target: &Target) -> Result<()> {
    let path = format!("/proc/{}/mem", target.pid);
    let file = OpenOptions::new().write(true).open(&path)?;
    for &page in &target.pages {
        // Whether it was refused, the guest says.
        let _ = file.write_at(&GRAFFITI.to_le_bytes(), page as u64);
    }
    Ok(())
}

/// `process_vm_readv`.
pub(super) fn vm_readv(target: &Target) -> Result<()> {
    let mut bytes = vec![0_u8; PAGE];
    for &page in &target.pages {
        let local = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: PAGE,
        };
        let remote = libc::iovec {
            iov_base: page as *mut libc::c_void,
            iov_len: PAGE,
        };
        // SAFETY: writes at most a page into `bytes`.
        unsafe {
            libc::process_vm_readv(target.pid, &raw const local, 1, &raw const remote, 1, 0);
        }
        no_secret(&bytes)?;
    }
    Ok(())
}

/// `process_vm_writev`.
pub(super) fn vm_writev(target: &Target) -> Result<()> {
    let bytes = GRAFFITI.to_le_bytes();
    for &page in &target.pages {
        let local = IoSlice::new(&bytes);
        let remote = libc::iovec {
            iov_base: page as *mut libc::c_void,
            iov_len: bytes.len(),
        };
        let local = (&raw const local).cast();
        // SAFETY: reads eight bytes of ours; what it changes is another's, or the guest's.
        unsafe { libc::process_vm_writev(target.pid, local, 1, &raw const remote, 1, 0) };
    }
    Ok(())
}

/// A debugger.
pub(super) fn ptrace(target: &Target) -> Result<()> {
    // SAFETY: starts a process that sleeps when there is none to attach to.
    let pid = if target.pid == std::process::id().cast_signed() {
        // A thread cannot trace its own process: a child tries to.
        return traced_by_child(target);
    } else {
        target.pid
    };
    trace(pid, &target.pages)
}

fn traced_by_child(target: &Target) -> Result<()> {
    // SAFETY: the child makes system calls only, and leaves by `_exit`.
    match unsafe { libc::fork() } {
        0 => {
            let code = i32::from(trace(target.pid, &target.pages).is_err());
            // SAFETY: ends this process without anything else.
            unsafe { libc::_exit(code) }
        }
        -1 => bail!("cannot fork"),
        child => {
            let mut status = 0;
            // SAFETY: `status` is a place for what it writes.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            ensure!(
                libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
                "the debugger saw a secret, or died: {status:#x}"
            );
            Ok(())
        }
    }
}

fn trace(pid: i32, pages: &[usize]) -> Result<()> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: attaches to a process; no memory of ours is named.
    let attached = unsafe { libc::ptrace(libc::PTRACE_ATTACH, pid, none, none) };
    if attached < 0 {
        return Ok(());
    }
    let mut status = 0;
    // SAFETY: `status` is a place for what it writes.
    unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
    let mut result = Ok(());
    for &page in pages {
        let mut word: u64 = 0;
        let page = page as *mut libc::c_void;
        // The kernel's own call stores the word behind the last pointer.
        // SAFETY: `word` is a place for what it writes.
        let read = unsafe {
            libc::syscall(
                libc::SYS_ptrace,
                libc::PTRACE_PEEKDATA,
                pid,
                page,
                &raw mut word,
            )
        };
        if read == 0 && result.is_ok() {
            result = no_secret(&word.to_le_bytes());
        }
    }
    // SAFETY: lets the process go on.
    unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, none, none) };
    result
}
