//! Whether memory can be read, without the signal that ends the process where it cannot.

use std::io;
use std::os::fd::AsRawFd;
use vm_memory::VolatileSlice;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// The kernel copies eight bytes for a write to an eventfd: what they are does not matter.
pub(super) struct Probe(EventFd);

/// The unit of sharing, and what is looked at in each.
const PAGE: usize = 4096;
const BYTES: usize = 8;

impl Probe {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Probe(EventFd::new(EFD_NONBLOCK)?))
    }

    /// Looks at each page of `memory`.
    pub(super) fn readable(&self, memory: &VolatileSlice<'_>) -> bool {
        let guard = memory.ptr_guard();
        // Pages of the host as of the guest: both begin at the same multiples.
        let first = guard.as_ptr() as usize / PAGE;
        let last = (guard.as_ptr() as usize + memory.len().max(1) - 1) / PAGE;
        (first..=last).all(|page| self.word(page * PAGE))
    }

    fn word(&self, address: usize) -> bool {
        let address = address as *const libc::c_void;
        // SAFETY: the kernel reads the eight bytes itself, or says that it cannot.
        let done = unsafe { libc::write(self.0.as_raw_fd(), address, BYTES) };
        let error = io::Error::last_os_error();
        // It counts; nobody needs the sum, but it must not fill up.
        let _ = self.0.read();
        done >= 0 || error.raw_os_error() != Some(libc::EFAULT)
    }
}
