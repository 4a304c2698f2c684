//! How instructions name a system register: `S<op0>_<op1>_C<n>_C<m>_<op2>` (DDI 0487 C5.1.2).

use core::fmt;

/// The name of a system register or system instruction. Ordered by op0, op1, CRn, CRm, op2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Encoding(u16);

impl Encoding {
    /// The register with these fields; each is cut to its width (2, 3, 4, 4 and 3 bits).
    pub const fn new(op0: u8, op1: u8, crn: u8, crm: u8, op2: u8) -> Self {
        Encoding(
            (op0 as u16 & 3) << 14
                | (op1 as u16 & 7) << 11
                | (crn as u16 & 15) << 7
                | (crm as u16 & 15) << 3
                | (op2 as u16 & 7),
        )
    }

    /// The five fields as one number, in the order of the encodings.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// op0.
    pub const fn op0(self) -> u8 {
        (self.0 >> 14) as u8
    }

    /// op1.
    pub const fn op1(self) -> u8 {
        (self.0 >> 11) as u8 & 7
    }

    /// CRn.
    pub const fn crn(self) -> u8 {
        (self.0 >> 7) as u8 & 15
    }

    /// CRm.
    pub const fn crm(self) -> u8 {
        (self.0 >> 3) as u8 & 15
    }

    /// op2.
    pub const fn op2(self) -> u8 {
        self.0 as u8 & 7
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (op0, op1, op2) = (self.op0(), self.op1(), self.op2());
        write!(f, "S{op0}_{op1}_C{}_C{}_{op2}", self.crn(), self.crm())
    }
}

#[cfg(test)]
mod tests;
