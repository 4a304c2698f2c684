//! What the guest measures itself, in ticks of the virtual counter. The host divides and prints.

use super::hvc1;
use crate::protocol::{MMIO, SPARE, reg};
use crate::rt::head::{First, first};
use crate::rt::{call, memory, probe, time};
use hyp_core::abi::smccc::{self, psci};

/// Repetitions of each.
pub(crate) const ROUNDS: u64 = 256;
/// The measurements, by number.
pub(crate) const NAMES: [&str; 7] = ["loop", "guest-call", "null-exit", "mmio-exit", "share-unshare", "fault-4k", "fault-2m"];

/// The number under which the guest reports the count at its first instruction.
pub(crate) const FIRST: usize = 7;

pub(super) fn run() {
    memory::write_device64(MMIO + reg::MEASURED, (FIRST as u64) << 48 | first(First::Cntvct) & 0xffff_ffff);
    let page = SPARE + 0x1_0000;
    memory::poke(page, 1);
    report(0, ROUNDS, &|_| {
        core::hint::black_box(0);
    });
    report(1, ROUNDS, &|_| {
        hvc1(smccc::KVM_MEMINFO, 0);
    });
    report(2, ROUNDS, &|_| {
        call::hvc([u64::from(psci::CPU_SUSPEND), 0, 0, 0, 0, 0, 0, 0]);
    });
    report(3, ROUNDS, &|_| {
        memory::read_device32(MMIO + reg::SCRATCH);
    });
    report(4, ROUNDS, &|_| {
        hvc1(smccc::KVM_MEM_SHARE, page);
        hvc1(smccc::KVM_MEM_UNSHARE, page);
    });
    // The host answers with 4 KiB pages below 2 MiB into the area, with blocks above.
    report(5, 64, &|n| {
        let _ = probe::read(SPARE + 0x2_0000 + n * 4096);
    });
    report(6, 8, &|n| {
        let _ = probe::read(SPARE + 0x20_0000 * (n + 1));
    });
}

fn report(number: u64, rounds: u64, what: &dyn Fn(u64)) {
    what(0);
    let start = time::now();
    (1..=rounds).for_each(what);
    let ticks = time::now() - start;
    memory::write_device64(MMIO + reg::MEASURED, number << 48 | rounds << 32 | ticks);
}
