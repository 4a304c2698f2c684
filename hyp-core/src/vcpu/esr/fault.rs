//! Fault status codes of aborts (DDI 0487 D24.2.44, DFSC and IFSC).

use core::fmt;

/// What an abort failed on. Levels go from -1 to 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// An address wider than the tables' output.
    AddressSize(i8),
    /// Nothing is mapped.
    Translation(i8),
    /// The access flag is clear.
    AccessFlag(i8),
    /// The mapping forbids the access.
    Permission(i8),
    /// The memory system answered with an error.
    External,
    /// The memory system answered a table walk with an error.
    ExternalOnWalk(i8),
    /// A parity or ECC error.
    Parity,
    /// A misaligned access.
    Alignment,
    /// The TLB holds conflicting entries.
    TlbConflict,
    /// An exclusive or atomic access to memory that cannot do it.
    Atomic,
    /// A code this table does not know.
    Other(u8),
}

impl Fault {
    /// The fault with this status code.
    pub fn from_code(code: u8) -> Self {
        let level = (code & 3) as i8;
        match code {
            0x00..=0x03 => Fault::AddressSize(level),
            0x04..=0x07 => Fault::Translation(level),
            0x08..=0x0b => Fault::AccessFlag(level),
            0x0c..=0x0f => Fault::Permission(level),
            0x10 => Fault::External,
            0x13 => Fault::ExternalOnWalk(-1),
            0x14..=0x17 => Fault::ExternalOnWalk(level),
            0x18 | 0x1b..=0x1f => Fault::Parity,
            0x21 => Fault::Alignment,
            0x29 => Fault::AddressSize(-1),
            0x2b => Fault::Translation(-1),
            0x30 => Fault::TlbConflict,
            0x31 | 0x35 => Fault::Atomic,
            other => Fault::Other(other),
        }
    }

    /// Can stage 2 be its cause, so that mapping memory is the answer?
    pub const fn is_stage2(self) -> bool {
        matches!(
            self,
            Fault::AddressSize(_)
                | Fault::Translation(_)
                | Fault::AccessFlag(_)
                | Fault::Permission(_)
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::AddressSize(level) => write!(f, "address size fault, level {level}"),
            Fault::Translation(level) => write!(f, "translation fault, level {level}"),
            Fault::AccessFlag(level) => write!(f, "access flag fault, level {level}"),
            Fault::Permission(level) => write!(f, "permission fault, level {level}"),
            Fault::External => f.write_str("external abort"),
            Fault::ExternalOnWalk(level) => write!(f, "external abort on a walk, level {level}"),
            Fault::Parity => f.write_str("parity or ECC error"),
            Fault::Alignment => f.write_str("alignment fault"),
            Fault::TlbConflict => f.write_str("TLB conflict"),
            Fault::Atomic => f.write_str("unsupported atomic access"),
            Fault::Other(code) => write!(f, "fault status {code:#x}"),
        }
    }
}
