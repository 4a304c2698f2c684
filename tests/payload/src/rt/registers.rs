//! All registers of a CPU at one moment, to compare and to search.

use core::arch::asm;

/// General and FP registers, as `call.rs`'s assembly lays them out.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(crate) struct Registers {
    /// X0 to X30.
    pub(crate) x: [u64; 31],
    pad: u64,
    /// V0 to V31.
    pub(crate) v: [u128; 32],
}

impl Registers {
    /// All registers zero.
    pub(crate) const ZERO: Registers = Registers {
        x: [0; 31],
        pad: 0,
        v: [0; 32],
    };

    /// All registers as words.
    pub(crate) fn words(&self) -> impl Iterator<Item = u64> {
        let v = self
            .v
            .into_iter()
            .flat_map(|v| [v as u64, (v >> 64) as u64]);
        self.x.into_iter().chain(v)
    }
}

/// How many system registers [`system`] reads.
pub(crate) const SYSTEM: usize = 28;

/// Names of what [`system`] reads.
pub(crate) const SYSTEM_NAMES: [&str; SYSTEM] = [
    "SCTLR_EL1",
    "CPACR_EL1",
    "TTBR0_EL1",
    "TTBR1_EL1",
    "TCR_EL1",
    "ESR_EL1",
    "AFSR0_EL1",
    "AFSR1_EL1",
    "FAR_EL1",
    "MAIR_EL1",
    "VBAR_EL1",
    "CONTEXTIDR_EL1",
    "TPIDR_EL1",
    "TPIDR_EL0",
    "TPIDRRO_EL0",
    "AMAIR_EL1",
    "CNTKCTL_EL1",
    "PAR_EL1",
    "MDSCR_EL1",
    "CSSELR_EL1",
    "SP_EL0",
    "ELR_EL1",
    "SPSR_EL1",
    "FPCR",
    "FPSR",
    "CNTV_CTL_EL0",
    "CNTV_CVAL_EL0",
    "ACTLR_EL1",
];

/// EL1 system registers that are a program's own: they must be the same before and after a guest
/// ran.
pub(crate) fn system() -> [u64; SYSTEM] {
    [
        read_sysreg!("sctlr_el1"),
        read_sysreg!("cpacr_el1"),
        read_sysreg!("ttbr0_el1"),
        read_sysreg!("ttbr1_el1"),
        read_sysreg!("tcr_el1"),
        read_sysreg!("esr_el1"),
        read_sysreg!("afsr0_el1"),
        read_sysreg!("afsr1_el1"),
        read_sysreg!("far_el1"),
        read_sysreg!("mair_el1"),
        read_sysreg!("vbar_el1"),
        read_sysreg!("contextidr_el1"),
        read_sysreg!("tpidr_el1"),
        read_sysreg!("tpidr_el0"),
        read_sysreg!("tpidrro_el0"),
        read_sysreg!("amair_el1"),
        read_sysreg!("cntkctl_el1"),
        read_sysreg!("par_el1"),
        read_sysreg!("mdscr_el1"),
        read_sysreg!("csselr_el1"),
        read_sysreg!("sp_el0"),
        read_sysreg!("elr_el1"),
        read_sysreg!("spsr_el1"),
        fp_control().0,
        fp_control().1,
        read_sysreg!("cntv_ctl_el0"),
        read_sysreg!("cntv_cval_el0"),
        read_sysreg!("actlr_el1"),
    ]
}

fn fp_control() -> (u64, u64) {
    let (control, status): (u64, u64);
    // SAFETY: reads two registers; FP is enabled at the start.
    unsafe {
        asm!(".arch_extension fp", "mrs {}, fpcr", "mrs {}, fpsr", out(reg) control, out(reg) status, options(nostack, preserves_flags))
    };
    (control, status)
}

/// Has this CPU pointer authentication (FEAT_PAuth)?
pub(crate) fn has_pauth() -> bool {
    let isar1 = read_sysreg!("id_aa64isar1_el1");
    isar1 >> 4 & 0xff != 0 || isar1 >> 24 & 0xff != 0
}

/// The five pointer-authentication keys, low and high halves; only where [`has_pauth`].
pub(crate) fn pauth_keys() -> [u64; 10] {
    [
        read_sysreg!("s3_0_c2_c1_0"),
        read_sysreg!("s3_0_c2_c1_1"),
        read_sysreg!("s3_0_c2_c1_2"),
        read_sysreg!("s3_0_c2_c1_3"),
        read_sysreg!("s3_0_c2_c2_0"),
        read_sysreg!("s3_0_c2_c2_1"),
        read_sysreg!("s3_0_c2_c2_2"),
        read_sysreg!("s3_0_c2_c2_3"),
        read_sysreg!("s3_0_c2_c3_0"),
        read_sysreg!("s3_0_c2_c3_1"),
    ]
}

/// Sets the keys to `base`, `base + 1`, …; only where [`has_pauth`].
pub(crate) fn set_pauth_keys(base: u64) {
    restore_pauth_keys(&core::array::from_fn(|n| base + n as u64));
}

/// Registers that a program can lose for a while: no exception is expected, and they are not part
/// of how it sees memory.
pub(crate) const SECRETABLE: [&str; 11] = [
    "AFSR0_EL1",
    "AFSR1_EL1",
    "FAR_EL1",
    "TPIDR_EL1",
    "TPIDR_EL0",
    "TPIDRRO_EL0",
    "PAR_EL1",
    "SP_EL0",
    "ELR_EL1",
    "CNTV_CVAL_EL0",
    "TTBR1_EL1",
];

/// Writes the registers of [`SECRETABLE`] from a set in the order of [`SYSTEM_NAMES`].
pub(crate) fn set_system_secrets(values: &[u64; SYSTEM]) {
    let value = |name: &str| {
        SYSTEM_NAMES
            .iter()
            .position(|n| *n == name)
            .map_or(0, |n| values[n])
    };
    write_sysreg!("afsr0_el1", value("AFSR0_EL1"));
    write_sysreg!("afsr1_el1", value("AFSR1_EL1"));
    write_sysreg!("far_el1", value("FAR_EL1"));
    write_sysreg!("tpidr_el1", value("TPIDR_EL1"));
    write_sysreg!("tpidr_el0", value("TPIDR_EL0"));
    write_sysreg!("tpidrro_el0", value("TPIDRRO_EL0"));
    write_sysreg!("par_el1", value("PAR_EL1"));
    write_sysreg!("sp_el0", value("SP_EL0"));
    write_sysreg!("elr_el1", value("ELR_EL1"));
    write_sysreg!("cntv_cval_el0", value("CNTV_CVAL_EL0"));
    // Walks through TTBR1_EL1 are off (TCR_EL1.EPD1).
    write_sysreg!("ttbr1_el1", value("TTBR1_EL1"));
}

/// Puts the keys back.
pub(crate) fn restore_pauth_keys(keys: &[u64; 10]) {
    write_sysreg!("s3_0_c2_c1_0", keys[0]);
    write_sysreg!("s3_0_c2_c1_1", keys[1]);
    write_sysreg!("s3_0_c2_c1_2", keys[2]);
    write_sysreg!("s3_0_c2_c1_3", keys[3]);
    write_sysreg!("s3_0_c2_c2_0", keys[4]);
    write_sysreg!("s3_0_c2_c2_1", keys[5]);
    write_sysreg!("s3_0_c2_c2_2", keys[6]);
    write_sysreg!("s3_0_c2_c2_3", keys[7]);
    write_sysreg!("s3_0_c2_c3_0", keys[8]);
    write_sysreg!("s3_0_c2_c3_1", keys[9]);
}
