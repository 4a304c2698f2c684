//! Routes that a kernel has: `/dev/mem`, and a module that reads and writes any frame.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail, ensure};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::{Target, each_frame, no_secret};
use crate::guest::{Guest, protocol};
use crate::memory::{self, PAGE};

/// What `ward_peek` makes: offsets are physical addresses.
const PEEK: &str = "/proc/ward_peek";

/// `/dev/mem`, mapped.
pub(super) fn dev_mem_mapped(target: &Target) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/mem")?;
    let access = ProtFlags::READ | ProtFlags::WRITE;
    each_frame(target, |frame| {
        // SAFETY: a new mapping, at a place that the kernel chooses.
        let mapped = unsafe {
            mmap(
                std::ptr::null_mut(),
                PAGE,
                access,
                MapFlags::SHARED,
                &file,
                frame,
            )
        };
        let Ok(page) = mapped else { return Ok(()) };
        let word = memory::load(page as usize)?;
        let stored = memory::store(page as usize, 0)?;
        // SAFETY: the mapping made above; no reference to it is left.
        let _ = unsafe { munmap(page, PAGE) };
        if let Some(word) = word {
            no_secret(&word.to_le_bytes())?;
        }
        ensure!(
            !stored || !target.touched,
            "a store through /dev/mem was done"
        );
        Ok(())
    })
}

/// `/dev/mem`, read.
pub(super) fn dev_mem_read(target: &Target) -> Result<()> {
    let file = File::open("/dev/mem")?;
    let mut bytes = vec![0; PAGE];
    each_frame(target, |frame| {
        if file.read_at(&mut bytes, frame).is_ok() {
            no_secret(&bytes)?;
        }
        Ok(())
    })
}

/// The module reads.
pub(super) fn module_read(target: &Target) -> Result<()> {
    let file = peek()?;
    let mut bytes = vec![0; PAGE];
    each_frame(target, |frame| {
        bytes.fill(0);
        if file.read_at(&mut bytes, frame).is_ok() {
            no_secret(&bytes)?;
        }
        Ok(())
    })
}

/// The module writes. Whether that was refused, the guest says.
pub(super) fn module_write(target: &Target) -> Result<()> {
    let file = peek()?;
    each_frame(target, |frame| {
        let _ = file.write_at(b"graffiti", frame);
        Ok(())
    })
}

/// The module looks through all memory that the host can read for a secret: Ward's run page, the
/// kernel's copies of registers, and whatever else a secret may have been left in.
pub(super) fn module_search(guest: &Guest, _: &Target) -> Result<()> {
    // Something that is where it may be, so that the search is known to find.
    let mut own = vec![0_u64; PAGE / 8];
    own[7] = KNOWN;
    std::hint::black_box(&own);
    let found = guest.held(0, || search(!KNOWN))?;
    ensure!(found > 0, "the search does not find what is there");
    own.fill(0);
    std::hint::black_box(&own);
    guest.held(0, search_secret)
}

/// Fails when there is a secret in the host's memory.
pub(super) fn search_secret() -> Result<()> {
    let found = search(!protocol::secret(0))?;
    ensure!(found == 0, "{found} words of the host's memory are secrets");
    Ok(())
}

/// A word like no other.
const KNOWN: u64 = 0x1357_9bdf_0246_8ace;

/// How many words of all readable memory are the complement of this but for their lower twelve
/// bits. The word itself must stand nowhere, or this program would be found.
fn search(complement: u64) -> Result<u64> {
    let file = peek()?;
    // The module looks for what is written at this offset, which is no memory's.
    let command = 1_u64 << 62;
    file.write_at(&complement.to_ne_bytes(), command)
        .context("the module does not search")?;
    let mut found = [0; 8];
    file.read_exact_at(&mut found, command)
        .context("the module does not say what it found")?;
    Ok(u64::from_ne_bytes(found))
}

pub(super) fn peek() -> Result<File> {
    match OpenOptions::new().read(true).write(true).open(PEEK) {
        Ok(file) => Ok(file),
        Err(error) => bail!("cannot open {PEEK} ({error}): the module ward_peek is not loaded"),
    }
}
