//! Calls of guests: HVC under the SMC Calling Convention (DEN0028).
//!
//! Ward answers a protected guest itself and the host sees none of its calls. A normal VM's calls
//! are all the host's, as in plain KVM: PSCI state, firmware versions and filters live there.

use super::{psci, trng};
use crate::abi::smccc::{self, KVM_UID, SMCCC_1_2};
use crate::addr::{Ipa, PAGE_SIZE, VcpuId};

/// What a call asks for. The first two need nothing but registers, the rest the VM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// `x0..x3` become these.
    Return([u64; 4]),
    /// `x0` becomes NOT_SUPPORTED, `x1..x3` are kept.
    NotSupported,
    /// PSCI CPU_ON. That there is such a target and that it is off is left to check.
    CpuOn {
        /// The vCPU to start.
        target: VcpuId,
        /// Its first instruction.
        entry: u64,
        /// Its `x0`.
        context: u64,
    },
    /// PSCI CPU_OFF.
    CpuOff,
    /// PSCI CPU_SUSPEND: `x0` becomes SUCCESS, then exit WAIT.
    Suspend,
    /// PSCI SYSTEM_OFF.
    SystemOff,
    /// PSCI SYSTEM_RESET or SYSTEM_RESET2.
    SystemReset,
    /// PSCI AFFINITY_INFO: 0 on, 1 off, 2 about to be on.
    AffinityInfo(VcpuId),
    /// Share this page with the host; `x0` becomes SUCCESS or [`KVM_INVALID`].
    Share(Ipa),
    /// Stop sharing it.
    Unshare(Ipa),
    /// Treat this page as emulated device memory.
    MmioGuard(Ipa),
    /// Give this page back to the host; `x0` becomes SUCCESS or [`KVM_INVALID`].
    Relinquish(Ipa),
    /// TRNG_RND: [`trng::answer`].
    Random {
        /// How many.
        bits: u8,
        /// The 64-bit form.
        wide: bool,
    },
    /// Exit [`CALL`](crate::abi::run::exit::CALL).
    ToHost,
}

impl Action {
    /// A result in `x0`, the others zero.
    pub const fn value(x0: u64) -> Self {
        Action::Return([x0, 0, 0, 0])
    }
}

/// `x1..x3` of a call, cut to 32 bits for a 32-bit function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Args(pub(super) [u64; 3]);

/// Who calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The VM is protected.
    pub protected: bool,
    /// The CPU has a source of randomness.
    pub entropy: bool,
}

/// KVM's INVALID_PARAMETER, which is not the SMCCC's -2.
pub const KVM_INVALID: u64 = -3_i64 as u64;

/// What the KVM vendor service consists of (Linux, `Documentation/virt/kvm/arm/hypercalls.rst`):
/// a bit for each function, by the low bits of its number.
const KVM_BITMAP: u64 = 1 << (smccc::KVM_FEATURES & 0x1f)
    | 1 << (smccc::KVM_MEMINFO & 0x1f)
    | 1 << (smccc::KVM_MEM_SHARE & 0x1f)
    | 1 << (smccc::KVM_MEM_UNSHARE & 0x1f)
    | 1 << (smccc::KVM_MMIO_GUARD & 0x1f)
    | 1 << (smccc::KVM_MEM_RELINQUISH & 0x1f);

/// Functions that SMCCC_ARCH_FEATURES says are there. The workarounds are not: they are EL3
/// firmware's, and a guest that needs none learns so from CSV2 and CSV3 in its ID registers.
const ARCH_FUNCTIONS: [u32; 2] = [smccc::SMCCC_VERSION, smccc::SMCCC_ARCH_FEATURES];

/// What a guest's HVC with this immediate and these `x0..x3` asks for. `is_ram` says whether an
/// IPA is memory the VM may run from.
pub fn decide(
    immediate: u16,
    regs: [u64; 4],
    caller: Caller,
    is_ram: impl Fn(u64) -> bool,
) -> Action {
    if !caller.protected {
        return Action::ToHost;
    }
    if immediate != 0 {
        return Action::NotSupported; // reserved, DEN0028 2.9
    }
    let [x0, x1, x2, x3] = regs;
    let id = x0 as u32; // W0 names the function, DEN0028 3.1
    let width = if id & smccc::psci::SMC64 != 0 {
        u64::MAX
    } else {
        0xffff_ffff
    };
    let args = Args([x1 & width, x2 & width, x3 & width]);
    let entropy = || {
        if caller.entropy {
            trng::decide(id, args)
        } else {
            None
        }
    };
    arch(id, args)
        .or_else(|| kvm(id, args))
        .or_else(|| psci::decide(id, args, is_ram))
        .or_else(entropy)
        .unwrap_or(Action::NotSupported)
}

fn arch(id: u32, args: Args) -> Option<Action> {
    match id {
        smccc::SMCCC_VERSION => Some(Action::value(SMCCC_1_2)),
        smccc::SMCCC_ARCH_FEATURES => Some(if ARCH_FUNCTIONS.contains(&(args.0[0] as u32)) {
            Action::value(0)
        } else {
            Action::NotSupported
        }),
        smccc::VENDOR_UID => Some(Action::Return(KVM_UID.map(u64::from))),
        _ => None,
    }
}

fn kvm(id: u32, args: Args) -> Option<Action> {
    let [a1, a2, a3] = args.0;
    let page = |action: fn(Ipa) -> Action| match Ipa::page(a1) {
        Ok(page) if a2 | a3 == 0 => action(page),
        _ => Action::value(KVM_INVALID),
    };
    Some(match id {
        smccc::KVM_FEATURES => Action::value(KVM_BITMAP),
        smccc::KVM_MEMINFO if a1 | a2 | a3 == 0 => Action::value(PAGE_SIZE),
        smccc::KVM_MEMINFO => Action::value(KVM_INVALID),
        smccc::KVM_MEM_SHARE => page(Action::Share),
        smccc::KVM_MEM_UNSHARE => page(Action::Unshare),
        smccc::KVM_MMIO_GUARD => page(Action::MmioGuard),
        smccc::KVM_MEM_RELINQUISH => page(Action::Relinquish),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
