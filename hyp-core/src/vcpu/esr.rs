//! The syndrome of an exception taken to EL2 (DDI 0487 D24.2.44, `ESR_EL2`).

use super::encoding::Encoding;
use core::fmt;

mod class;
mod fault;
pub use class::Class;
pub use fault::Fault;

/// `ESR_EL2` as trapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Esr(u64);

/// The syndrome of a data abort (ISS encoding for an exception from a Data Abort).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataAbort {
    /// ISV: `size` to `sf` describe the instruction. Else they mean nothing.
    pub valid: bool,
    /// SAS: bytes accessed, 1, 2, 4 or 8.
    pub size: u8,
    /// SSE: a load sign-extends.
    pub sign_extend: bool,
    /// SRT: the register, 31 the zero register.
    pub rt: u8,
    /// SF: the register is 64 bits wide.
    pub wide: bool,
    /// AR: the access has acquire or release semantics.
    pub acquire_release: bool,
    /// FnV: `FAR_EL2` holds nothing.
    pub far_invalid: bool,
    /// CM: the instruction was cache maintenance.
    pub cache_maintenance: bool,
    /// S1PTW: the access was a walk of the guest's own tables.
    pub on_walk: bool,
    /// WnR: the access was a write.
    pub write: bool,
    /// DFSC: what went wrong.
    pub fault: Fault,
}

/// The access of a trapped MSR, MRS or system instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SysAccess {
    /// The register.
    pub reg: Encoding,
    /// The general register, 31 the zero register.
    pub rt: u8,
    /// MSR (true) or MRS.
    pub write: bool,
}

/// `HPFAR_EL2.FIPA`, bits 43:4: bits 51:12 of the faulting IPA (DDI 0487 D24.2.60).
const FIPA: u64 = ((1 << 44) - 1) & !0xf;

impl Esr {
    /// The syndrome with this value.
    pub const fn new(raw: u64) -> Self {
        Esr(raw)
    }

    /// The value.
    pub const fn raw(self) -> u64 {
        self.0
    }

    const fn bit(self, bit: u32) -> bool {
        self.0 >> bit & 1 != 0
    }

    /// EC, bits 31:26.
    pub fn class(self) -> Class {
        Class::from_ec((self.0 >> 26) as u8 & 0x3f)
    }

    /// IL, bit 25: the trapped instruction is 32 bits long.
    pub const fn is_long(self) -> bool {
        self.bit(25)
    }

    /// TI\[0\] of a trapped WFI, WFE, WFIT or WFET: it is one that waits for an event.
    pub const fn waits_for_event(self) -> bool {
        self.bit(0)
    }

    /// The 16-bit immediate of an HVC, SMC or SVC.
    pub const fn immediate(self) -> u16 {
        self.0 as u16
    }

    /// What a data or instruction abort failed on.
    pub fn fault(self) -> Fault {
        Fault::from_code(self.0 as u8 & 0x3f)
    }

    /// S1PTW of a data or instruction abort: it hit a walk of stage 1's tables.
    pub const fn on_walk(self) -> bool {
        self.bit(7)
    }

    /// The syndrome as that of a data abort.
    pub fn data_abort(self) -> DataAbort {
        DataAbort {
            valid: self.bit(24),
            size: 1 << (self.0 >> 22 & 3),
            sign_extend: self.bit(21),
            rt: (self.0 >> 16) as u8 & 31,
            wide: self.bit(15),
            acquire_release: self.bit(14),
            far_invalid: self.bit(10),
            cache_maintenance: self.bit(8),
            on_walk: self.on_walk(),
            write: self.bit(6),
            fault: self.fault(),
        }
    }

    /// The syndrome as that of a trapped MSR or MRS.
    pub fn sys_access(self) -> SysAccess {
        let field = |shift: u32| (self.0 >> shift) as u8;
        SysAccess {
            reg: Encoding::new(field(20), field(14), field(10), field(1), field(17)),
            rt: field(5) & 31,
            write: !self.bit(0),
        }
    }

    /// Does hardware write `HPFAR_EL2` for this abort? For faults of stage 2 alone, S1PTW or not;
    /// and not for a permission fault of the access itself (DDI 0487 D24.2.60): whoever handles
    /// that one translates `FAR_EL2` first.
    pub fn hpfar_valid(self) -> bool {
        let permission = matches!(self.fault(), Fault::Permission(_));
        self.fault().is_stage2() && (self.on_walk() || !permission)
    }

    /// The IPA that faulted: its page from `HPFAR_EL2`, its offset from `FAR_EL2`. On a walk
    /// `FAR_EL2` is not the address of what was walked, so the page alone.
    pub const fn fault_ipa(self, hpfar: u64, far: u64) -> u64 {
        let page = (hpfar & FIPA) << 8;
        if self.on_walk() {
            page
        } else {
            page | far & 0xfff
        }
    }
}

impl fmt::Display for Esr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class().words())?;
        match self.class() {
            Class::DataAbortLower | Class::DataAbortSame => {
                let abort = self.data_abort();
                let access = if abort.write { "write" } else { "read" };
                write!(f, ": {}, {access}", abort.fault)?;
                if abort.cache_maintenance {
                    f.write_str(", cache maintenance")?;
                }
                if abort.on_walk {
                    f.write_str(", on a stage 1 walk")?;
                }
                Ok(())
            }
            Class::InstructionAbortLower | Class::InstructionAbortSame => {
                write!(f, ": {}", self.fault())?;
                if self.on_walk() {
                    f.write_str(", on a stage 1 walk")?;
                }
                Ok(())
            }
            Class::Sys64 => {
                let access = self.sys_access();
                let verb = if access.write { "write" } else { "read" };
                write!(f, ": {verb} of {}, x{}", access.reg, access.rt)
            }
            Class::Hvc64 | Class::Smc64 | Class::Svc64 => write!(f, " #{}", self.immediate()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
