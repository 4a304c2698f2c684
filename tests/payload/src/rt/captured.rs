//! Single instructions with every general and FP register under control: as given before, and
//! captured right behind. The host searches what it captures around a run for a guest's secrets,
//! the guest fills its registers with them.

use super::registers::Registers;
use core::arch::global_asm;

// SAFETY: the assembly below; see there.
unsafe extern "C" {
    fn ward_captured_hvc(registers: *mut Registers);
    fn ward_captured_wfi(registers: *mut Registers);
    fn ward_captured_load(registers: *mut Registers);
    fn ward_captured_store(registers: *mut Registers);
    fn ward_captured_spin(registers: *mut Registers);
}

/// The instruction to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Instruction {
    /// HVC #0.
    Hvc,
    /// WFI.
    Wfi,
    /// Load X5 from the address in X6.
    Load,
    /// Store X5 to the address in X6.
    Store,
    /// Count X7 down to zero.
    Spin,
}

/// Loads all registers, runs the instruction, captures all registers.
pub(crate) fn run(instruction: Instruction, registers: &mut Registers) {
    let routine: unsafe extern "C" fn(*mut Registers) = match instruction {
        Instruction::Hvc => ward_captured_hvc,
        Instruction::Wfi => ward_captured_wfi,
        Instruction::Load => ward_captured_load,
        Instruction::Store => ward_captured_store,
        Instruction::Spin => ward_captured_spin,
    };
    // SAFETY: each routine keeps the registers that the compiler may use, and changes memory only
    // where its caller said: pages in which no Rust object lies.
    unsafe { routine(registers) };
}

// x0: 31 general registers, then 32 FP registers from byte 256. SP is the one register that stays
// the program's: x0 and x1 go below it, then x1 is free to hold the address again.
global_asm!(
    ".arch_extension fp",
    ".arch_extension simd",
    ".text",
    ".macro ward_captured name, instruction:vararg",
    ".global ward_captured_\\name",
    "ward_captured_\\name:",
    ".irp n, 19,20,21,22,23,24,25,26,27,28,29,30",
    "str x\\n, [sp, #-16]!",
    ".endr",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "ldr q\\n, [x0, #(256 + 16 * \\n)]",
    ".endr",
    "str x0, [sp, #-16]!",
    ".irp n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30",
    "ldr x\\n, [x0, #(8 * \\n)]",
    ".endr",
    "ldr x0, [x0]",
    "\\instruction",
    "stp x0, x1, [sp, #-16]!",
    "ldr x1, [sp, #16]",
    ".irp n, 2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30",
    "str x\\n, [x1, #(8 * \\n)]",
    ".endr",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "str q\\n, [x1, #(256 + 16 * \\n)]",
    ".endr",
    "ldp x2, x3, [sp], #32",
    "stp x2, x3, [x1]",
    ".irp n, 30,29,28,27,26,25,24,23,22,21,20,19",
    "ldr x\\n, [sp], #16",
    ".endr",
    "ret",
    ".endm",
    "ward_captured hvc, .inst 0xd4000002",
    "ward_captured wfi, wfi",
    "ward_captured load, ldr x5, [x6]",
    "ward_captured store, str x5, [x6]",
    "ward_captured spin, 9: subs x7, x7, #1; b.ne 9b",
);
