//! The generic timer (DDI 0487 D12).

/// The virtual count, ordered after what came before.
pub(crate) fn now() -> u64 {
    super::cpu::isb();
    read_sysreg!("cntvct_el0")
}

/// The physical count, ordered likewise.
pub(crate) fn physical() -> u64 {
    super::cpu::isb();
    read_sysreg!("cntpct_el0")
}

/// Ticks per second.
pub(crate) fn frequency() -> u64 {
    read_sysreg!("cntfrq_el0")
}

/// Nanoseconds that `ticks` last.
pub(crate) fn nanoseconds(ticks: u64) -> u64 {
    (u128::from(ticks) * 1_000_000_000 / u128::from(frequency().max(1))) as u64
}

/// Ticks of this many microseconds.
pub(crate) fn ticks_of_us(us: u64) -> u64 {
    frequency() * us / 1_000_000
}
