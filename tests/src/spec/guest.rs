//! What a protected guest's calls do (SMCCC, PSCI 1.1, pKVM's memory calls).

use super::run::Flow;
use super::{Exit, Life, Open, Owner, Power, Seen, Spec};
use hyp_core::abi::run::exit;
use hyp_core::abi::smccc;
use hyp_core::abi::smccc::psci;

/// KVM's INVALID_PARAMETER.
const KVM_INVALID: u64 = -3_i64 as u64;

impl Spec {
    /// A call with `x0..x3`, at step `at` of vCPU `vcpu`.
    pub(super) fn guest_call(&mut self, vm: u16, vcpu: u64, x: [u64; 4], seen: &Seen<'_>) -> Flow {
        let returns = |x0: u64| Flow::Call(x0);
        let page = x[1] / 4096;
        match x[0] as u32 {
            smccc::SMCCC_VERSION => returns(smccc::SMCCC_1_2),
            smccc::VENDOR_UID => returns(u64::from(smccc::KVM_UID[0])),
            smccc::KVM_FEATURES => returns(1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 9),
            smccc::KVM_MEMINFO if x[1] | x[2] | x[3] != 0 => returns(KVM_INVALID),
            smccc::KVM_MEMINFO => returns(4096),
            id @ (smccc::KVM_MEM_SHARE
            | smccc::KVM_MEM_UNSHARE
            | smccc::KVM_MMIO_GUARD
            | smccc::KVM_MEM_RELINQUISH) => {
                if !x[1].is_multiple_of(4096)
                    || x[1] >> self.setup.ipa_bits != 0
                    || x[2] | x[3] != 0
                {
                    return returns(KVM_INVALID);
                }
                match id {
                    smccc::KVM_MEM_SHARE => self.share(vm, page, true),
                    smccc::KVM_MEM_UNSHARE => self.share(vm, page, false),
                    smccc::KVM_MEM_RELINQUISH => self.relinquish(vm, vcpu, page, seen),
                    _ => self.guard(vm, vcpu, page, seen),
                }
            }
            psci::VERSION => returns(psci::V1_1),
            psci::MIGRATE_INFO_TYPE => returns(2),
            psci::CPU_OFF => {
                self.vcpu(vm, vcpu).power = Power::Off;
                Flow::Exit(Exit::of(exit::CPU_OFF), Open::Nothing)
            }
            id if id == psci::CPU_ON | psci::SMC64 => self.cpu_on(vm, x[1], x[2], x[3]),
            id if id == psci::AFFINITY_INFO | psci::SMC64 => {
                let target = self.vms[&vm].vcpus.get(&x[1]).filter(|_| x[2] == 0);
                returns(match target.map(|vcpu| vcpu.power) {
                    None => psci::INVALID_PARAMETERS,
                    Some(Power::On) => 0,
                    Some(Power::Off) => 1,
                    Some(Power::Pending(..)) => 2,
                })
            }
            psci::SYSTEM_OFF => self.system_end(vm, exit::SYSTEM_OFF),
            psci::SYSTEM_RESET => self.system_end(vm, exit::SYSTEM_RESET),
            _ => returns(smccc::NOT_SUPPORTED),
        }
    }

    fn system_end(&mut self, vm: u16, reason: u64) -> Flow {
        if let Some(it) = self.vms.get_mut(&vm) {
            it.life = Life::PowerOff;
        }
        Flow::Exit(Exit::of(reason), Open::Nothing)
    }

    /// A page is shared once, and unshared only if it is shared and devices let go of it.
    fn share(&mut self, vm: u16, page: u64, share: bool) -> Flow {
        let it = &self.vms[&vm];
        if !it.is_ram(page) {
            return Flow::Call(KVM_INVALID);
        }
        let Some(mapped) = it.maps.get(&page).copied() else {
            return if share {
                Flow::missing(page, true)
            } else {
                Flow::Call(KVM_INVALID)
            };
        };
        match self.owners.get(&mapped.pfn) {
            Some(Owner::Vm(owner, at, shared))
                if *owner == vm && *at == page && *shared != share && (share || !self.lost) =>
            {
                self.own(mapped.pfn, Owner::Vm(vm, page, share));
                Flow::Call(0)
            }
            _ => Flow::Call(KVM_INVALID),
        }
    }

    /// A page of the VM's own that it does not share is the host's again.
    fn relinquish(&mut self, vm: u16, vcpu: u64, page: u64, seen: &Seen<'_>) -> Flow {
        let at = self.vcpu(vm, vcpu).at;
        let it = &self.vms[&vm];
        if !it.is_ram(page) {
            return Flow::Call(KVM_INVALID);
        }
        let Some(mapped) = it.maps.get(&page).copied() else {
            return Flow::Call(0);
        };
        let poor = mapped.block && seen.vm_pool.min(seen.vm_pool_after) == 0;
        if poor && seen.stopped == Some(at) && seen.x[1] == exit::POOL {
            return Flow::Exit(Exit::of(exit::POOL), Open::Nothing);
        }
        if self.owners.get(&mapped.pfn) != Some(&Owner::Vm(vm, page, false)) {
            return Flow::Call(KVM_INVALID);
        }
        if let Some(it) = self.vms.get_mut(&vm) {
            it.split(page);
            it.maps.remove(&page);
        }
        self.give_back(mapped.pfn);
        let out = Exit {
            ipa: page * 4096,
            ..Exit::of(exit::RELINQUISH)
        };
        Flow::CallExit(0, out)
    }

    /// A guard is a mark on a page outside RAM; making it may need a table page.
    fn guard(&mut self, vm: u16, vcpu: u64, page: u64, seen: &Seen<'_>) -> Flow {
        let at = self.vcpu(vm, vcpu).at;
        let need = 3 - self.setup.start_level;
        let Some(it) = self.vms.get_mut(&vm) else {
            return Flow::Next;
        };
        if it.is_ram(page) {
            return Flow::Call(KVM_INVALID);
        }
        if it.maps.contains_key(&page) || it.guards.contains(&page) {
            return Flow::Call(0);
        }
        let poor = seen.vm_pool.min(seen.vm_pool_after) < need;
        if poor && seen.stopped == Some(at) && seen.x[1] == exit::POOL {
            return Flow::Exit(Exit::of(exit::POOL), Open::Nothing);
        }
        it.guards.insert(page);
        Flow::Call(0)
    }

    fn cpu_on(&mut self, vm: u16, target: u64, entry: u64, context: u64) -> Flow {
        let it = &self.vms[&vm];
        if target >= 16 {
            return Flow::Call(psci::INVALID_PARAMETERS);
        }
        if !entry.is_multiple_of(4) || !it.is_ram(entry / 4096) {
            return Flow::Call(psci::INVALID_ADDRESS);
        }
        match it.vcpus.get(&target).map(|vcpu| vcpu.power) {
            None => Flow::Call(psci::INVALID_PARAMETERS),
            Some(Power::On) => Flow::Call(psci::ALREADY_ON),
            Some(Power::Pending(..)) => Flow::Call(psci::ON_PENDING),
            Some(Power::Off) => {
                self.vcpu(vm, target).power = Power::Pending(entry, context);
                Flow::CallExit(
                    0,
                    Exit {
                        arg1: target,
                        ..Exit::of(exit::CPU_ON)
                    },
                )
            }
        }
    }
}
