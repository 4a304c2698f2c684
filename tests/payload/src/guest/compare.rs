//! What a guest of any KVM can measure: `cargo xtask bench --compare`. Values are sent as in
//! [`bench`](super::bench), by a VMM that has the kernel emulate a GICv3.

use super::bench::report;
use crate::protocol::{GICD, GICR, MMIO, SPARE, reg};
use crate::rt::head::{First, first};
use crate::rt::{call, cpu, gic, memory, smp};
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

/// The second vCPU can be interrupted.
static READY: AtomicU64 = AtomicU64::new(0);

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

/// Starts the second vCPU, which answers each interrupt with one.
fn interrupts() -> bool {
    gic::init_distributor(GICD, GICR);
    gic::init_cpu();
    let on = smp::cpu_on(1, 1, answer) == 0;
    while on && READY.load(Ordering::Acquire) == 0 {
        core::hint::spin_loop();
    }
    on
}

/// To the other vCPU and back; who waits sleeps.
fn interrupt() {
    let before = gic::count(gic::WAKE);
    gic::send_sgi(1, gic::WAKE);
    while gic::count(gic::WAKE) == before {
        cpu::wfi();
        cpu::take_interrupts();
    }
}

extern "C" fn answer() -> ! {
    gic::init_cpu();
    READY.store(1, Ordering::Release);
    let mut answered = 0;
    loop {
        while answered != gic::count(gic::WAKE) {
            gic::send_sgi(0, gic::WAKE);
            answered += 1;
        }
        cpu::wfi();
        cpu::take_interrupts();
    }
}
