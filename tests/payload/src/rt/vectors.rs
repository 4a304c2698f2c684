//! Exceptions taken at EL1. A synchronous exception at an instruction of [`probe`](super::probe)
//! or of a call is an answer: the instruction is skipped and `x16` and `x17` say why. Interrupts go to
//! [`gic`](super::gic). Anything else is a bug, and is printed.

use core::arch::global_asm;

/// The interrupted registers, as the vectors store them.
#[repr(C)]
pub(crate) struct Frame {
    x: [u64; 31],
    elr: u64,
    spsr: u64,
    esr: u64,
    far: u64,
    pad: u64,
}

// SAFETY: symbols of the assembly below and of the linker script; only their addresses are used.
unsafe extern "C" {
    static __vectors: u8;
    static __probe_start: u8;
    static __probe_end: u8;
}

/// Lets this CPU take exceptions here.
pub(crate) fn install() {
    write_sysreg!("vbar_el1", address());
}

/// The address of the vectors.
pub(crate) fn address() -> u64 {
    &raw const __vectors as u64
}

extern "C" fn on_sync(frame: &mut Frame) {
    let probes = &raw const __probe_start as u64..&raw const __probe_end as u64;
    if probes.contains(&frame.elr) {
        frame.x[16] = frame.esr;
        frame.x[17] = frame.far;
        frame.elr += 4;
        return;
    }
    fatal("synchronous exception", frame);
}

extern "C" fn on_irq(_frame: &mut Frame) {
    super::gic::on_interrupt();
}

extern "C" fn on_other(frame: &mut Frame) {
    fatal("FIQ, SError or exception from the wrong stack", frame);
}

fn fatal(what: &str, frame: &Frame) -> ! {
    super::console::break_lock();
    println!(
        "FAIL: payload took an unexpected {what}: ESR {:#x} (class {:#x}) FAR {:#x} ELR {:#x} (image {:#x}) SPSR {:#x} x30 {:#x}",
        frame.esr,
        frame.esr >> 26,
        frame.far,
        frame.elr,
        super::head::image_range().0,
        frame.spsr,
        frame.x[30],
    );
    super::call::system_off()
}

global_asm!(
    ".macro ward_vector handler",
    ".balign 128",
    "sub sp, sp, #288",
    "stp x0, x1, [sp]",
    "adr x0, \\handler",
    "b ward_exception",
    ".endm",
    ".text",
    "ward_exception:",
    ".irp n, 2,4,6,8,10,12,14,16,18,20,22,24,26,28",
    "stp x\\n, xzr, [sp, #(\\n * 8)]",
    ".endr",
    ".irp n, 3,5,7,9,11,13,15,17,19,21,23,25,27,29",
    "str x\\n, [sp, #(\\n * 8)]",
    ".endr",
    "mrs x1, elr_el1",
    "mrs x2, spsr_el1",
    "mrs x3, esr_el1",
    "mrs x4, far_el1",
    "stp x30, x1, [sp, #240]",
    "stp x2, x3, [sp, #256]",
    "str x4, [sp, #272]",
    "mov x8, x0",
    "mov x0, sp",
    "blr x8",
    "ldp x30, x1, [sp, #240]",
    "ldr x2, [sp, #256]",
    "msr elr_el1, x1",
    "msr spsr_el1, x2",
    ".irp n, 2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29",
    "ldr x\\n, [sp, #(\\n * 8)]",
    ".endr",
    "ldp x0, x1, [sp]",
    "add sp, sp, #288",
    "eret",
    "ward_on_sync: b {sync}",
    "ward_on_irq: b {irq}",
    "ward_on_other: b {other}",
    ".balign 2048",
    ".global __vectors",
    "__vectors:",
    ".rept 4",
    "ward_vector ward_on_other", // current EL, SP_EL0
    ".endr",
    "ward_vector ward_on_sync",
    "ward_vector ward_on_irq",
    ".rept 10",
    "ward_vector ward_on_other", // FIQ, SError; lower EL, both widths
    ".endr",
    sync = sym on_sync,
    irq = sym on_irq,
    other = sym on_other,
);
