//! Barriers and hints.

use core::arch::asm;

/// DSB SY.
pub(crate) fn dsb() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
}

/// ISB.
pub(crate) fn isb() {
    // SAFETY: a barrier.
    unsafe { asm!("isb", options(nostack, preserves_flags)) };
}

/// WFI: waits for an interrupt, masked or not.
pub(crate) fn wfi() {
    // SAFETY: a hint; whatever wakes the CPU is taken by the vectors or stays pending.
    unsafe { asm!("dsb sy", "wfi", options(nostack, preserves_flags)) };
}

/// Lets interrupts in for a moment.
pub(crate) fn take_interrupts() {
    // SAFETY: the vectors are installed before any interrupt is enabled.
    unsafe {
        asm!(
            "msr daifclr, #2",
            "isb",
            "nop",
            "msr daifset, #2",
            options(nostack)
        )
    };
}
