//! What an exit left to do before the vCPU runs again.
//!
//! Ward keeps the trapped instruction's facts here; the host's answer fills in one value or
//! refuses. Order: an instruction that was done is skipped; one that was refused stays at PC and
//! the exception is taken from there. Never both, so a vector address is never stepped over.

use super::context::Context;
use super::inject::{self, Kind};
use super::mmio::Access;
use crate::abi::run::in_flags;

/// The unfinished business of the last exit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pending {
    /// None.
    #[default]
    Nothing,
    /// A load from a device: the value goes to its register.
    MmioRead {
        /// The load.
        access: Access,
        /// Taken if the host refuses.
        refusal: Kind,
    },
    /// A store to a device.
    MmioWrite {
        /// Taken if the host refuses.
        refusal: Kind,
    },
    /// A read of a system register: the value goes to `rt`.
    SysregRead {
        /// The general register.
        rt: u8,
    },
    /// A write of a system register.
    SysregWrite,
    /// A call the host answers: the value goes to `x0`. HVC leaves PC past itself.
    CallResult,
    /// Memory was missing: the instruction is tried again.
    Fault {
        /// Taken if the host refuses.
        refusal: Kind,
    },
}

impl Pending {
    /// The business a device access leaves.
    pub const fn mmio(access: Access, refusal: Kind) -> Self {
        if access.write {
            Pending::MmioWrite { refusal }
        } else {
            Pending::MmioRead { access, refusal }
        }
    }

    /// The business a trapped system-register access leaves.
    pub const fn sysreg(rt: u8, write: bool) -> Self {
        if write {
            Pending::SysregWrite
        } else {
            Pending::SysregRead { rt }
        }
    }

    /// The exception the guest takes under these [`in_flags`]. An abort only answers an access
    /// to memory or a device, an UNDEF only a trapped instruction; other flags do nothing.
    const fn refusal(&self, flags: u64) -> Option<Kind> {
        let abort = flags & in_flags::INJECT_ABORT != 0;
        let undefined = flags & in_flags::INJECT_UNDEF != 0;
        match self {
            Pending::MmioRead { refusal, .. }
            | Pending::MmioWrite { refusal }
            | Pending::Fault { refusal }
                if abort =>
            {
                Some(*refusal)
            }
            Pending::SysregRead { .. } | Pending::SysregWrite if undefined => Some(Kind::Undefined),
            _ => None,
        }
    }
}

/// Settles `pending` on a vCPU that is not loaded, with the `value` and `flags` of
/// [`RunIn`](crate::abi::run::RunIn). The caller has refused flags without a meaning, and does
/// not call this when the host of a normal VM replaced all registers itself.
pub fn complete(context: &mut Context, pending: &Pending, value: u64, flags: u64) {
    if let Some(kind) = pending.refusal(flags) {
        inject::deliver_unloaded(context, kind);
        return;
    }
    match pending {
        Pending::Nothing | Pending::Fault { .. } => {}
        Pending::MmioRead { access, .. } => {
            context.set_gpr(access.rt, access.loaded(value));
            context.skip(true);
        }
        Pending::SysregRead { rt } => {
            context.set_gpr(*rt, value);
            context.skip(true);
        }
        Pending::MmioWrite { .. } | Pending::SysregWrite => context.skip(true),
        Pending::CallResult => context.set_gpr(0, value),
    }
}

#[cfg(test)]
mod tests;
