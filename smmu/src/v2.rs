//! Driver of an SMMUv2, and the filter of the host's accesses to one (IHI 0062).
//!
//! Where the SMMU can't be hidden from the host, the host's own driver goes on writing its
//! registers. It then writes to the filter: each access is answered from a copy, changed on its
//! way, or refused with a reason. What the hardware holds is Ward's alone:
//!
//! 1. *Never in bypass.* `sCR0.CLIENTPD` is 0 and `USFCFG` is 1 from the start on; no `S2CR` holds
//!    the bypass type; each context bank translates (`SCTLR.M`), one that nobody has by an empty
//!    table.
//! 2. *Tables are Ward's.* Each context bank is of stage 2 alone, with root, shape and VMID as
//!    Ward set them. The host's `TTBR0` is a number that it may read back.
//! 3. *A stream of a VM's is routed by Ward*, in groups that the host is not shown. A group of
//!    the host's that matches one is not in effect, whatever it says.
//! 4. *No group overlaps another*, so that no conflict is left to the hardware's choice.
//! 5. *Translations are forgotten by Ward* when it changes a table: the host's invalidations have
//!    nothing to do.
//! 6. *A refused access changes nothing*, and none halts anything.
//!
//! Registers are named as the manual names them. Its issues count sections differently; numbers here
//! are those of issue D.c: the address space is in 8.1, its first page in 9.6, the second in 10.2,
//! a bank of stage 2 in chapter 17.
//!
//! Start reading at [`table`] (every register and its rule), then `filter`, `driver`.

mod abort;
mod driver;
mod error;
mod fault;
mod filter;
mod ident;
#[cfg(any(test, feature = "model"))]
pub mod model;
pub mod register;
mod stage2;
pub mod table;
mod view;

#[cfg(test)]
mod tests;

pub use abort::abort_all;
pub use driver::{Owner, Plan, Smmu};
pub use error::{BankError, Lost, StartError, StreamError};
pub use filter::{Access, Answer, Direction};
pub use ident::{Shape, Unfit};
pub use stage2::Stage2;
pub use table::Reason;

/// One SMMU's registers, by their offset from its base. Accesses arrive in the order of the calls.
pub trait Hardware {
    /// Reads a 32-bit register, or half of a 64-bit one.
    fn read32(&self, offset: u32) -> u32;

    /// Writes a 32-bit register, or half of a 64-bit one.
    fn write32(&self, offset: u32, value: u32);

    /// Writes a 64-bit register at once.
    fn write64(&self, offset: u32, value: u64);

    /// All earlier accesses to memory are observed by the SMMU before any later access to a
    /// register, and the reverse: `DSB SY`.
    fn order(&self);

    /// The moment up to which a wait that begins now may last.
    fn deadline(&self) -> u64;

    /// Whether that moment is over. Called between two looks at a register.
    fn expired(&self, deadline: u64) -> bool;
}
