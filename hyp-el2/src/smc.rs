//! Calls to the firmware (SMCCC, DEN0028).

use core::arch::asm;

/// Makes the SMC `args[0]` with `x1..x3`; returns `x0..x3`.
pub fn call(args: [u64; 4]) -> [u64; 4] {
    let [mut x0, mut x1, mut x2, mut x3] = args;
    // SAFETY: firmware keeps the convention: x0..x17 may change, memory of Ward's does not. The
    // functions Ward calls are PSCI's and the queries and workarounds of DEN0028.
    unsafe {
        asm!("smc #0",
            inout("x0") x0, inout("x1") x1, inout("x2") x2, inout("x3") x3,
            out("x4") _, out("x5") _, out("x6") _, out("x7") _, out("x8") _, out("x9") _,
            out("x10") _, out("x11") _, out("x12") _, out("x13") _, out("x14") _, out("x15") _,
            out("x16") _, out("x17") _, options(nostack));
    }
    [x0, x1, x2, x3]
}
