//! The first instructions: arm64 `Image` header, a record of what the CPU looked like, relocation
//! of the program to where it was loaded, a stack.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes of stack per CPU.
const STACK_BYTES: usize = 128 * 1024;
/// CPUs that have a stack.
pub(crate) const MAX_CPUS: usize = 8;

/// What the CPU looked like at the first instruction, in the order in which `_start` stores it.
#[derive(Clone, Copy)]
#[repr(usize)]
pub(crate) enum First {
    /// `x0`.
    X0,
    /// All bits that were set in any of `x1` to `x30`.
    OtherGprs,
    /// All bits that were set in the halves of any of `v0` to `v31`.
    Fp0,
    /// As `Fp0`, the upper half.
    Fp1,
    /// All bits that were set in memory between the image's end and the stacks.
    Bss,
    CurrentEl,
    SpSel,
    Daif,
    Nzcv,
    Sp,
    SpEl0,
    Sctlr,
    Cpacr,
    Ttbr0,
    Ttbr1,
    Tcr,
    Esr,
    Far,
    Mair,
    Vbar,
    Contextidr,
    Tpidr,
    TpidrEl0,
    TpidrroEl0,
    Cntkctl,
    Mdscr,
    Csselr,
    Elr,
    Spsr,
    CntvCtl,
    CntvCval,
    Par,
    Fpcr,
    Fpsr,
    Cntvct,
}

const FIRST_WORDS: usize = First::Cntvct as usize + 1;

// Written by `_start` before anything else runs, then only read.
#[unsafe(no_mangle)]
// SAFETY: the name is this crate's; a section of initialised data, which `_start` does not clear.
#[unsafe(link_section = ".data.first")]
static FIRST_STATE: [AtomicU64; FIRST_WORDS] = [const { AtomicU64::new(0) }; FIRST_WORDS];

/// What the boot CPU found in `which` at its first instruction.
pub(crate) fn first(which: First) -> u64 {
    FIRST_STATE[which as usize].load(Ordering::Relaxed)
}

/// The address range the program occupies, stacks included.
pub(crate) fn image_range() -> (u64, u64) {
    (
        &raw const __image_start as u64,
        &raw const __image_end as u64,
    )
}

/// The top of a CPU's stack.
pub(crate) fn stack_top(cpu: usize) -> u64 {
    &raw const __stacks as u64 + ((cpu + 1) * STACK_BYTES) as u64
}

/// Address at which a secondary CPU starts, with [`SecondaryStart`](super::smp::Start) in `x0`.
pub(crate) fn secondary_entry() -> u64 {
    secondary_start as *const () as u64
}

// SAFETY: symbols of the linker script and of the assembly below; only their addresses are used.
unsafe extern "C" {
    static __image_start: u8;
    static __image_end: u8;
    static __stacks: u8;
    fn secondary_start();
}

global_asm!(
    ".section .head, \"ax\"",
    ".arch_extension fp",
    ".arch_extension simd",
    ".global _start",
    "_start:",
    "b 1f",
    ".long 0",
    ".quad 0",            // text_offset
    ".quad __image_size", // all memory that the program uses
    ".quad 0xa",          // little endian, 4 KiB pages, anywhere in memory
    ".quad 0, 0, 0",
    ".ascii \"ARM\\x64\"",
    ".long 0",
    // No register is free yet: gather x1 to x30 in x1.
    "1:",
    ".irp n, 2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30",
    "orr x1, x1, x\\n",
    ".endr",
    "mrs x9, nzcv",
    "mrs x10, cpacr_el1",
    "mrs x11, cntvct_el0",
    "mov x12, sp",
    "adrp x2, FIRST_STATE",
    "add x2, x2, :lo12:FIRST_STATE",
    "stp x0, x1, [x2]",
    "mov x3, #(3 << 20)", // CPACR_EL1.FPEN: FP and SIMD do not trap
    "msr cpacr_el1, x3",
    "isb",
    ".irp n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "orr v0.16b, v0.16b, v\\n\\().16b",
    ".endr",
    "str d0, [x2, #16]",
    "mov d1, v0.d[1]",
    "str d1, [x2, #24]",
    "add x4, x2, #40",
    "mrs x3, currentel", "str x3, [x4], #8",
    "mrs x3, spsel", "str x3, [x4], #8",
    "mrs x3, daif", "str x3, [x4], #8",
    "str x9, [x4], #8",
    "str x12, [x4], #8",
    ".irp r, sp_el0, sctlr_el1",
    "mrs x3, \\r", "str x3, [x4], #8",
    ".endr",
    "str x10, [x4], #8",
    ".irp r, ttbr0_el1, ttbr1_el1, tcr_el1, esr_el1, far_el1, mair_el1, vbar_el1, contextidr_el1",
    "mrs x3, \\r", "str x3, [x4], #8",
    ".endr",
    ".irp r, tpidr_el1, tpidr_el0, tpidrro_el0, cntkctl_el1, mdscr_el1, csselr_el1, elr_el1, spsr_el1",
    "mrs x3, \\r", "str x3, [x4], #8",
    ".endr",
    ".irp r, cntv_ctl_el0, cntv_cval_el0, par_el1, fpcr, fpsr",
    "mrs x3, \\r", "str x3, [x4], #8",
    ".endr",
    "str x11, [x4]",
    // Clear .bss, and note whether it was clear.
    "adrp x4, __bss_start", "add x4, x4, :lo12:__bss_start",
    "adrp x5, __bss_end", "add x5, x5, :lo12:__bss_end",
    "mov x6, #0",
    "2: cmp x4, x5",
    "b.hs 3f",
    "ldp x7, x8, [x4]",
    "orr x6, x6, x7",
    "orr x6, x6, x8",
    "stp xzr, xzr, [x4], #16",
    "b 2b",
    "3: str x6, [x2, #32]",
    // R_AARCH64_RELATIVE, the only kind the linker leaves: *(base + offset) = base + addend.
    "adr x3, _start",
    "adrp x4, __rela_start", "add x4, x4, :lo12:__rela_start",
    "adrp x5, __rela_end", "add x5, x5, :lo12:__rela_end",
    "4: cmp x4, x5",
    "b.hs 5f",
    "ldp x6, x7, [x4], #16",
    "ldr x8, [x4], #8",
    "add x8, x8, x3",
    "str x8, [x3, x6]",
    "b 4b",
    "5:",
    "mov x29, xzr",
    "mov x30, xzr",
    "adrp x4, __stacks",
    "add x4, x4, :lo12:__stacks",
    "add x4, x4, #({stack} / 4096), lsl #12",
    "mov sp, x4",
    "bl payload_main",
    "6: wfi",
    "b 6b",
    // x0: entry, stack, CPU number, SCTLR, TCR, MAIR, TTBR0, VBAR (`smp::Start`).
    ".global secondary_start",
    "secondary_start:",
    "ldp x1, x2, [x0]",
    "mov sp, x2",
    "ldr x2, [x0, #16]",
    "msr tpidr_el1, x2",
    "ldp x2, x3, [x0, #32]",
    "msr tcr_el1, x2",
    "msr mair_el1, x3",
    "ldp x2, x3, [x0, #48]",
    "msr ttbr0_el1, x2",
    "msr vbar_el1, x3",
    "mov x2, #(3 << 20)",
    "msr cpacr_el1, x2",
    "isb",
    "tlbi vmalle1",
    "dsb nsh",
    "ldr x2, [x0, #24]",
    "msr sctlr_el1, x2",
    "isb",
    "mov x29, xzr",
    "mov x30, xzr",
    "blr x1",
    "7: wfi",
    "b 7b",
    ".section .stack, \"aw\", @nobits",
    ".balign 4096",
    ".global __stacks",
    "__stacks: .skip {stack} * {cpus}",
    ".text",
    stack = const STACK_BYTES,
    cpus = const MAX_CPUS,
);
