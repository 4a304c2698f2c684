//! What a guest of any KVM can measure: `cargo xtask bench --compare`. Values are sent as in
//! [`bench`](super::bench), by a VMM that has the kernel emulate a GICv3.

use super::bench::report;
use crate::protocol::{GICD, GICR, MMIO, SPARE, reg};
use crate::rt::head::{First, first};
use crate::rt::{call, cpu, gic, memory, smp, time};
use core::sync::atomic::{AtomicU64, Ordering};

/// Repetitions of each.
const ROUNDS: u64 = 256;
/// The number of the count at the first instruction, whose value comes alone behind it.
const FIRST: u64 = 9;
/// The number that comes last.
const LAST: u64 = 15;
/// SMCCC_VERSION (DEN0028 7.2).
const SMCCC_VERSION: u64 = 0x8000_0000;
/// Where fresh pages are, which nobody has touched.
const FRESH: u64 = SPARE + (16 << 20);

static TAKEN: AtomicU64 = AtomicU64::new(0);

pub(super) fn run() {
    send(FIRST << 48);
    send(first(First::Cntvct));
    let version = [SMCCC_VERSION, 0, 0, 0, 0, 0, 0, 0];
    report(0, ROUNDS, |_| {
        call::nothing(version);
    });
    report(1, ROUNDS, |_| {
        call::hvc(version);
    });
    report(2, ROUNDS, |_| {
        memory::read_device32(GICD);
    });
    report(3, ROUNDS, |_| {
        memory::read_device32(MMIO + reg::SCRATCH);
    });
    if interrupts() {
        report(4, 64, |_| interrupt());
    }
    report(5, 64, |n| {
        memory::read_device32(FRESH + n * 4096);
    });
    send(LAST << 48);
}

fn send(value: u64) {
    memory::write_device64(MMIO + reg::MEASURED, value);
}

/// Starts the second vCPU, which counts the interrupts that it takes.
fn interrupts() -> bool {
    gic::init_distributor(GICD, GICR);
    gic::init_cpu();
    let on = smp::cpu_on(1, 1, count) == 0;
    while on && TAKEN.load(Ordering::Acquire) == 0 {
        core::hint::spin_loop();
    }
    on
}

/// From the sending of an interrupt to the other vCPU's having taken it.
fn interrupt() {
    let before = TAKEN.load(Ordering::Acquire);
    gic::send_sgi(1, gic::WAKE);
    while TAKEN.load(Ordering::Acquire) == before {
        core::hint::spin_loop();
    }
}

extern "C" fn count() -> ! {
    gic::init_cpu();
    TAKEN.store(1, Ordering::Release);
    // Behind the counting the other one waits for its interrupt: this one sleeps after a while.
    let end = time::now() + time::ticks_of_us(500_000);
    loop {
        cpu::take_interrupts();
        TAKEN.store(1 + u64::from(gic::count(gic::WAKE)), Ordering::Release);
        if time::now() > end {
            cpu::wfi();
        }
    }
}
