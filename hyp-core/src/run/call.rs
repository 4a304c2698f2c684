//! A guest's calls that touch its VM: power of its vCPUs, and what it shares.

use super::abort::GUARDED;
use super::{Next, Running};
use crate::abi::run::{Exit, exit};
use crate::abi::smccc::{NOT_SUPPORTED, psci};
use crate::addr::{Ipa, PAGE_SIZE, Size, VcpuId};
use crate::lock::{Order, level};
use crate::machine::Machine;
use crate::stage2::{MapError, UnmapError};
use crate::vcpu::guest_call::{self, Action, Caller, KVM_INVALID};
use crate::vcpu::pending::Pending;
use crate::vcpu::trng;
use crate::vm::{Power, State, Vm};
use crate::ward::Ward;

/// What became of a call on the guest's own memory.
enum Done {
    /// It is so now.
    Yes,
    /// It cannot be.
    Refused,
    /// The page is not there yet: the host provides it and the call is made again.
    Missing(Ipa),
    /// It is so now, and the host hears of the page that it got.
    Given(Ipa),
    /// The VM's pool is empty: the host donates and the call is made again.
    Pool,
}

impl<M: Machine> Ward<M> {
    pub(super) fn guest_call(
        &self,
        order: &mut Order<'_, level::Top>,
        running: &mut Running<M>,
        immediate: u16,
        esr: u64,
    ) -> Next {
        let caller = Caller {
            protected: running.params.protected,
            entropy: self.machine.has_random(),
        };
        let &[x0, x1, x2, x3, ..] = &running.vcpu.context.x;
        // Whether an entry point is memory is checked with the VM's lock held, in `cpu_on`.
        let action = guest_call::decide(immediate, [x0, x1, x2, x3], caller, |_| true);
        let returns = |running: &mut Running<M>, values: [u64; 4]| {
            if let Some(x) = running.vcpu.context.x.first_chunk_mut() {
                *x = values;
            }
            Next::Resume
        };
        match action {
            Action::Return(values) => returns(running, values),
            Action::NotSupported => {
                running.vcpu.context.x[0] = NOT_SUPPORTED;
                Next::Resume
            }
            Action::Random { bits, wide } => {
                let values = trng::answer(bits, wide, || self.machine.random());
                returns(running, values)
            }
            Action::Suspend => {
                running.vcpu.context.x[0] = psci::SUCCESS;
                running.exit_plain(exit::WAIT)
            }
            Action::CpuOn {
                target,
                entry,
                context,
            } => self.cpu_on(order, running, target, entry, context),
            Action::AffinityInfo(target) => {
                let power = self.vm_of(order, running, |vm, _| vm.power(u64::from(target.0)));
                running.vcpu.context.x[0] = match power {
                    Some(Power::On) => 0,
                    Some(Power::Off) => 1,
                    Some(Power::Pending { .. }) => 2,
                    None => psci::INVALID_PARAMETERS,
                };
                Next::Resume
            }
            Action::CpuOff => {
                self.vm_of(order, running, |vm, index| {
                    if let Some((_, power)) = vm.slot_mut(index) {
                        *power = Power::Off;
                    }
                });
                running.exit_plain(exit::CPU_OFF)
            }
            Action::SystemOff => self.end_system(order, running, exit::SYSTEM_OFF),
            Action::SystemReset => self.end_system(order, running, exit::SYSTEM_RESET),
            Action::Share(ipa) => {
                let done = self.change_share(order, running, ipa, true);
                self.settle(running, done)
            }
            Action::Unshare(ipa) => {
                let done = self.change_share(order, running, ipa, false);
                self.settle(running, done)
            }
            Action::Relinquish(ipa) => {
                let done = self.relinquish(order, running, ipa);
                self.settle(running, done)
            }
            Action::MmioGuard(ipa) => {
                let done = self.vm_of(order, running, |vm, _| self.guard(vm, ipa));
                self.settle(running, done)
            }
            Action::ToHost => running.call(esr, Pending::CallResult),
        }
    }

    /// Runs `f` on the VM of a running vCPU and the vCPU's number in it.
    fn vm_of<R>(
        &self,
        order: &mut Order<'_, level::Top>,
        running: &Running<M>,
        f: impl FnOnce(&mut Vm<M>, u64) -> R,
    ) -> R {
        let number = u64::from(running.vm.0);
        match self.with_vm(order, number, |vm, _| Ok(f(vm, running.index))) {
            Ok(result) => result,
            Err(_) => unreachable!("the VM of a running vCPU is gone"),
        }
    }

    /// PSCI CPU_ON (DEN0022 5.6): Ward keeps the entry point, the host only learns whom to run.
    fn cpu_on(
        &self,
        order: &mut Order<'_, level::Top>,
        running: &mut Running<M>,
        target: VcpuId,
        entry: u64,
        context: u64,
    ) -> Next {
        let target = u64::from(target.0);
        let result = self.vm_of(order, running, |vm, _| {
            let is_ram = Ipa::containing(entry);
            if !vm.is_signed_ram(is_ram, PAGE_SIZE) {
                return psci::INVALID_ADDRESS;
            }
            match vm.power(target) {
                None => psci::INVALID_PARAMETERS,
                Some(Power::On) => psci::ALREADY_ON,
                Some(Power::Pending { .. }) => psci::ON_PENDING,
                Some(Power::Off) => {
                    if let Some((_, power)) = vm.slot_mut(target) {
                        *power = Power::Pending { entry, context };
                    }
                    psci::SUCCESS
                }
            }
        });
        running.vcpu.context.x[0] = result;
        if result != psci::SUCCESS {
            return Next::Resume;
        }
        let out = Exit {
            reason: exit::CPU_ON,
            arg1: target,
            ..Exit::default()
        };
        running.exit(out, Pending::Nothing)
    }

    fn end_system(
        &self,
        order: &mut Order<'_, level::Top>,
        running: &mut Running<M>,
        reason: u64,
    ) -> Next {
        self.vm_of(order, running, |vm, _| vm.state = State::PowerOff);
        running.exit_plain(reason)
    }

    /// MEM_SHARE and MEM_UNSHARE: the record of one frame changes, the guest's map does not.
    fn change_share(
        &self,
        order: &mut Order<'_, level::Top>,
        running: &Running<M>,
        ipa: Ipa,
        share: bool,
    ) -> Done {
        let number = u64::from(running.vm.0);
        let done = self.with_vm(order, number, |vm, order| {
            if !vm.is_signed_ram(ipa, PAGE_SIZE) {
                return Ok(Done::Refused);
            }
            let frame = match vm.stage2.frame_of(&self.machine, ipa) {
                Some(frame) => frame,
                None if share => return Ok(Done::Missing(ipa)),
                None => return Ok(Done::Refused),
            };
            let (mut memory, _) = self.memory.lock(order);
            match memory.owned_by(frame, vm.id) {
                Some((_, shared)) if shared != share => {}
                _ => return Ok(Done::Refused),
            }
            if share {
                memory.share(&self.machine, frame, vm.id);
                vm.stats.shared += 1;
            } else {
                // A device may reach it for ever: it stays shared, and the guest hears that.
                if memory.unshare(&self.machine, frame, vm.id).is_err() {
                    return Ok(Done::Refused);
                }
                vm.stats.shared -= 1;
            }
            Ok(Done::Yes)
        });
        done.unwrap_or(Done::Refused)
    }

    /// MEM_RELINQUISH: a page of the guest's own, that it does not share, becomes the host's,
    /// zeroed. One that is not there is the host's already.
    fn relinquish(
        &self,
        order: &mut Order<'_, level::Top>,
        running: &Running<M>,
        ipa: Ipa,
    ) -> Done {
        let number = u64::from(running.vm.0);
        let done = self.with_vm(order, number, |vm, order| {
            if !vm.is_signed_ram(ipa, PAGE_SIZE) {
                return Ok(Done::Refused);
            }
            let pool = vm.pool.len();
            let frame = match vm.stage2.can_unmap(&self.machine, pool, ipa, Size::Page) {
                Ok(leaf) => leaf.frame,
                Err(UnmapError::NoTables(_)) => return Ok(Done::Pool),
                Err(_) => return Ok(Done::Yes),
            };
            match self.memory.lock(order).0.owned_by(frame, vm.id) {
                Some((_, false)) => {}
                _ => return Ok(Done::Refused),
            }
            self.reclaim(order, vm, ipa, Size::Page);
            Ok(Done::Given(ipa))
        });
        done.unwrap_or(Done::Refused)
    }

    /// MMIO_GUARD: the guest says that a page outside its memory is emulated device memory.
    fn guard(&self, vm: &mut Vm<M>, ipa: Ipa) -> Done {
        if vm.is_signed_ram(ipa, PAGE_SIZE) {
            return Done::Refused;
        }
        match vm
            .stage2
            .can_note(&self.machine, vm.pool.len(), ipa, GUARDED)
        {
            Ok(()) => {
                vm.stage2
                    .set_note(&self.machine, &mut vm.pool, ipa, GUARDED);
                Done::Yes
            }
            // A device the host mapped there is device memory too.
            Err(MapError::Occupied) => Done::Yes,
            Err(MapError::NoTables(_)) => Done::Pool,
            Err(MapError::OutOfRange | MapError::Misaligned) => Done::Refused,
        }
    }

    fn settle(&self, running: &mut Running<M>, done: Done) -> Next {
        let context = &mut running.vcpu.context;
        let again = match done {
            Done::Yes => {
                context.x[0] = psci::SUCCESS;
                return Next::Resume;
            }
            Done::Given(ipa) => {
                context.x[0] = psci::SUCCESS;
                let out = Exit {
                    reason: exit::RELINQUISH,
                    ipa: ipa.as_u64(),
                    ..Exit::default()
                };
                return running.exit(out, Pending::Nothing);
            }
            Done::Refused => {
                context.x[0] = KVM_INVALID;
                return Next::Resume;
            }
            Done::Missing(ipa) => Exit {
                reason: exit::MEMORY,
                ipa: ipa.as_u64(),
                write: 1,
                ..Exit::default()
            },
            Done::Pool => Exit {
                reason: exit::POOL,
                ..Exit::default()
            },
        };
        // HVC left PC past itself (DDI 0487 D1.3.2); it is made again.
        context.pc = context.pc.wrapping_sub(4);
        running.exit(again, Pending::Nothing)
    }
}
