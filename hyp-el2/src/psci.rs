//! The PSCI relay (DEN0022): the host's power calls, such that a CPU never runs the host without
//! its stage 2.
//!
//! CPU_ON and a CPU_SUSPEND that powers down name an address at which the host wants to go on.
//! Ward keeps it in the CPU's record and gives firmware its own entry instead; the CPU arrives
//! there at EL2, sets itself up and only then enters the host at EL1.

use crate::percpu::{self, PerCpu, power};
use crate::smc;
use core::sync::atomic::Ordering;
use hyp_core::abi::smccc::{self, psci};
use hyp_core::addr::{PAGE_SHIFT, Pfn};
use hyp_core::memory::FrameState;

unsafe extern "C" {
    fn ward_secondary();
}

const AFFINITY: u64 = 0xff_00ff_ffff;
/// CPU_SUSPEND's StateType, in the original and in the extended format (DEN0022 5.4.2).
const POWER_DOWN: u64 = 1 << 16;
const POWER_DOWN_EXTENDED: u64 = 1 << 30;
/// PSCI_FEATURES of CPU_SUSPEND: the extended format is used.
const FEATURE_EXTENDED: u64 = 1 << 1;
/// MIGRATE_INFO_TYPE: no trusted OS, or one that does not need migration.
const NO_MIGRATION: u64 = 2;

/// What the host's SMC with function `x0` gets, from `x1..x3`. `None`: not a function Ward
/// relays.
pub fn relay(args: [u64; 4]) -> Option<[u64; 4]> {
    let function = u32::try_from(args[0]).ok()?;
    let one = |x0: u64| Some([x0, args[1], args[2], args[3]]);
    // The 32-bit forms take 32-bit arguments (DEN0028 3.1).
    let wide = function & psci::SMC64 != 0;
    let [_, a, b, c] = if wide {
        args
    } else {
        args.map(|arg| arg & 0xffff_ffff)
    };
    match function & !psci::SMC64 {
        psci::CPU_ON => one(cpu_on(a, b, c)),
        psci::CPU_SUSPEND => one(cpu_suspend(a, b, c)),
        psci::AFFINITY_INFO => one(smc::call([args[0], a, b, 0])[0]),
        psci::SYSTEM_RESET2 => one(smc::call([args[0], a, b, 0])[0]),
        _ if wide => None,
        psci::VERSION => one(smc::call([args[0], 0, 0, 0])[0]),
        psci::CPU_OFF => one(cpu_off()),
        psci::MIGRATE_INFO_TYPE => one(NO_MIGRATION),
        psci::SYSTEM_OFF | psci::SYSTEM_RESET => {
            smc::call([args[0], 0, 0, 0]);
            one(psci::INTERNAL_FAILURE)
        }
        psci::FEATURES => one(features(a)),
        _ => None,
    }
}

/// PSCI_FEATURES: what firmware says of the functions relayed, NOT_SUPPORTED of all others.
fn features(function: u64) -> u64 {
    let Ok(id) = u32::try_from(function) else {
        return smccc::NOT_SUPPORTED;
    };
    let relayed = matches!(
        id & !psci::SMC64,
        psci::CPU_ON | psci::CPU_SUSPEND | psci::AFFINITY_INFO | psci::SYSTEM_RESET2
    ) || matches!(
        id,
        psci::VERSION | psci::CPU_OFF | psci::SYSTEM_OFF | psci::SYSTEM_RESET | psci::FEATURES
    );
    match id {
        // Ward's own answers, whatever firmware has.
        psci::MIGRATE_INFO_TYPE | smccc::SMCCC_VERSION => psci::SUCCESS,
        _ if relayed => smc::call([u64::from(psci::FEATURES), function, 0, 0])[0],
        _ => smccc::NOT_SUPPORTED,
    }
}

/// Is this an address at which the host may start: aligned, and memory of its own?
fn is_entry(entry: u64) -> bool {
    let state = crate::glue::ward().frame_state(Pfn(entry >> PAGE_SHIFT));
    entry.is_multiple_of(4) && matches!(state, Some(FrameState::Host { .. }))
}

fn entry_point() -> u64 {
    ward_secondary as *const () as u64
}

fn cpu_on(target: u64, entry: u64, argument: u64) -> u64 {
    let Some(cpu) = percpu::by_mpidr(target) else {
        return psci::INVALID_PARAMETERS;
    };
    if target & !AFFINITY != 0 || !is_entry(entry) {
        return psci::INVALID_ADDRESS;
    }
    let claim = cpu.power.compare_exchange(
        power::OFF,
        power::PENDING,
        Ordering::Acquire,
        Ordering::Relaxed,
    );
    match claim {
        Ok(_) => {}
        Err(power::PENDING) => return psci::ON_PENDING,
        Err(_) => return psci::ALREADY_ON,
    }
    cpu.entry.store(entry, Ordering::Relaxed);
    cpu.argument.store(argument, Ordering::Relaxed);
    publish(cpu);
    let function = u64::from(psci::CPU_ON | psci::SMC64);
    let result = smc::call([function, target, entry_point(), address(cpu)])[0];
    if result != psci::SUCCESS {
        cpu.power.store(power::OFF, Ordering::Release);
    }
    result
}

fn cpu_off() -> u64 {
    let cpu = percpu::this();
    cpu.power.store(power::OFF, Ordering::Release);
    let result = smc::call([u64::from(psci::CPU_OFF), 0, 0, 0])[0];
    // It returns only when firmware refused.
    cpu.power.store(power::ON, Ordering::Release);
    result
}

fn cpu_suspend(state: u64, entry: u64, argument: u64) -> u64 {
    let suspend = u64::from(psci::CPU_SUSPEND | psci::SMC64);
    let query = [u64::from(psci::FEATURES), suspend, 0, 0];
    let extended = smc::call(query)[0] & FEATURE_EXTENDED != 0;
    let power_down = if extended {
        POWER_DOWN_EXTENDED
    } else {
        POWER_DOWN
    };
    if state & power_down == 0 {
        return smc::call([suspend, state, 0, 0])[0];
    }
    if !is_entry(entry) {
        return psci::INVALID_ADDRESS;
    }
    let cpu = percpu::this();
    cpu.entry.store(entry, Ordering::Relaxed);
    cpu.argument.store(argument, Ordering::Relaxed);
    publish(cpu);
    // Returns when the CPU woke before it lost its state, or on an error: the host goes on here.
    smc::call([suspend, state, entry_point(), address(cpu)])[0]
}

fn address(cpu: &PerCpu) -> u64 {
    core::ptr::from_ref(cpu) as u64
}

/// The CPU reads its record before its caches are on.
fn publish(cpu: &PerCpu) {
    crate::cache::clean_to_memory(address(cpu), size_of::<PerCpu>() as u64);
}
