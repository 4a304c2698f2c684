//! What a trapped system-register access of a guest does. The same for all VMs.
//!
//! [`REGISTERS`] has every register that is not UNDEFINED. An access without a row gets an UNDEF
//! and is worth a line in the log, for which [`describe`] has the words.

mod table;
pub use table::{HIDDEN, REGISTERS};

use super::context::SysReg;
use super::encoding::Encoding;
use super::esr::SysAccess;
use core::fmt;

/// What one direction of access does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// The guest takes an UNDEF.
    Undefined,
    /// A read returns this, a write is ignored.
    Constant(u64),
    /// [`super::idregs::id_register`] has the value.
    Id,
    /// The vCPU's own register, these bits of it.
    Own(SysReg, u64),
    /// The host emulates it.
    Host,
}

/// One register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The register.
    pub reg: Encoding,
    /// Its name in the architecture.
    pub name: &'static str,
    /// What MRS does.
    pub read: Rule,
    /// What MSR does.
    pub write: Rule,
}

/// What the run loop does for an access. All that read, write or ignore then
/// [skip](super::context::Context::skip) the instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Inject [`Kind::Undefined`](super::inject::Kind::Undefined); PC stays. Worth a line in the
    /// log, see [`describe`].
    Undefined,
    /// Rt becomes this.
    Read(u64),
    /// Rt becomes what [`super::idregs::id_register`] says for this CRm and op2.
    ReadId {
        /// CRm.
        crm: u8,
        /// op2.
        op2: u8,
    },
    /// Rt becomes these bits of the vCPU's register.
    ReadOwn(SysReg, u64),
    /// These bits of Rt become the vCPU's register; the others become zero.
    WriteOwn(SysReg, u64),
    /// Nothing.
    Ignore,
    /// Exit [`SYSREG`](crate::abi::run::exit::SYSREG).
    Host,
}

/// ID registers trap as a block: `S3_0_C0_C1_0` to `S3_0_C0_C7_7` (`HCR_EL2.TID3`).
const ID_FIRST: Encoding = Encoding::new(3, 0, 0, 1, 0);
const ID_LAST: Encoding = Encoding::new(3, 0, 0, 7, 7);

/// What an access does.
pub fn decide(access: SysAccess) -> Action {
    let reg = access.reg;
    let (read, write) = if (ID_FIRST..=ID_LAST).contains(&reg) {
        (Rule::Id, Rule::Undefined)
    } else {
        match find(reg) {
            Some(row) => (row.read, row.write),
            None => (Rule::Undefined, Rule::Undefined),
        }
    };
    match (if access.write { write } else { read }, access.write) {
        (Rule::Undefined, _) => Action::Undefined,
        (Rule::Constant(_), true) => Action::Ignore,
        (Rule::Constant(value), false) => Action::Read(value),
        (Rule::Id, _) => Action::ReadId {
            crm: reg.crm(),
            op2: reg.op2(),
        },
        (Rule::Own(own, mask), true) => Action::WriteOwn(own, mask),
        (Rule::Own(own, mask), false) => Action::ReadOwn(own, mask),
        (Rule::Host, _) => Action::Host,
    }
}

fn find(reg: Encoding) -> Option<&'static Row> {
    let at = REGISTERS.binary_search_by_key(&reg, |row| row.reg).ok()?;
    REGISTERS.get(at)
}

/// A register as the log names it: its name, or its encoding and the hidden feature it is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Description(Encoding);

/// How the log names a register.
pub const fn describe(reg: Encoding) -> Description {
    Description(reg)
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(row) = find(self.0) {
            return f.write_str(row.name);
        }
        write!(f, "{}", self.0)?;
        let hidden = HIDDEN
            .iter()
            .find(|(first, last, _)| (*first..=*last).contains(&self.0));
        match hidden {
            Some((_, _, feature)) => write!(f, " (hidden feature: {feature})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
