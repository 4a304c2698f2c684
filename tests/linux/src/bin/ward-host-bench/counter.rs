//! The virtual counter (DDI 0487 D12.1.2), which user programs may read.

use std::arch::asm;

/// Instructions since the machine started, where QEMU counts them.
pub(crate) fn instructions() -> u64 {
    let (ticks, frequency): (u64, u64);
    // SAFETY: reads two registers that EL0 may read under Linux; ISB keeps the order.
    unsafe {
        asm!("isb", "mrs {}, cntvct_el0", "mrs {}, cntfrq_el0",
            out(reg) ticks, out(reg) frequency, options(nomem, nostack));
    }
    let nanoseconds = u128::from(ticks) * 1_000_000_000 / u128::from(frequency);
    u64::try_from(nanoseconds).unwrap_or(u64::MAX)
}
