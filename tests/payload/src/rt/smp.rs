//! Other CPUs: started by PSCI CPU_ON, then each waits for work.

use super::head::{self, MAX_CPUS};
use super::{call, cpu, gic, memory, mmu, vectors};
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use hyp_core::abi::smccc::psci;

/// What the assembly of a secondary CPU's start reads, with its caches off.
#[repr(C, align(64))]
pub(crate) struct Start([AtomicU64; 8]);

static STARTS: [Start; MAX_CPUS] = [const { Start([const { AtomicU64::new(0) }; 8]) }; MAX_CPUS];

const OFF: usize = 0;
const IDLE: usize = 1;
const WORK: usize = 2;

/// A CPU's mailbox.
struct Cpu {
    state: AtomicUsize,
    mpidr: AtomicU64,
    // A `&&dyn Fn()` whose owner waits in `while_on`.
    work: AtomicPtr<()>,
}

static CPUS: [Cpu; MAX_CPUS] = [const {
    Cpu {
        state: AtomicUsize::new(OFF),
        mpidr: AtomicU64::new(0),
        work: AtomicPtr::new(core::ptr::null_mut()),
    }
}; MAX_CPUS];

/// The number of this CPU.
pub(crate) fn current() -> usize {
    (read_sysreg!("tpidr_el1") as usize).min(MAX_CPUS - 1)
}

/// PSCI CPU_ON of the CPU with this MPIDR, which then runs `entry` as number `index`. Returns the
/// PSCI result.
pub(crate) fn cpu_on(index: usize, mpidr: u64, entry: extern "C" fn() -> !) -> u64 {
    let words = [
        entry as *const () as u64,
        head::stack_top(index),
        index as u64,
        mmu::SCTLR,
        mmu::tcr(),
        mmu::MAIR,
        mmu::table(),
        vectors::address(),
    ];
    for (slot, word) in STARTS[index].0.iter().zip(words) {
        slot.store(word, Ordering::Relaxed);
    }
    let start = &raw const STARTS[index] as u64;
    memory::clean(start, size_of::<Start>() as u64);
    call::psci(
        psci::CPU_ON | psci::SMC64,
        [mpidr & 0xff_00ff_ffff, head::secondary_entry(), start],
    )
}

/// Starts host CPU `index` and waits until it is idle. Returns the PSCI result.
pub(crate) fn start(index: usize, mpidr: u64) -> u64 {
    CPUS[index].mpidr.store(mpidr, Ordering::Relaxed);
    let result = cpu_on(index, mpidr, idle);
    if result == psci::SUCCESS {
        while CPUS[index].state.load(Ordering::Acquire) != IDLE {
            core::hint::spin_loop();
        }
    }
    result
}

/// Is the CPU started and waiting?
pub(crate) fn is_idle(index: usize) -> bool {
    CPUS[index].state.load(Ordering::Acquire) == IDLE
}

/// The MPIDR with which a CPU was started.
pub(crate) fn mpidr(index: usize) -> u64 {
    CPUS[index].mpidr.load(Ordering::Relaxed)
}

/// Runs `there` on an idle CPU while this one runs `here`; waits for both.
pub(crate) fn while_on<R>(index: usize, there: &(dyn Fn() + Sync), here: impl FnOnce() -> R) -> R {
    let slot = &CPUS[index];
    assert!(is_idle(index), "CPU {index} is not idle");
    let work: &&(dyn Fn() + Sync) = &there;
    slot.work.store(
        core::ptr::from_ref(work).cast_mut().cast(),
        Ordering::Relaxed,
    );
    slot.state.store(WORK, Ordering::Release);
    gic::send_sgi(mpidr(index), gic::WAKE);
    let result = here();
    while slot.state.load(Ordering::Acquire) == WORK {
        core::hint::spin_loop();
    }
    result
}

/// Switches this CPU off; the one that asked for it sees it in [`is_idle`] and AFFINITY_INFO.
pub(crate) fn off() -> ! {
    CPUS[current()].state.store(OFF, Ordering::Release);
    call::psci(psci::CPU_OFF, [0; 3]);
    println!("FAIL: CPU_OFF came back");
    loop {
        cpu::wfi();
    }
}

extern "C" fn idle() -> ! {
    gic::init_cpu();
    let me = &CPUS[current()];
    me.state.store(IDLE, Ordering::Release);
    loop {
        if me.state.load(Ordering::Acquire) == WORK {
            let work = me.work.load(Ordering::Relaxed).cast::<&(dyn Fn() + Sync)>();
            // SAFETY: `while_on` stored a reference to a closure that other CPUs may call, and
            // waits until the state changes.
            let work = unsafe { *work };
            work();
            me.state.store(IDLE, Ordering::Release);
        } else {
            cpu::wfi();
            cpu::take_interrupts();
        }
    }
}
