//! A route past the CPU: a device of the host's, told to read and write the guest's memory.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result, ensure};

use super::process::GRAFFITI;
use super::{Target, no_secret};
use crate::guest::Guest;
use crate::memory::{self, Kind, Memory, PAGE};

/// A disk whose contents are nobody's.
const DISK: &str = "/dev/nvme0n1";
/// Bytes at its end that are written to.
const PIECE: u64 = 1 << 16;

/// Reads and writes of a disk that go past the kernel's cache: the disk itself accesses the buffer.
pub(super) fn direct_io(_: &Guest, target: &Target) -> Result<()> {
    let mut disk = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(DISK)
        .with_context(|| format!("cannot open {DISK}"))?;
    let end = disk.seek(SeekFrom::End(0))?;
    let at = end.checked_sub(PIECE).context("the disk is too small")?;
    let own = Memory::new(PAGE, Kind::Pages)?;
    // It works, with memory of the VMM's own.
    ensure!(memory::store(own.start(), GRAFFITI)?, "no memory");
    ensure!(
        write(&disk, own.start(), at)?,
        "{DISK} cannot be written to"
    );
    ensure!(memory::store(own.start(), 0)?, "no memory");
    ensure!(read(&disk, own.start(), at)?, "{DISK} cannot be read");
    let word = memory::load(own.start())?;
    ensure!(word == Some(GRAFFITI), "{DISK} holds {word:x?}");
    for &page in &target.pages {
        // Onto the guest's: that a read failed proves nothing, what the guest says does.
        read(&disk, page, at)?;
    }
    for &page in &target.pages {
        if write(&disk, page, at)? {
            let mut bytes = vec![0; PAGE];
            ensure!(read(&disk, own.start(), at)?, "{DISK} cannot be read");
            for (n, word) in bytes.chunks_exact_mut(8).enumerate() {
                let value = memory::load(own.start() + 8 * n)?.context("no memory")?;
                word.copy_from_slice(&value.to_le_bytes());
            }
            no_secret(&bytes)?;
        }
    }
    Ok(())
}

/// Whether the disk wrote a page to that address.
fn read(disk: &File, page: usize, at: u64) -> Result<bool> {
    let at = i64::try_from(at)?;
    // SAFETY: a page of this process's that no Rust object lies in: of a guest, or of `Memory`.
    let done = unsafe { libc::pread(disk.as_raw_fd(), page as *mut libc::c_void, PAGE, at) };
    Ok(usize::try_from(done) == Ok(PAGE))
}

/// Whether the disk took a page from that address.
fn write(disk: &File, page: usize, at: u64) -> Result<bool> {
    let at = i64::try_from(at)?;
    // SAFETY: as in `read`; the contents do not change.
    let done = unsafe { libc::pwrite(disk.as_raw_fd(), page as *const libc::c_void, PAGE, at) };
    Ok(usize::try_from(done) == Ok(PAGE))
}
