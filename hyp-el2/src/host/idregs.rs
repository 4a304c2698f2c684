//! The ID registers as the host reads them.
//!
//! The host sees its hardware, without the features whose state Ward does not switch; those are
//! trapped ([`crate::switch::traps`]). A register that is not listed reads as zero, so that a
//! feature of a later CPU is hidden before it is understood.

use crate::machine::El2;
use hyp_core::Machine;

/// Hidden fields, as masks: (CRm, op2, bits that read as zero).
const LISTED: &[(u8, u8, u64)] = &[
    // The AArch32 registers, for EL0: ID_PFR0 to ID_ISAR5, ID_MMFR4, MVFR0 to MVFR2, ID_PFR2, ID_DFR1.
    (1, 0, 0xf << 20), // ID_PFR0: AMU
    (1, 1, 0),
    (1, 2, 0xf << 20 | 0xf << 16), // ID_DFR0: MMapTrc, CopTrc
    (1, 3, 0),
    (1, 4, 0),
    (1, 5, 0),
    (1, 6, 0),
    (1, 7, 0),
    (2, 0, 0),
    (2, 1, 0),
    (2, 2, 0),
    (2, 3, 0),
    (2, 4, 0),
    (2, 5, 0),
    (2, 6, 0),
    (2, 7, 0),
    (3, 0, 0),
    (3, 1, 0),
    (3, 2, 0),
    (3, 4, 0),
    (3, 5, 0),
    (3, 6, 0),
    // ID_AA64PFR0: RME 55:52, AMU 47:44, MPAM 43:40, SVE 35:32.
    (4, 0, 0xf << 52 | 0xff << 40 | 0xf << 32),
    // ID_AA64PFR1: all from 63:32 (PFAR, DF2, MTEX, THE, GCS, MTE_frac, NMI, CSV2_frac), SME 27:24,
    // MPAM_frac 19:16; MTE 11:8 is cut to 1 below.
    (4, 1, 0xffff_ffff << 32 | 0xf << 24 | 0xf << 16),
    // ID_AA64DFR0: HPMN0 63:60, BRBE 55:52, TraceBuffer 47:44, TraceFilt 43:40, PMSVer 35:32,
    // PMSS 19:16, TraceVer 7:4.
    (
        5,
        0,
        0xf << 60 | 0xf << 52 | 0xff << 40 | 0xf << 32 | 0xf << 16 | 0xf << 4,
    ),
    (5, 1, u64::MAX),
    (6, 0, 0xf << 24), // ID_AA64ISAR0: TME
    (6, 1, 0xf << 60), // ID_AA64ISAR1: LS64
    // ID_AA64ISAR2: all from 63:32 (ATS1A, LUT, CSSC and others pass), SYSREG_128, SYSINSTR_128.
    (6, 2, 0xff << 32 | 0xf << 44),
    (7, 0, 0xff << 56), // ID_AA64MMFR0: ECV, FGT: EL2's
    (7, 1, 0xf << 40),  // ID_AA64MMFR1: HCX
    (7, 2, 0xf << 24),  // ID_AA64MMFR2: NV
    // ID_AA64MMFR3: only SCTLRX and TCRX and what hangs on them: hidden as a whole.
    (7, 3, u64::MAX),
];

/// What the host reads from `S3_0_C0_C<crm>_<op2>`.
pub fn read(crm: u8, op2: u8) -> u64 {
    let Some(&(.., hidden)) = LISTED.iter().find(|row| (row.0, row.1) == (crm, op2)) else {
        return 0;
    };
    let value = El2.id_register(crm, op2) & !hidden;
    match (crm, op2) {
        // CSV2 2 and 3 promise SCXTNUM_ELx, which traps.
        (4, 0) => at_most(value, 56, 1),
        // MTE 2 and 3 promise tag memory.
        (4, 1) => at_most(value, 8, 1),
        _ => value,
    }
}

fn at_most(value: u64, shift: u32, limit: u64) -> u64 {
    let field = (value >> shift & 0xf).min(limit);
    value & !(0xf << shift) | field << shift
}
