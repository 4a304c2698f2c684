//! Accesses that may fail: each returns what it read, or the syndrome of the exception it took.

use core::arch::global_asm;
use core::fmt;

/// The exception that an access or instruction took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// `ESR_EL1`.
    pub(crate) esr: u64,
    /// `FAR_EL1`.
    pub(crate) far: u64,
}

impl Fault {
    /// The exception class (DDI 0487 D24.2.41).
    pub(crate) fn class(&self) -> u64 {
        self.esr >> 26 & 0x3f
    }

    /// A data abort at EL1 whose fault status is "synchronous external abort".
    pub(crate) fn is_external_abort(&self) -> bool {
        self.class() == 0x25 && self.esr & 0x3f == 0x10
    }

    /// An instruction that is undefined here.
    pub(crate) fn is_undefined(&self) -> bool {
        self.class() == 0
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.class() {
            0 => "undefined instruction",
            0x25 if self.is_external_abort() => "synchronous external abort",
            0x25 if self.esr & 1 << 7 != 0 => "synchronous abort, refused by stage 2",
            0x25 => "data abort",
            _ => "exception",
        };
        write!(f, "{what} (ESR {:#x}, FAR {:#x})", self.esr, self.far)
    }
}

#[repr(C)]
struct Answer {
    value: u64,
    esr: u64,
    far: u64,
}

// SAFETY: the assembly below; see there.
unsafe extern "C" {
    fn ward_probe_read8(address: u64, answer: *mut Answer);
    fn ward_probe_read16(address: u64, answer: *mut Answer);
    fn ward_probe_read32(address: u64, answer: *mut Answer);
    fn ward_probe_read64(address: u64, answer: *mut Answer);
    fn ward_probe_write8(address: u64, answer: *mut Answer);
    fn ward_probe_write16(address: u64, answer: *mut Answer);
    fn ward_probe_write32(address: u64, answer: *mut Answer);
    fn ward_probe_write64(address: u64, answer: *mut Answer);
    fn ward_probe_pair(address: u64, answer: *mut Answer);
    fn ward_probe_smc(function: u64, answer: *mut Answer);
    fn ward_probe_sysreg(which: u64, answer: *mut Answer);
}

fn run(
    probe: unsafe extern "C" fn(u64, *mut Answer),
    address: u64,
    value: u64,
) -> Result<u64, Fault> {
    let mut answer = Answer {
        value,
        esr: 0,
        far: 0,
    };
    // SAFETY: the probe writes only to `answer`, and to `address` as its caller asked; an address
    // that is not there ends in a fault that is caught. Callers write only to memory that no
    // Rust object lies in, or that they borrow.
    unsafe { probe(address, &mut answer) };
    if answer.esr == 0 {
        Ok(answer.value)
    } else {
        Err(Fault {
            esr: answer.esr,
            far: answer.far,
        })
    }
}

/// Reads `size` bytes (1, 2, 4 or 8).
pub(crate) fn read_sized(address: u64, size: u64) -> Result<u64, Fault> {
    let probe = match size {
        1 => ward_probe_read8,
        2 => ward_probe_read16,
        4 => ward_probe_read32,
        _ => ward_probe_read64,
    };
    run(probe, address, 0)
}

/// Writes `size` bytes (1, 2, 4 or 8).
pub(crate) fn write_sized(address: u64, size: u64, value: u64) -> Result<(), Fault> {
    let probe = match size {
        1 => ward_probe_write8,
        2 => ward_probe_write16,
        4 => ward_probe_write32,
        _ => ward_probe_write64,
    };
    run(probe, address, value).map(drop)
}

/// Reads a 64-bit word.
pub(crate) fn read(address: u64) -> Result<u64, Fault> {
    run(ward_probe_read64, address, 0)
}

/// Writes a 64-bit word.
pub(crate) fn write(address: u64, value: u64) -> Result<(), Fault> {
    run(ward_probe_write64, address, value).map(drop)
}

/// Reads with LDP, whose syndrome does not describe the access (ISV is 0).
pub(crate) fn read_pair(address: u64) -> Result<u64, Fault> {
    run(ward_probe_pair, address, 0)
}

/// SMC with `function` in `x0` and zeros in `x1` to `x3`: what `x0` holds then.
pub(crate) fn smc(function: u64) -> Result<u64, Fault> {
    run(ward_probe_smc, function, 0)
}

/// System registers that may be undefined, by position in [`sysreg`].
#[derive(Clone, Copy)]
#[repr(u64)]
pub(crate) enum Trapped {
    /// A register of EL2.
    HcrEl2,
    /// Performance monitors.
    Pmcr,
    /// RAS error record.
    Erridr,
    /// SVE control.
    Zcr,
    /// An unallocated identification register, RAZ.
    UnallocatedId,
    /// An implementation-defined register.
    ImplementationDefined,
}

/// Reads a register that may be undefined.
pub(crate) fn sysreg(which: Trapped) -> Result<u64, Fault> {
    run(ward_probe_sysreg, which as u64, 0)
}

// Each probe is (x0: address, x1: answer). A caught fault leaves ESR in x16 and FAR in x17 and
// goes on behind the instruction.
global_asm!(
    ".macro ward_probe name, instruction:vararg",
    ".global ward_probe_\\name",
    "ward_probe_\\name:",
    "mov x3, x1",
    "ldr x4, [x3]",
    "mov x16, #0",
    "mov x17, #0",
    "\\instruction",
    "stp x4, x16, [x3]",
    "str x17, [x3, #16]",
    "ret",
    ".endm",
    ".section .probe, \"ax\"",
    "ward_probe read8, ldrb w4, [x0]",
    "ward_probe read16, ldrh w4, [x0]",
    "ward_probe read32, ldr w4, [x0]",
    "ward_probe read64, ldr x4, [x0]",
    "ward_probe write8, strb w4, [x0]",
    "ward_probe write16, strh w4, [x0]",
    "ward_probe write32, str w4, [x0]",
    "ward_probe write64, str x4, [x0]",
    "ward_probe pair, ldp x4, x5, [x0]",
    ".global ward_probe_smc",
    "ward_probe_smc:",
    "stp x19, x30, [sp, #-16]!",
    "mov x19, x1",
    "mov x1, #0",
    "mov x2, #0",
    "mov x3, #0",
    "mov x16, #0",
    "mov x17, #0",
    ".inst 0xd4000003", // smc #0
    "stp x0, x16, [x19]",
    "str x17, [x19, #16]",
    "ldp x19, x30, [sp], #16",
    "ret",
    ".global ward_probe_sysreg",
    "ward_probe_sysreg:",
    "mov x3, x1",
    "mov x16, #0",
    "mov x17, #0",
    "mov x4, #0",
    "adr x5, 1f",
    "add x5, x5, x0, lsl #3",
    "br x5",
    "1: mrs x4, S3_4_C1_C1_0",
    "b 2f",
    "mrs x4, S3_3_C9_C12_0",
    "b 2f",
    "mrs x4, S3_0_C5_C3_0",
    "b 2f",
    "mrs x4, S3_0_C1_C2_0",
    "b 2f",
    "mrs x4, S3_0_C0_C7_7",
    "b 2f",
    "mrs x4, S3_7_C15_C15_7",
    "b 2f",
    "2: stp x4, x16, [x3]",
    "str x17, [x3, #16]",
    "ret",
    ".text",
);
