//! The interrupt controller as a bus master: what it reads and writes in memory by itself.
//!
//! A GICv3 keeps message interrupts (LPIs) in tables in memory, and an ITS takes its commands from
//! there (IHI 0069, "Arm Generic Interrupt Controller Architecture Specification"; chapters 5 and
//! 12). No SMMU stands before either. So where there is an SMMU, the host's accesses to the registers that name
//! memory trap, and are filtered:
//!
//! | what holds addresses | rule |
//! |---|---|
//! | tables of devices and of collections | Ward's own memory: an entry that the host could write would name memory again |
//! | commands | copied to Ward's queue, one by one, each checked |
//! | a device's table of events (`MAPD`) | the host's memory, pinned while it is mapped: it holds no addresses |
//! | tables of LPIs (`GICR_PROPBASER`, `GICR_PENDBASER`) | the host's memory, pinned from when they are in use on |
//! | GICv4 | not there for the host |
//!
//! The host's own GICv3 driver notices nothing, but that tables of two levels are not supported.
//! The filters ([`its`], [`redistributor`]) touch no hardware: that is behind [`Bus`].

pub mod its;
pub mod redistributor;

#[cfg(target_os = "none")]
mod trap;

#[cfg(target_os = "none")]
pub use trap::{Controllers, Unfit, access};

use hyp_core::memory::Range;

/// One frame of registers, and memory.
pub trait Bus {
    /// Reads a register of 4 or 8 bytes.
    fn read(&self, offset: u64, size: u8) -> u64;

    /// Writes a register of 4 or 8 bytes, after all that was written to memory before.
    fn write(&self, offset: u64, size: u8, value: u64);

    /// Keeps frames the host's until [`Bus::unpin`]; `false` if one of them is not: nothing is
    /// pinned.
    fn pin(&self, range: Range) -> bool;

    /// Ends one [`Bus::pin`].
    fn unpin(&self, range: Range);

    /// Reads a command of the host's, of which every word can change at any moment. The frame is
    /// pinned.
    fn host_command(&self, at: u64) -> [u64; 4];

    /// Writes a command to Ward's queue.
    fn put(&self, offset: u64, command: [u64; 4]);

    /// Zeroes the tables of devices and of collections. The ITS is quiescent.
    fn clear_tables(&self);

    /// Looks until the condition holds; `false`: not in time.
    fn wait(&self, done: &mut dyn FnMut() -> bool) -> bool;

    /// Is there a redistributor with its registers at this address?
    fn is_redistributor(&self, address: u64) -> bool;

    /// Something was refused: once for the operator.
    fn refused(&self, what: &'static str);
}

/// The half of a register of 8 bytes that an access of `size` at `offset` reads.
fn part(value: u64, offset: u64, size: u8) -> u64 {
    match (size, offset & 4) {
        (8, _) => value,
        (_, 0) => value & 0xffff_ffff,
        _ => value >> 32,
    }
}

/// The register after such a write.
fn merge(old: u64, offset: u64, size: u8, value: u64) -> u64 {
    match (size, offset & 4) {
        (8, _) => value,
        (_, 0) => old & !0xffff_ffff | value & 0xffff_ffff,
        _ => old & 0xffff_ffff | value << 32,
    }
}

/// The frames that `bytes` bytes from `address` on touch; `None` beyond 52 bits of address.
fn frames(address: u64, bytes: u64) -> Option<Range> {
    use hyp_core::addr::{PAGE_SHIFT, Pfn};
    let end = address.checked_add(bytes)?;
    if bytes == 0 || end > 1 << 52 {
        return None;
    }
    let first = address >> PAGE_SHIFT;
    Some(Range {
        first: Pfn(first),
        frames: ((end - 1) >> PAGE_SHIFT) - first + 1,
    })
}

#[cfg(test)]
mod tests;
