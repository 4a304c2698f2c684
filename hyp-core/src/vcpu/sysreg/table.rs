//! The registers (DDI 0487 D24.2, D24.3; IHI 0069 12.2), in order of their encoding.
//!
//! Debug: two breakpoints and two watchpoints that keep nothing, the least an ID register can
//! say; MDSCR_EL1 is real but for the enables of breakpoints and of the debugger's side, so that
//! a guest can single-step its programs. The operating-system lock is open and stays so.
//!
//! The host emulates what belongs to the interrupt distributor (SGIs, deactivation of what is in
//! no list register) and the physical timer. Cache identification is not trapped.

use super::{Encoding, Row, Rule, SysReg};

use Rule::{Constant, Host, Own, Undefined};

/// Reads as zero; a write is ignored.
const ZERO: Rule = Constant(0);
/// SS, TDCC and KDE (DDI 0487 D24.3.20).
const MDSCR: Rule = Own(SysReg::MdscrEl1, 1 | 1 << 12 | 1 << 13);

const fn reg(op0: u8, op1: u8, crn: u8, crm: u8, op2: u8) -> Encoding {
    Encoding::new(op0, op1, crn, crm, op2)
}

const fn row(reg: Encoding, name: &'static str, read: Rule, write: Rule) -> Row {
    Row {
        reg,
        name,
        read,
        write,
    }
}

/// Every register that is not UNDEFINED, but for the block of ID registers.
#[rustfmt::skip]
pub const REGISTERS: &[Row] = &[
    row(reg(2, 0, 0, 0, 2), "OSDTRRX_EL1", ZERO, ZERO),
    row(reg(2, 0, 0, 0, 4), "DBGBVR0_EL1", ZERO, ZERO),
    row(reg(2, 0, 0, 0, 5), "DBGBCR0_EL1", ZERO, ZERO),
    row(reg(2, 0, 0, 0, 6), "DBGWVR0_EL1", ZERO, ZERO),
    row(reg(2, 0, 0, 0, 7), "DBGWCR0_EL1", ZERO, ZERO),
    row(reg(2, 0, 0, 1, 4), "DBGBVR1_EL1", ZERO, ZERO),
    row(reg(2, 0, 0, 1, 5), "DBGBCR1_EL1", ZERO, ZERO),
    row(reg(2, 0, 0, 1, 6), "DBGWVR1_EL1", ZERO, ZERO),
    row(reg(2, 0, 0, 1, 7), "DBGWCR1_EL1", ZERO, ZERO),
    row(reg(2, 0, 0, 2, 0), "MDCCINT_EL1", ZERO, ZERO),
    row(reg(2, 0, 0, 2, 2), "MDSCR_EL1", MDSCR, MDSCR),
    row(reg(2, 0, 0, 3, 2), "OSDTRTX_EL1", ZERO, ZERO),
    row(reg(2, 0, 0, 6, 2), "OSECCR_EL1", ZERO, ZERO),
    row(reg(2, 0, 1, 0, 0), "MDRAR_EL1", ZERO, Undefined),
    row(reg(2, 0, 1, 0, 4), "OSLAR_EL1", Undefined, ZERO),
    row(reg(2, 0, 1, 1, 4), "OSLSR_EL1", Constant(1 << 3), Undefined),
    row(reg(2, 0, 1, 3, 4), "OSDLR_EL1", ZERO, ZERO),
    row(reg(2, 0, 1, 4, 4), "DBGPRCR_EL1", ZERO, ZERO),
    row(reg(2, 0, 7, 8, 6), "DBGCLAIMSET_EL1", Constant(0xff), ZERO),
    row(reg(2, 0, 7, 9, 6), "DBGCLAIMCLR_EL1", ZERO, ZERO),
    row(reg(2, 0, 7, 14, 6), "DBGAUTHSTATUS_EL1", ZERO, Undefined),
    row(reg(2, 3, 0, 1, 0), "MDCCSR_EL0", ZERO, Undefined),
    row(reg(2, 3, 0, 4, 0), "DBGDTR_EL0", ZERO, ZERO),
    row(reg(2, 3, 0, 5, 0), "DBGDTRRX_EL0", ZERO, ZERO),
    row(reg(3, 0, 0, 0, 6), "REVIDR_EL1", ZERO, Undefined),
    row(reg(3, 0, 1, 0, 1), "ACTLR_EL1", Own(SysReg::ActlrEl1, u64::MAX), ZERO),
    row(reg(3, 0, 12, 11, 1), "ICC_DIR_EL1", Undefined, Host),
    row(reg(3, 0, 12, 11, 5), "ICC_SGI1R_EL1", Undefined, Host),
    row(reg(3, 0, 12, 11, 6), "ICC_ASGI1R_EL1", Undefined, Host),
    row(reg(3, 0, 12, 11, 7), "ICC_SGI0R_EL1", Undefined, Host),
    row(reg(3, 0, 12, 12, 5), "ICC_SRE_EL1", Constant(7), ZERO),
    row(reg(3, 1, 0, 0, 7), "AIDR_EL1", ZERO, Undefined),
    row(reg(3, 3, 14, 2, 0), "CNTP_TVAL_EL0", Host, Host),
    row(reg(3, 3, 14, 2, 1), "CNTP_CTL_EL0", Host, Host),
    row(reg(3, 3, 14, 2, 2), "CNTP_CVAL_EL0", Host, Host),
];

/// First and last register of what is hidden, with its name for the log. It decides nothing.
#[rustfmt::skip]
pub const HIDDEN: &[(Encoding, Encoding, &str)] = &[
    (reg(2, 1, 0, 0, 0), reg(2, 1, 8, 15, 7), "trace"),
    (reg(2, 1, 9, 0, 0), reg(2, 1, 15, 15, 7), "branch records"),
    (reg(3, 0, 1, 0, 5), reg(3, 0, 1, 0, 6), "MTE"),
    (reg(3, 0, 1, 2, 0), reg(3, 0, 1, 2, 0), "SVE"),
    (reg(3, 0, 1, 2, 1), reg(3, 0, 1, 2, 1), "trace"),
    (reg(3, 0, 1, 2, 4), reg(3, 0, 1, 2, 6), "SME"),
    (reg(3, 0, 5, 3, 0), reg(3, 0, 5, 5, 7), "RAS"),
    (reg(3, 0, 5, 6, 0), reg(3, 0, 5, 6, 1), "MTE"),
    (reg(3, 0, 9, 9, 0), reg(3, 0, 9, 10, 7), "statistical profiling"),
    (reg(3, 0, 9, 11, 0), reg(3, 0, 9, 11, 7), "trace buffer"),
    (reg(3, 0, 9, 12, 0), reg(3, 0, 9, 15, 7), "performance monitors"),
    (reg(3, 0, 10, 2, 2), reg(3, 0, 10, 2, 5), "permission indirection"),
    (reg(3, 0, 10, 4, 0), reg(3, 0, 10, 4, 7), "limited ordering regions"),
    (reg(3, 0, 10, 5, 0), reg(3, 0, 10, 6, 7), "MPAM"),
    (reg(3, 3, 9, 12, 0), reg(3, 3, 9, 15, 7), "performance monitors"),
    (reg(3, 3, 13, 2, 0), reg(3, 3, 13, 15, 7), "activity monitors"),
    (reg(3, 3, 14, 8, 0), reg(3, 3, 14, 15, 7), "performance monitors"),
];
