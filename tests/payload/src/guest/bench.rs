//! What the guest measures itself, in ticks of the virtual counter. The host divides and prints.

use crate::protocol::{MMIO, SPARE, reg};
use crate::rt::head::{First, first};
use crate::rt::{call, memory, time};
use hyp_core::abi::smccc::{self, psci};

/// Repetitions of each.
const ROUNDS: u64 = 256;

/// A measurement: its name, its number, and the number of the loop that is to be subtracted.
pub(crate) const RESULTS: &[(&str, usize, usize)] = &[
    ("guest-call", 2, 1),
    ("null-exit", 3, 1),
    ("mmio-exit", 4, 0),
    ("share-unshare", 6, 5),
    ("fault-4k", 7, 0),
    ("fault-2m", 8, 0),
];
/// The number under which the guest reports the count at its first instruction.
pub(crate) const FIRST: usize = 9;

pub(super) fn run() {
    memory::write_device64(
        MMIO + reg::MEASURED,
        (FIRST as u64) << 48 | first(First::Cntvct) & 0xffff_ffff,
    );
    let page = SPARE + 0x1_0000;
    memory::poke(page, 1);
    let call = |function: u32, argument| [u64::from(function), argument, 0, 0, 0, 0, 0, 0];
    let (info, suspend) = (call(smccc::KVM_MEMINFO, 0), call(psci::CPU_SUSPEND, 0));
    let (share, unshare) = (
        call(smccc::KVM_MEM_SHARE, page),
        call(smccc::KVM_MEM_UNSHARE, page),
    );
    report(0, ROUNDS, |n| {
        core::hint::black_box(n);
    });
    report(1, ROUNDS, |_| {
        call::nothing(info);
    });
    report(2, ROUNDS, |_| {
        call::hvc(info);
    });
    report(3, ROUNDS, |_| {
        call::hvc(suspend);
    });
    report(4, ROUNDS, |_| {
        memory::read_device32(MMIO + reg::SCRATCH);
    });
    report(5, ROUNDS, |_| {
        call::nothing(share);
        call::nothing(unshare);
    });
    report(6, ROUNDS, |_| {
        call::hvc(share);
        call::hvc(unshare);
    });
    // The host answers with 4 KiB pages below 2 MiB into the area, with blocks above.
    report(7, 64, |n| {
        memory::read_device32(SPARE + 0x2_0000 + n * 4096);
    });
    report(8, 8, |n| {
        memory::read_device32(SPARE + 0x20_0000 * (n + 1));
    });
}

/// Measures one round before, uncounted, and then so many.
#[inline(always)]
pub(super) fn report(number: u64, rounds: u64, what: impl Fn(u64)) {
    what(0);
    let start = time::now();
    (1..=rounds).for_each(what);
    let ticks = time::now() - start;
    memory::write_device64(MMIO + reg::MEASURED, number << 48 | rounds << 32 | ticks);
}
