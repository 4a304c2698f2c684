//! Routes of memory management: pages that are swapped out, moved, merged, thrown away.

use std::ffi::c_void;

use anyhow::{Context, Result, ensure};

use super::process::proc_mem_read;
use super::{Target, calls};
use crate::guest::Guest;
use crate::memory::PAGE;

const MADV_PAGEOUT: i32 = 21;
const MADV_MERGEABLE: i32 = 12;

/// Swaps the guest's pages out, by the process's own number as an administrator may.
pub(super) fn page_out(target: &Target) -> Result<()> {
    // SAFETY: a file for a process; no memory is named.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, target.pid, 0) };
    ensure!(process >= 0, "no file for process {}", target.pid);
    for &page in &target.pages {
        let piece = libc::iovec {
            iov_base: page as *mut c_void,
            iov_len: PAGE,
        };
        // SAFETY: the advice changes no contents of memory of ours; a refusal is one.
        unsafe {
            libc::syscall(
                libc::SYS_process_madvise,
                process,
                &raw const piece,
                1_usize,
                MADV_PAGEOUT,
                0,
            );
        }
    }
    // SAFETY: the file opened above.
    unsafe { libc::close(i32::try_from(process)?) };
    proc_mem_read(target)
}

/// Has the kernel move the pages to other frames.
pub(super) fn move_pages(target: &Target) -> Result<()> {
    let pages: Vec<*const c_void> = target.pages.iter().map(|&page| page as _).collect();
    let nodes = vec![0_i32; pages.len()];
    let mut status = vec![0_i32; pages.len()];
    const MOVE_ALL: i32 = 4;
    // SAFETY: three arrays of the same length; the last one is written to.
    unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            target.pid,
            pages.len(),
            pages.as_ptr(),
            nodes.as_ptr(),
            status.as_mut_ptr(),
            MOVE_ALL,
        );
    }
    proc_mem_read(target)
}

/// Has the kernel move everything that it can.
pub(super) fn compact(target: &Target) -> Result<()> {
    std::fs::write("/proc/sys/vm/compact_memory", "1").context("no compaction of memory")?;
    proc_mem_read(target)
}

/// Has the kernel look for pages of the same content, of which one is enough.
pub(super) fn merge(_: &Guest, target: &Target) -> Result<()> {
    let ksm = |file: &str, text: &str| {
        std::fs::write(format!("/sys/kernel/mm/ksm/{file}"), text)
            .with_context(|| format!("cannot set ksm/{file}"))
    };
    let first = target.pages[0] as *mut c_void;
    let size = PAGE * target.pages.len();
    // SAFETY: the advice changes no contents.
    unsafe { libc::madvise(first, size, MADV_MERGEABLE) };
    ksm("sleep_millisecs", "0")?;
    ksm("pages_to_scan", "10000")?;
    ksm("run", "1")?;
    let scans = || -> Result<u64> {
        let text = std::fs::read_to_string("/sys/kernel/mm/ksm/full_scans")?;
        Ok(text.trim().parse()?)
    };
    let start = scans()?;
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while scans()? < start + 2 && std::time::Instant::now() < limit {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    ksm("run", "0")?;
    proc_mem_read(target)
}

/// Throws the pages away: the VMM's mapping is new then, the guest's memory what it was. Then the
/// kernel, which has kept them so far, wants them back.
pub(super) fn discard(guest: &Guest, target: &Target) -> Result<()> {
    let frames = calls::frames(target)?;
    let first = target.pages[0] as *mut c_void;
    // SAFETY: the memory of a guest, in which no Rust object lies.
    unsafe { libc::madvise(first, PAGE * target.pages.len(), libc::MADV_DONTNEED) };
    // What the VMM sees there now is its own.
    for &page in &target.pages {
        crate::memory::store(page, 7)?;
    }
    guest.intact(crate::guest::SECRETS)?;
    calls::reclaim(&frames)
}

/// Maps something else over all of the guest's memory. Then the kernel does the same to the guest's
/// own translation.
pub(super) fn unmap(guest: &Guest, target: &Target) -> Result<()> {
    let first = target.pages[0] as *mut c_void;
    // SAFETY: the memory of a guest, in which no Rust object lies, becomes other memory.
    let mapped = unsafe {
        libc::mmap(
            first,
            PAGE * target.pages.len(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    ensure!(mapped == first, "mmap: {}", std::io::Error::last_os_error());
    for &page in &target.pages {
        crate::memory::store(page, 7)?;
    }
    guest.intact(crate::guest::SECRETS)?;
    calls::unmap(guest, target)?;
    // It still writes there, too.
    guest.hide(crate::guest::SECRETS)
}
