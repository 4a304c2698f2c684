//! Exception classes (DDI 0487 D24.2.44, table of EC values).

/// Why an exception was taken, as far as Ward tells classes apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// No syndrome: an undefined instruction.
    Unknown,
    /// WFI, WFE, WFIT or WFET.
    Wfx,
    /// An AArch32 coprocessor access.
    Coprocessor,
    /// FP, SIMD or SVE, with `CPTR_EL2` or `CPACR_EL1` closed.
    Fp,
    /// A pointer-authentication instruction or key register.
    Pauth,
    /// LD64B or ST64B.
    Ls64,
    /// A branch to something that is no target.
    BranchTarget,
    /// An instruction in an illegal execution state.
    IllegalState,
    /// SVC of AArch32.
    Svc32,
    /// HVC of AArch32.
    Hvc32,
    /// SMC of AArch32.
    Smc32,
    /// SVC of AArch64.
    Svc64,
    /// HVC of AArch64.
    Hvc64,
    /// SMC of AArch64.
    Smc64,
    /// MSR, MRS or a system instruction of AArch64.
    Sys64,
    /// SVE.
    Sve,
    /// ERET.
    Eret,
    /// A failed pointer authentication.
    PacFail,
    /// SME.
    Sme,
    /// Instruction abort of EL1 or EL0.
    InstructionAbortLower,
    /// Instruction abort of EL2 itself.
    InstructionAbortSame,
    /// Misaligned PC.
    PcAlignment,
    /// Data abort of EL1 or EL0.
    DataAbortLower,
    /// Data abort of EL2 itself.
    DataAbortSame,
    /// Misaligned SP.
    SpAlignment,
    /// A memory-copy instruction.
    Mops,
    /// A floating-point exception.
    FpException,
    /// SError.
    SError,
    /// Breakpoint, watchpoint, step, vector catch or BRK.
    Debug,
    /// A class this table does not know.
    Other,
}

/// EC, class, words.
const CLASSES: &[(u8, Class, &str)] = &[
    (0x00, Class::Unknown, "unknown reason"),
    (0x01, Class::Wfx, "WFI or WFE"),
    (0x03, Class::Coprocessor, "AArch32 coprocessor access"),
    (0x04, Class::Coprocessor, "AArch32 coprocessor access"),
    (0x05, Class::Coprocessor, "AArch32 coprocessor access"),
    (0x06, Class::Coprocessor, "AArch32 coprocessor access"),
    (0x07, Class::Fp, "floating point, SIMD or SVE"),
    (0x08, Class::Coprocessor, "AArch32 coprocessor access"),
    (0x09, Class::Pauth, "pointer authentication"),
    (0x0a, Class::Ls64, "LD64B or ST64B"),
    (0x0c, Class::Coprocessor, "AArch32 coprocessor access"),
    (0x0d, Class::BranchTarget, "branch target"),
    (0x0e, Class::IllegalState, "illegal execution state"),
    (0x11, Class::Svc32, "SVC from AArch32"),
    (0x12, Class::Hvc32, "HVC from AArch32"),
    (0x13, Class::Smc32, "SMC from AArch32"),
    (0x15, Class::Svc64, "SVC"),
    (0x16, Class::Hvc64, "HVC"),
    (0x17, Class::Smc64, "SMC"),
    (0x18, Class::Sys64, "system register access"),
    (0x19, Class::Sve, "SVE"),
    (0x1a, Class::Eret, "ERET"),
    (0x1c, Class::PacFail, "pointer authentication failure"),
    (0x1d, Class::Sme, "SME"),
    (
        0x20,
        Class::InstructionAbortLower,
        "instruction abort from a lower level",
    ),
    (0x21, Class::InstructionAbortSame, "instruction abort"),
    (0x22, Class::PcAlignment, "PC alignment"),
    (0x24, Class::DataAbortLower, "data abort from a lower level"),
    (0x25, Class::DataAbortSame, "data abort"),
    (0x26, Class::SpAlignment, "SP alignment"),
    (0x27, Class::Mops, "memory operation"),
    (0x28, Class::FpException, "floating-point exception"),
    (0x2c, Class::FpException, "floating-point exception"),
    (0x2f, Class::SError, "SError"),
    (0x30, Class::Debug, "debug exception"),
    (0x31, Class::Debug, "debug exception"),
    (0x32, Class::Debug, "debug exception"),
    (0x33, Class::Debug, "debug exception"),
    (0x34, Class::Debug, "debug exception"),
    (0x35, Class::Debug, "debug exception"),
    (0x38, Class::Debug, "debug exception"),
    (0x3a, Class::Debug, "debug exception"),
    (0x3c, Class::Debug, "debug exception"),
];

/// The class of each EC, which has six bits: every trap asks for it.
const BY_EC: [Class; 64] = {
    let mut classes = [Class::Other; 64];
    let mut n = 0;
    while n < CLASSES.len() {
        classes[CLASSES[n].0 as usize] = CLASSES[n].1;
        n += 1;
    }
    classes
};

impl Class {
    /// The class of an EC.
    pub fn from_ec(ec: u8) -> Self {
        BY_EC.get(usize::from(ec)).copied().unwrap_or(Class::Other)
    }

    /// The class in words.
    pub fn words(self) -> &'static str {
        CLASSES
            .iter()
            .find(|row| row.1 == self)
            .map_or("unknown exception class", |row| row.2)
    }
}
