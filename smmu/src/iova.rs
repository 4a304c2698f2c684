//! What the host maps for its devices: streams, their owners, and pins of the frames they reach.
//!
//! The rules of the calls `smmu_alloc`, `smmu_free`, `smmu_map`, `smmu_clear` and
//! `smmu_iova_to_phys`, apart from tables, records and registers: those are behind [`Backend`].
//!
//! 1. *All checks come first.* A refused call has changed nothing. The exception is
//!    [`Error::Lost`]: what could not be invalidated stays pinned for ever.
//! 2. *A frame is pinned while a device may reach it*: from before its leaf is written until after
//!    the sync that follows its removal. Each leaf pins each of its frames once. A pinned frame
//!    can't be given away; a frame whose counter is full can't be mapped.
//! 3. *An address that is mapped is not mapped again*, nor one whose old translation has yet to be
//!    forgotten.
//! 4. *A VM's stream uses the VM's own stage 2*, so the device's addresses are the guest's. No
//!    frame changes its owner by these calls: one that is mapped for a VM's stream has to be the
//!    VM's already, at that very address. Nothing is wiped here, as nothing comes or goes.
//! 5. *A VM gets streams while it is built, and never after*; they come back when it is off and no
//!    vCPU of it runs.
//!
//! Start reading at [`Streams`] (the calls), then [`Backend`].

mod backend;
mod calls;
mod pending;
#[cfg(test)]
mod tests;

pub use backend::{Backend, Frame, Leaf, Order, Prot, Target, VmState};
pub use calls::{Progress, Streams, When};

/// A stream of one of the SMMUs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// Which SMMU, in the order of the device tree.
    pub smmu: u8,
    /// Which of its streams, or of its context banks.
    pub stream: u32,
}

/// An SMMU no longer does what it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lost;

/// Why a call was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// There is no such stream or VM.
    NotFound,
    /// The stream has an owner already, or is being taken back.
    Exists,
    /// The stream is the default's: nobody asked for it.
    NotAllocated,
    /// The VM is not in a state that permits it.
    BadState,
    /// An order or permission that means nothing.
    InvalidArgument,
    /// An address that is not aligned to the leaf, wraps, or is too wide for the table.
    BadAddress,
    /// The frame is not the host's to map, or not the VM's there; or the stream is a VM's, and the
    /// call the host's own.
    Denied,
    /// Something is mapped there.
    Mapped,
    /// Nothing is, or no leaf of that size begins there.
    NotMapped,
    /// No room: tables, streams, or a frame's counter of pins.
    NoMemory,
    /// An SMMU does not answer.
    Lost,
}

impl From<Lost> for Error {
    fn from(Lost: Lost) -> Self {
        Error::Lost
    }
}
