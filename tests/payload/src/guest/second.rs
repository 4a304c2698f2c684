//! The second vCPU: started and stopped by PSCI, which Ward performs.

use super::report::{Report, Wrong, same};
use crate::protocol::{MMIO, reg};
use crate::rt::{call, cpu, gic, memory, smp};
use core::sync::atomic::{AtomicU64, Ordering};
use hyp_core::abi::smccc::psci;

const OFF: u64 = 1;
static VISITS: AtomicU64 = AtomicU64::new(0);
static RELEASED: AtomicU64 = AtomicU64::new(0);
static SEEN_MPIDR: AtomicU64 = AtomicU64::new(0);
static SEEN_INDEX: AtomicU64 = AtomicU64::new(0);

pub(super) fn run(report: &mut Report) {
    report.check("second-vcpu-on-and-off", on_and_off());
}

fn on_and_off() -> Result<(), Wrong> {
    for round in 1..=2 {
        same("CPU_ON", smp::cpu_on(1, 1, visit), psci::SUCCESS)?;
        same(
            "CPU_ON of one that is on",
            smp::cpu_on(1, 1, visit),
            psci::ALREADY_ON,
        )?;
        same("AFFINITY_INFO while it runs", state(), 0)?;
        RELEASED.store(round, Ordering::Release);
        // Waiting makes the host run the other one.
        while VISITS.load(Ordering::Acquire) < round {
            cpu::wfi();
        }
        while state() != OFF {
            cpu::wfi();
        }
        same("MPIDR_EL1", SEEN_MPIDR.load(Ordering::Relaxed), 1)?;
        same("context", SEEN_INDEX.load(Ordering::Relaxed), 1)?;
    }
    same("visits", VISITS.load(Ordering::Relaxed), 2)
}

fn state() -> u64 {
    call::psci(psci::AFFINITY_INFO | psci::SMC64, [1, 0, 0])
}

extern "C" fn visit() -> ! {
    SEEN_MPIDR.store(
        read_sysreg!("mpidr_el1") & 0xff_00ff_ffff,
        Ordering::Relaxed,
    );
    SEEN_INDEX.store(read_sysreg!("tpidr_el1"), Ordering::Relaxed);
    let round = VISITS.fetch_add(1, Ordering::Release) + 1;
    while RELEASED.load(Ordering::Acquire) < round {
        cpu::wfi();
    }
    call::psci(psci::CPU_OFF, [0; 3]);
    println!("guest: FAIL: CPU_OFF came back");
    call::system_off()
}

/// Starts the second vCPU as a second servant of the host. Returns the PSCI result.
pub(super) fn start_serving() -> u64 {
    smp::cpu_on(1, 1, serve)
}

extern "C" fn serve() -> ! {
    gic::init_cpu_interface();
    memory::write_device64(MMIO + reg::SCRATCH, 1);
    loop {
        super::serve(0);
    }
}
