//! Driver of an SMMUv3: nothing passes that Ward has not configured (IHI 0070).
//!
//! Rules, each with a test that breaks without it:
//!
//! 1. *Never in bypass.* `GBPA.ABORT` is set before anything else is touched, and stays. An
//!    entry of the stream table is invalid, aborts, or translates by stage 2; the encoder knows
//!    no other ([`Ste`]).
//! 2. *A change is complete when a `CMD_SYNC` after its invalidation is consumed* (4.8), not when
//!    the invalidation is. Methods that return `Ok` have waited for that.
//! 3. *An entry is filled while invalid, then made valid*, with an invalidation and a sync around
//!    each step (3.21.3.1): the SMMU may read its words in any order, at any time, and keep them.
//! 4. *Every wait is bounded.* When hardware does not answer, or refuses even the widest
//!    invalidation, the SMMU is [`Lost`]: it is told to abort everything, and no frame that a
//!    device could reach may change its owner any more.
//! 5. *ATS and PRI are off*: `EATS` is 0, `ATSCHK` is set, the page request queue has no memory.
//!
//! Not thread-safe by itself: the caller holds one lock for each SMMU.
//!
//! Start reading at [`Smmu`] (driver), then `enable`, `queue`, `ste`, `table`, `event`.

mod capability;
mod command;
mod driver;
mod enable;
mod event;
mod event_queue;
mod gerror;
mod invalidate;
mod queue;
pub mod register;
mod ste;
mod table;
mod vmid;

#[cfg(test)]
mod tests;

pub use crate::walk::TooNarrow;
pub use capability::{Capabilities, Unfit};
pub use command::Command;
pub use driver::{Lost, SetError, Smmu};
pub use enable::{Placement, StartError, abort_all};
pub use event::{Class, Event, Reason};
pub use event_queue::{EventQueue, Polled};
pub use gerror::GlobalErrors;
pub use queue::{CommandQueue, QueueError};
pub use register::Register;
pub use ste::{Stage2Config, Ste};
pub use table::{Shape, StreamTable};
pub use vmid::{Retired, Vmid, Vmids};

/// Identifier of a stream: which device an access comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId(pub u32);

/// One SMMU's registers, and the memory that it and the CPU share.
///
/// Addresses of memory are physical. Only frames of Ward's own are ever named: the stream table
/// and the queues that [`Placement`] describes.
pub trait Hardware {
    /// Reads a 32-bit register.
    fn read32(&self, register: Register) -> u32;

    /// Writes a 32-bit register.
    fn write32(&self, register: Register, value: u32);

    /// Writes a 64-bit register.
    fn write64(&self, register: Register, value: u64);

    /// Reads a word of memory. Single-copy atomic; where the SMMU is not coherent, the line is
    /// invalidated first.
    fn load(&self, at: u64) -> u64;

    /// Writes a word of memory. Single-copy atomic; where the SMMU is not coherent, the line is
    /// cleaned to the point of coherency.
    fn store(&self, at: u64, value: u64);

    /// All earlier accesses to memory are observed by the SMMU before any later access to a
    /// register, and the reverse: `DSB SY` (3.21.2).
    fn order(&self);

    /// The moment up to which a wait that begins now may last.
    fn deadline(&self) -> u64;

    /// Whether that moment is over. Called between two looks at a register.
    fn expired(&self, deadline: u64) -> bool;
}

/// Looks at a register until the condition holds; `false` when the deadline passes first.
fn wait<H: Hardware>(hw: &H, register: Register, done: impl Fn(u32) -> bool) -> bool {
    let deadline = hw.deadline();
    loop {
        // Asked before the look: a CPU that was away for long still looks once.
        let over = hw.expired(deadline);
        if done(hw.read32(register)) {
            return true;
        }
        if over {
            return false;
        }
    }
}
