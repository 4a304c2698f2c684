//! What a trap means: one table from exception classes to what the run loop does.
//!
//! No class halts anything. What has no row is an instruction the guest does not have.

use super::esr::{Class, Esr, Fault, SysAccess};
use super::inject::Kind;
use super::mmio::Access;
use crate::addr::Ipa;

/// What happened in the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// WFI or WFE: [skip](super::context::Context::skip) it, then exit
    /// [`WAIT`](crate::abi::run::exit::WAIT).
    Wait {
        /// The instruction is 32 bits long; a Thumb one may not be.
        is_long: bool,
        /// It waits for an event (WFE, WFET).
        event: bool,
    },
    /// HVC: [`super::guest_call::decide`]. PC is past it already.
    Call {
        /// The instruction's immediate.
        immediate: u16,
    },
    /// SMC: traps before it executes. A protected guest's is skipped and its `x0` becomes
    /// NOT_SUPPORTED; a normal one's is its host's to answer.
    Smc,
    /// MSR or MRS: [`super::sysreg::decide`].
    Sysreg(SysAccess),
    /// Stage 2 refused an access.
    Memory(Abort),
    /// The memory system answered an access with an error.
    Hardware(Abort),
    /// The guest takes this now, at this PC.
    Inject(Kind),
}

/// A stage-2 abort of a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Abort {
    esr: Esr,
    far: u64,
    /// The address: exact for data, page aligned on a walk of the guest's tables.
    pub ipa: u64,
}

/// Reads a synchronous trap of a guest.
#[inline]
pub fn classify(esr: u64, far: u64, hpfar: u64) -> Event {
    let esr = Esr::new(esr);
    match esr.class() {
        Class::Wfx => Event::Wait {
            is_long: esr.is_long(),
            event: esr.waits_for_event(),
        },
        Class::Hvc64 => Event::Call {
            immediate: esr.immediate(),
        },
        Class::Smc64 => Event::Smc,
        Class::Sys64 => Event::Sysreg(esr.sys_access()),
        Class::InstructionAbortLower | Class::DataAbortLower => {
            let ipa = esr.fault_ipa(hpfar, far);
            let abort = Abort { esr, far, ipa };
            match esr.fault() {
                fault if fault.is_stage2() => Event::Memory(abort),
                Fault::External | Fault::ExternalOnWalk(_) | Fault::Parity => {
                    Event::Hardware(abort)
                }
                _ => Event::Inject(abort.refusal()),
            }
        }
        _ => Event::Inject(Kind::Undefined),
    }
}

impl Abort {
    /// The page.
    pub const fn page(&self) -> Ipa {
        Ipa::containing(self.ipa)
    }

    /// `FAR_EL2`.
    pub const fn far(&self) -> u64 {
        self.far
    }

    /// An instruction was fetched.
    pub fn is_fetch(&self) -> bool {
        self.esr.class() == Class::InstructionAbortLower
    }

    /// What failed.
    pub fn fault(&self) -> Fault {
        self.esr.fault()
    }

    /// The access needs write permission. On a walk only an update of flags in a table does, and
    /// that shows as a permission fault: else tables in read-only memory could not be walked.
    pub fn is_write(&self) -> bool {
        if self.is_fetch() {
            false
        } else if self.esr.on_walk() {
            matches!(self.fault(), Fault::Permission(_))
        } else {
            self.esr.data_abort().write
        }
    }

    /// The device access this is, if Ward can hand it on (see [`Access::new`]).
    pub fn device_access(&self, pstate: u64, sctlr: u64) -> Option<Access> {
        if self.is_fetch() {
            return None;
        }
        Access::new(&self.esr.data_abort(), self.ipa, pstate, sctlr)
    }

    /// What the guest takes when the access is refused: a synchronous external abort.
    pub fn refusal(&self) -> Kind {
        let far = self.far;
        if self.is_fetch() {
            Kind::InstructionAbort { far }
        } else {
            let write = self.esr.data_abort().write;
            Kind::DataAbort { far, write }
        }
    }
}

#[cfg(test)]
mod tests;
