//! A load or store of the host's to registers of an SMMUv2: decoded from the syndrome that the CPU
//! trapped with, answered by the filter, and done in the host's registers.
//!
//! All that ISV describes is decoded: 1, 2, 4 and 8 bytes, sign-extending loads, both widths of the
//! register, the zero register, both byte orders. Sizes that no register has are refused like other
//! accesses that are not granted: a load gets 0, a store does nothing, and the operator is told
//! why. What says nothing of itself (pairs, vectors, atomics, write-back, AArch32: ISV is 0) takes
//! an abort.

use super::Unit;
use hyp_core::vcpu::esr::Esr;
use hyp_core::vcpu::mmio::Access;
use smmu::v2::{self, Answer, Direction, Hardware};

/// What the CPU says of a stage-2 abort of the host's.
#[derive(Clone, Copy, Debug)]
pub struct Trap {
    /// `ESR_EL2`, of a data abort.
    pub esr: Esr,
    /// Where.
    pub ipa: u64,
    /// `SPSR_EL2`.
    pub pstate: u64,
    /// `SCTLR_EL1`.
    pub sctlr: u64,
}

/// Why an access was not granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Why.
    pub why: &'static str,
    /// From the base of the SMMU's registers.
    pub offset: u64,
    /// It was a store.
    pub write: bool,
}

/// What came of a trap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The instruction has been done: the host goes on behind it.
    Done,
    /// The same, and it had no effect: a load got 0.
    Refused(Refused),
    /// Nobody knows what the instruction does. It takes an abort.
    Unclear,
}

impl Trap {
    /// Does what the instruction does, by way of `answer`.
    #[inline(never)]
    fn perform(
        &self,
        base: u64,
        x: &mut [u64; 31],
        answer: &dyn Fn(&v2::Access) -> Result<u64, &'static str>,
    ) -> Outcome {
        let abort = self.esr.data_abort();
        let Some(access) = Access::new(&abort, self.ipa, self.pstate, self.sctlr) else {
            return Outcome::Unclear;
        };
        let rt = usize::from(access.rt);
        let direction = if access.write {
            // Register 31 is the zero register.
            let held = x.get(rt).copied().unwrap_or(0);
            Direction::Write(access.exit(held).value)
        } else {
            Direction::Read
        };
        let offset = self.ipa - base;
        let answer = answer(&v2::Access {
            offset,
            bytes: access.size,
            direction,
        });
        if !access.write
            && let Some(register) = x.get_mut(rt)
        {
            *register = access.loaded(answer.unwrap_or(0));
        }
        match answer {
            Ok(_) => Outcome::Done,
            Err(why) => Outcome::Refused(Refused {
                why,
                offset,
                write: access.write,
            }),
        }
    }
}

/// The registers of an SMMU that Ward does not drive: nothing there is granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed {
    /// Where they begin.
    pub base: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Closed {
    /// Is the address one of a register?
    pub const fn contains(&self, ipa: u64) -> bool {
        self.base <= ipa && ipa - self.base < self.bytes
    }

    /// Answers a trap at one of its addresses. `x` are the host's registers.
    pub fn access(&self, trap: &Trap, x: &mut [u64; 31]) -> Outcome {
        trap.perform(self.base, x, &|_| Err("Ward does not drive this SMMU"))
    }
}

impl<H: Hardware> Unit<H> {
    /// Is the address one of a register?
    pub const fn contains(&self, ipa: u64) -> bool {
        self.window.contains(ipa)
    }

    /// Answers a trap at one of its addresses. `x` are the host's registers.
    pub fn access(&self, trap: &Trap, x: &mut [u64; 31]) -> Outcome {
        trap.perform(
            self.window.base,
            x,
            &|access| match self.lock().smmu.access(&self.hw, access) {
                Answer::Refused(reason) => Err(reason.text()),
                answer => Ok(answer.value()),
            },
        )
    }
}
