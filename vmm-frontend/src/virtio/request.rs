//! One request of a driver: a chain of descriptors, checked, as pieces of memory.
//!
//! The pieces lie in the guest's memory: whoever reads them twice may read different things.
//! Headers are copied once, data goes between file and memory by system calls, which say `EFAULT`
//! where a protected guest has not shared the page.

use super::Memory;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use virtio_queue::DescriptorChain;
use vm_memory::volatile_memory::PtrGuardMut;
use vm_memory::{GuestMemoryBackend, VolatileSlice};

#[cfg(test)]
mod tests;

/// The most pieces of a request: 256 of data, header and status, each of which may lie in two
/// pieces of memory. A longer chain is refused.
const MOST_PIECES: usize = 260;
/// The most bytes of a request.
const MOST_BYTES: usize = 64 << 20;

/// A driver broke the rules of the standard in one request. It gets the descriptors back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(&'static str);

/// Memory of the guest in order.
#[derive(Default)]
pub(crate) struct Pieces<'a> {
    pieces: Vec<VolatileSlice<'a>>,
    /// Pieces used up at the front.
    first: usize,
    bytes: usize,
}

/// What a chain of descriptors is made of.
#[derive(Default)]
pub(crate) struct Request<'a> {
    /// What the device reads.
    pub(crate) input: Pieces<'a>,
    /// What the device writes.
    pub(crate) output: Pieces<'a>,
}

impl<'a> Request<'a> {
    /// Checks a chain: it ends, lies in memory, reads before it writes, and is not too long.
    pub(crate) fn new(
        chain: DescriptorChain<&'a Memory>,
        memory: &'a Memory,
    ) -> Result<Self, Malformed> {
        let mut request = Request::default();
        let mut ended = false;
        for (count, descriptor) in chain.enumerate() {
            if count == MOST_PIECES {
                return Err(Malformed("more descriptors than a request may have"));
            }
            // The iterator also ends where a chain leaves the table or loops: then its last
            // descriptor has a next.
            ended = !descriptor.has_next();
            if !descriptor.is_write_only() && request.output.bytes > 0 {
                return Err(Malformed("what is read comes after what is written"));
            }
            let pieces = if descriptor.is_write_only() {
                &mut request.output
            } else {
                &mut request.input
            };
            for piece in memory.get_slices(descriptor.addr(), descriptor.len() as usize) {
                let piece = piece.map_err(|_| Malformed("a buffer outside of memory"))?;
                pieces.push(piece)?;
            }
        }
        if !ended {
            return Err(Malformed("a chain without an end"));
        }
        Ok(request)
    }
}

impl<'a> Pieces<'a> {
    fn push(&mut self, piece: VolatileSlice<'a>) -> Result<(), Malformed> {
        if piece.is_empty() {
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(piece.len());
        if self.bytes > MOST_BYTES || self.pieces.len() == MOST_PIECES {
            return Err(Malformed("more bytes than a request may have"));
        }
        self.pieces.push(piece);
        Ok(())
    }

    /// Bytes left.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    fn left(&self) -> &[VolatileSlice<'a>] {
        &self.pieces[self.first..]
    }

    /// Drops `bytes` at the front.
    pub(crate) fn skip(&mut self, mut bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        while let Some(piece) = self.pieces.get_mut(self.first) {
            if let Ok(rest) = piece.offset(bytes)
                && !rest.is_empty()
            {
                *piece = rest;
                return;
            }
            bytes -= piece.len();
            self.first += 1;
        }
    }

    /// Copies the next bytes out; `None` when there are too few.
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        if self.bytes < N {
            return None;
        }
        let mut copy = [0; N];
        let mut done = 0;
        for piece in self.left() {
            done += piece.copy_to(&mut copy[done..]);
        }
        self.skip(N);
        Some(copy)
    }

    /// Copies `bytes` in at the front; what does not fit is lost.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> usize {
        let mut done = 0;
        for piece in self.left() {
            let part = &bytes[done..];
            let part = &part[..part.len().min(piece.len())];
            piece.copy_from(part);
            done += part.len();
        }
        self.skip(done);
        done
    }

    /// Copies `bytes` to `at` bytes from the front, if there is room, and leaves the front.
    pub(crate) fn poke(&self, mut at: usize, bytes: &[u8]) {
        if at + bytes.len() > self.bytes {
            return;
        }
        let mut done = 0;
        for piece in self.left() {
            if let Ok(rest) = piece.offset(at.min(piece.len())) {
                let part = &bytes[done..];
                let part = &part[..part.len().min(rest.len())];
                rest.copy_from(part);
                done += part.len();
            }
            at = at.saturating_sub(piece.len());
        }
    }

    /// Cuts the last byte off: where a status goes.
    pub(crate) fn split_last(&mut self) -> Option<VolatileSlice<'a>> {
        let piece = self.pieces.last_mut().filter(|_| self.bytes > 0)?;
        let at = piece.len() - 1;
        let (rest, last) = (piece.subslice(0, at).ok()?, piece.offset(at).ok()?);
        self.bytes -= 1;
        if at == 0 {
            self.pieces.pop();
        } else {
            *piece = rest;
        }
        Some(last)
    }

    /// Calls `call` with the next pieces until all bytes are done, or one call with `once`; it says
    /// how many it did.
    fn each(
        &mut self,
        once: bool,
        mut call: impl FnMut(&[libc::iovec]) -> libc::ssize_t,
    ) -> io::Result<usize> {
        let all = self.bytes;
        while self.bytes > 0 {
            let guards: Vec<_> = self.left().iter().map(|p| p.ptr_guard_mut()).collect();
            let vector = |guard: &PtrGuardMut| libc::iovec {
                iov_base: guard.as_ptr().cast(),
                iov_len: guard.len(),
            };
            // No more than the kernel takes in one call: MOST_PIECES is below IOV_MAX.
            let vectors: Vec<_> = guards.iter().map(vector).collect();
            let done = call(&vectors);
            drop(guards);
            match usize::try_from(done) {
                Ok(0) => break,
                Ok(done) => {
                    self.skip(done);
                    if once {
                        break;
                    }
                }
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(all - self.bytes)
    }

    /// Fills all from a file at `offset`; less only at its end.
    pub(crate) fn read_at(&mut self, file: BorrowedFd<'_>, offset: u64) -> io::Result<usize> {
        let fd = file.as_raw_fd();
        let mut at = offset as libc::off_t;
        self.each(false, |vectors| {
            // SAFETY: the vectors name memory of the guest that is mapped as long as `self` lives
            // and that nothing in this process takes for its own.
            let done =
                unsafe { libc::preadv(fd, vectors.as_ptr(), vectors.len() as libc::c_int, at) };
            at += done.max(0) as libc::off_t;
            done
        })
    }

    /// Writes all to a file at `offset`.
    pub(crate) fn write_at(&mut self, file: BorrowedFd<'_>, offset: u64) -> io::Result<usize> {
        let fd = file.as_raw_fd();
        let mut at = offset as libc::off_t;
        self.each(false, |vectors| {
            // SAFETY: as for `read_at`; the kernel only reads the memory.
            let done =
                unsafe { libc::pwritev(fd, vectors.as_ptr(), vectors.len() as libc::c_int, at) };
            at += done.max(0) as libc::off_t;
            done
        })
    }

    /// One packet from a file: the bytes of one `readv`.
    pub(crate) fn read_packet(&mut self, file: BorrowedFd<'_>) -> io::Result<usize> {
        let fd = file.as_raw_fd();
        self.each(true, |vectors| {
            // SAFETY: as for `read_at`.
            unsafe { libc::readv(fd, vectors.as_ptr(), vectors.len() as libc::c_int) }
        })
    }

    /// One packet to a file.
    pub(crate) fn write_packet(&mut self, file: BorrowedFd<'_>) -> io::Result<usize> {
        let fd = file.as_raw_fd();
        self.each(true, |vectors| {
            // SAFETY: as for `write_at`.
            unsafe { libc::writev(fd, vectors.as_ptr(), vectors.len() as libc::c_int) }
        })
    }

    /// Fills up to `most` bytes with random ones.
    pub(crate) fn randomise(&mut self, most: usize) -> io::Result<usize> {
        let mut left = most;
        self.each(false, |vectors| {
            let Some(vector) = vectors.first().filter(|_| left > 0) else {
                return 0;
            };
            // SAFETY: as for `read_at`.
            let done = unsafe { libc::getrandom(vector.iov_base, vector.iov_len.min(left), 0) };
            left -= done.max(0) as usize;
            done
        })
    }
}
