//! PSCI 1.1 as a protected guest sees it (DEN0022).

use super::guest_call::{Action, Args};
use crate::abi::smccc::{SMCCC_VERSION, psci};
use crate::addr::VcpuId;

/// What a function does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Function {
    Version,
    Suspend,
    Off,
    On,
    AffinityInfo,
    MigrateInfoType,
    SystemOff,
    SystemReset,
    SystemReset2,
    Features,
}

/// The functions there are, in both forms where there are two. Others are NOT_SUPPORTED.
const FUNCTIONS: &[(u32, Function)] = &[
    (psci::VERSION, Function::Version),
    (psci::CPU_SUSPEND, Function::Suspend),
    (psci::CPU_SUSPEND | psci::SMC64, Function::Suspend),
    (psci::CPU_OFF, Function::Off),
    (psci::CPU_ON, Function::On),
    (psci::CPU_ON | psci::SMC64, Function::On),
    (psci::AFFINITY_INFO, Function::AffinityInfo),
    (psci::AFFINITY_INFO | psci::SMC64, Function::AffinityInfo),
    (psci::MIGRATE_INFO_TYPE, Function::MigrateInfoType),
    (psci::SYSTEM_OFF, Function::SystemOff),
    (psci::SYSTEM_RESET, Function::SystemReset),
    (psci::FEATURES, Function::Features),
    (psci::SYSTEM_RESET2, Function::SystemReset2),
    (psci::SYSTEM_RESET2 | psci::SMC64, Function::SystemReset2),
];

/// MIGRATE_INFO_TYPE: no trusted OS, or one that needs no migration (DEN0022 5.9).
const NO_MIGRATION: u64 = 2;
/// SYSTEM_WARM_RESET, the one architectural type of SYSTEM_RESET2 (DEN0022 5.13). Bit 31 would
/// make it a vendor's; Ward has none.
const WARM_RESET: u64 = 0;
/// Instructions are words.
const ENTRY_ALIGNMENT: u64 = 4;
/// No VM's memory lies beyond; an [`Ipa`](crate::addr::Ipa) cannot say more.
const IPA_BITS: u32 = 52;

fn find(id: u32) -> Option<Function> {
    FUNCTIONS.iter().find(|row| row.0 == id).map(|row| row.1)
}

/// What a call with function number `id` asks for, `None` if there is no such function.
/// `is_ram` says whether an IPA is memory that the VM may run from.
///
/// CPU_SUSPEND with a power-down state is treated as standby, which DEN0022 5.4.2 permits: all
/// registers survive.
pub fn decide(id: u32, args: Args, is_ram: impl Fn(u64) -> bool) -> Option<Action> {
    let [a1, a2, a3] = args.0;
    Some(match find(id)? {
        Function::Version => Action::value(psci::V1_1),
        Function::Suspend => Action::Suspend,
        Function::Off => Action::CpuOff,
        Function::On => cpu_on(a1, a2, a3, is_ram),
        Function::AffinityInfo => match VcpuId::from_affinity(a1) {
            Some(target) if a2 == 0 => Action::AffinityInfo(target),
            _ => Action::value(psci::INVALID_PARAMETERS),
        },
        Function::MigrateInfoType => Action::value(NO_MIGRATION),
        Function::SystemOff => Action::SystemOff,
        Function::SystemReset => Action::SystemReset,
        Function::SystemReset2 if a1 & 0xffff_ffff == WARM_RESET => Action::SystemReset,
        Function::SystemReset2 => Action::value(psci::INVALID_PARAMETERS),
        Function::Features => features(a1 as u32),
    })
}

fn cpu_on(target: u64, entry: u64, context: u64, is_ram: impl Fn(u64) -> bool) -> Action {
    let Some(target) = VcpuId::from_affinity(target) else {
        return Action::value(psci::INVALID_PARAMETERS);
    };
    if !entry.is_multiple_of(ENTRY_ALIGNMENT) || entry >> IPA_BITS != 0 || !is_ram(entry) {
        return Action::value(psci::INVALID_ADDRESS);
    }
    Action::CpuOn {
        target,
        entry,
        context,
    }
}

/// PSCI_FEATURES: 0 for a function that is there. CPU_SUSPEND's flags are 0 too: original state
/// format, no OS-initiated mode (DEN0022 5.15).
fn features(id: u32) -> Action {
    if id == SMCCC_VERSION || find(id).is_some() {
        Action::value(0)
    } else {
        Action::NotSupported
    }
}

#[cfg(test)]
mod tests;
