//! Emulated device memory: from a data abort to an exit, and from the host's answer to a register.

use super::context::{PSTATE_AARCH32, PSTATE_MODE};
use super::esr::DataAbort;
use crate::abi::run::{Exit, exit};
use crate::addr::PAGE_SIZE;

/// One load or store that the host is to perform. It comes from the syndrome the CPU trapped
/// with; the host has no part in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// Address of the first byte.
    pub ipa: u64,
    /// Bytes: 1, 2, 4 or 8.
    pub size: u8,
    /// A store.
    pub write: bool,
    /// The register, 31 the zero register.
    pub rt: u8,
    /// The load sign-extends.
    pub sign_extend: bool,
    /// The register is 64 bits wide.
    pub wide: bool,
    /// The guest's data are big endian; the host's `value` never is.
    pub big_endian: bool,
}

/// `SCTLR_EL1.E0E` and `EE`: endianness of data at EL0 and EL1.
const SCTLR_E0E: u64 = 1 << 24;
const SCTLR_EE: u64 = 1 << 25;

impl Access {
    /// The access that an abort stands for, `None` when the guest takes an external abort instead:
    /// no valid syndrome (ISV), cache maintenance, a walk of the guest's tables, an AArch32
    /// program, or an access that runs into the next page, which may be another device's or RAM.
    pub fn new(abort: &DataAbort, ipa: u64, pstate: u64, sctlr: u64) -> Option<Self> {
        let aarch32 = pstate & PSTATE_AARCH32 != 0;
        if !abort.valid || abort.cache_maintenance || abort.on_walk || aarch32 {
            return None;
        }
        if ipa % PAGE_SIZE + u64::from(abort.size) > PAGE_SIZE {
            return None;
        }
        let endianness = if pstate & PSTATE_MODE == 0 {
            SCTLR_E0E
        } else {
            SCTLR_EE
        };
        Some(Access {
            ipa,
            size: abort.size,
            write: abort.write,
            rt: abort.rt,
            sign_extend: abort.sign_extend,
            wide: abort.wide,
            big_endian: sctlr & endianness != 0,
        })
    }

    /// The exit. `register` is what [`Access::rt`] holds: a store shows the bytes it stores and
    /// no other, a load shows nothing.
    pub fn exit(&self, register: u64) -> Exit {
        Exit {
            reason: exit::MMIO,
            ipa: self.ipa,
            size: self.size.into(),
            write: self.write.into(),
            value: if self.write { self.bytes(register) } else { 0 },
            ..Exit::default()
        }
    }

    /// What a load leaves in [`Access::rt`] when the host answers `value`, of which only the bytes
    /// accessed count.
    pub fn loaded(&self, value: u64) -> u64 {
        let unused = 64 - 8 * u32::from(self.size);
        let bytes = self.bytes(value);
        let extended = if self.sign_extend {
            ((bytes << unused) as i64 >> unused) as u64
        } else {
            bytes
        };
        if self.wide {
            extended
        } else {
            extended & 0xffff_ffff
        }
    }

    /// The low `size` bytes, in the other order if the guest is big endian.
    fn bytes(&self, value: u64) -> u64 {
        let unused = 64 - 8 * u32::from(self.size);
        let low = value << unused;
        if self.big_endian {
            low.swap_bytes()
        } else {
            low >> unused
        }
    }
}

#[cfg(test)]
mod tests;
