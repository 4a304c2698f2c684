//! Calls by HVC and SMC (DEN0028), PSCI (DEN0022).

use core::arch::global_asm;
use core::sync::atomic::{AtomicBool, Ordering};
use hyp_core::abi::smccc::psci;

static PSCI_BY_SMC: AtomicBool = AtomicBool::new(false);

/// Chooses the conduit of PSCI calls; HVC until told otherwise.
pub(crate) fn set_psci_conduit(smc: bool) {
    PSCI_BY_SMC.store(smc, Ordering::Relaxed);
}

// SAFETY: the assembly below; see there.
unsafe extern "C" {
    fn ward_hvc(words: *mut u64);
    fn ward_smc(words: *mut u64);
    fn ward_nothing(words: *mut u64);
}

/// HVC with `words` in `x0..x7`, which then hold what came back. Where nobody answers HVC the
/// result is that of an unknown function.
pub(crate) fn hvc(mut words: [u64; 8]) -> [u64; 8] {
    // SAFETY: reads and writes the eight words and registers that are the compiler's to give. What
    // the call itself does to memory concerns only pages in which no Rust object lies.
    unsafe { ward_hvc(words.as_mut_ptr()) };
    words
}

/// All that [`hvc`] does but the call: what to subtract when measuring.
pub(crate) fn nothing(mut words: [u64; 8]) -> [u64; 8] {
    // SAFETY: as for `hvc`.
    unsafe { ward_nothing(words.as_mut_ptr()) };
    words
}

/// SMC in the same way.
pub(crate) fn smc(mut words: [u64; 8]) -> [u64; 8] {
    // SAFETY: as for `hvc`.
    unsafe { ward_smc(words.as_mut_ptr()) };
    words
}

/// A PSCI call.
pub(crate) fn psci(function: u32, arguments: [u64; 3]) -> u64 {
    let [a, b, c] = arguments;
    let words = [u64::from(function), a, b, c, 0, 0, 0, 0];
    if PSCI_BY_SMC.load(Ordering::Relaxed) {
        smc(words)[0]
    } else {
        hvc(words)[0]
    }
}

/// PSCI SYSTEM_OFF.
pub(crate) fn system_off() -> ! {
    psci(psci::SYSTEM_OFF, [0; 3]);
    loop {
        super::cpu::wfi();
    }
}

global_asm!(
    ".arch_extension fp",
    ".arch_extension simd",
    // The vectors let an undefined instruction in this section fall through, see `probe.rs`.
    ".section .probe, \"ax\"",
    ".macro ward_call name, instruction",
    ".global ward_\\name",
    "ward_\\name:",
    "stp x19, x30, [sp, #-16]!",
    "mov x19, x0",
    "ldp x6, x7, [x19, #48]",
    "ldp x4, x5, [x19, #32]",
    "ldp x2, x3, [x19, #16]",
    "ldp x0, x1, [x19]",
    "mov x16, #0",
    "mov x17, #0",
    "\\instruction",
    "cbz x16, 2f",
    "mov x0, #-1", // UNDEF: caught by the vectors
    "2: stp x0, x1, [x19]",
    "stp x2, x3, [x19, #16]",
    "stp x4, x5, [x19, #32]",
    "stp x6, x7, [x19, #48]",
    "ldp x19, x30, [sp], #16",
    "ret",
    ".endm",
    "ward_call hvc, \".inst 0xd4000002\"",
    "ward_call nothing, nop",
    "ward_call smc, \".inst 0xd4000003\"",
    ".text",
);
