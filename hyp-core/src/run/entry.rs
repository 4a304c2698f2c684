//! The two ends of a run: out of the record and back.

use super::{Running, Vcpu};
use crate::abi::Error;
use crate::abi::run::{IN_OFFSET, OUT_OFFSET, REGS_OFFSET, RunIn, RunOut, exit, in_flags};
use crate::lock::{Order, level};
use crate::machine::{Machine, RunParams};
use crate::vcpu::context::{Context, WINDOW_WORDS};
use crate::vcpu::pending::{self, Pending};
use crate::vcpu::{HCR_REQUEST, exit as disclosure, gic};
use crate::vm::{Power, Slot, State};
use crate::ward::Ward;

impl<M: Machine> Ward<M> {
    /// Looks at everything, then takes the vCPU out and settles what its last exit left. `None`
    /// when the vCPU is off: nothing changed but the run page, which says so.
    pub(super) fn begin_run(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        index: u64,
    ) -> Result<Option<Running<M>>, Error> {
        self.with_vm(order, vm, |vm, _| {
            vm.require(&[if vm.protected {
                State::Verified
            } else {
                State::Ready
            }])?;
            let frames = match vm.slot(index) {
                None | Some(Slot::Empty) => return Err(Error::NotFound),
                Some(Slot::Active(_)) => return Err(Error::Busy),
                Some(Slot::Ready(_, frames)) => *frames,
            };
            // The page is the host's and can change at any moment: this copy is what counts. It
            // is pinned for as long as the slot is not empty, and we hold the VM's lock.
            let mut words = [0; RunIn::WORDS];
            self.machine
                .read_host_words(frames.run, IN_OFFSET, &mut words);
            let request = RunIn::from_words(&words);
            if request.flags & !in_flags::ALL != 0 {
                return Err(Error::InvalidArgument);
            }
            let params = RunParams {
                stage2: vm.stage2.root(),
                protected: vm.protected,
                hcr: request.hcr & HCR_REQUEST,
                cntvoff: vm.cntvoff,
                mpidr: Self::mpidr(index),
            };
            let (id, protected) = (vm.id, vm.protected);
            let Some((slot, power)) = vm.slot_mut(index) else {
                return Err(Error::NotFound);
            };
            if *power == Power::Off {
                let out = RunOut {
                    reason: exit::CPU_OFF,
                    gic: request.gic,
                    ..RunOut::default()
                };
                self.write_exit(frames.run, out, protected);
                return Ok(None);
            }
            let Slot::Ready(mut vcpu, frames) = core::mem::replace(slot, Slot::Active(frames))
            else {
                unreachable!("the slot was Ready under this lock")
            };
            if let Power::Pending { entry, context } = *power {
                *vcpu = Vcpu {
                    context: Context::reset(entry, context),
                    pending: Pending::Nothing,
                };
                *power = Power::On;
            }
            if !protected && request.flags & in_flags::REGS_DIRTY != 0 {
                let mut window = [0; WINDOW_WORDS];
                self.machine
                    .read_host_words(frames.run, REGS_OFFSET, &mut window);
                vcpu.context.set_window(&window);
                vcpu.pending = Pending::Nothing;
            } else if !protected && request.flags & in_flags::RETRY != 0 {
                vcpu.pending = Pending::Nothing;
            }
            let left = core::mem::take(&mut vcpu.pending);
            pending::complete(&mut vcpu.context, left, request.value, request.flags);
            vcpu.context.gic = gic::sanitise(
                &request.gic,
                &vcpu.context.gic,
                protected,
                self.config.list_registers,
            );
            Ok(Some(Running {
                vcpu,
                vm: id,
                index,
                frames,
                params,
                answered: 0,
                out: RunOut::default(),
            }))
        })
    }

    /// Shows the host what it may see, then puts the vCPU back.
    pub(super) fn end_run(&self, order: &mut Order<'_, level::Top>, running: Running<M>) -> u64 {
        let Running {
            vcpu,
            vm,
            index,
            frames,
            params,
            answered,
            out,
        } = running;
        let out = RunOut {
            gic: vcpu.context.gic,
            ..out
        };
        if !params.protected {
            self.machine
                .write_host_words(frames.run, REGS_OFFSET, &vcpu.context.window());
        }
        self.write_exit(frames.run, out, params.protected);
        let put_back = self.with_vm(order, u64::from(vm.0), |vm, _| {
            vm.stats.exits += 1;
            vm.stats.answered += answered;
            match vm.slot_mut(index) {
                Some((slot @ Slot::Active(_), _)) => *slot = Slot::Ready(vcpu, frames),
                _ => unreachable!("vCPU {index} of {vm:?} was running", vm = vm.id),
            }
            Ok(())
        });
        assert!(put_back.is_ok(), "a VM cannot go while a vCPU runs");
        out.reason
    }

    fn write_exit(&self, page: crate::addr::Pfn, out: RunOut, protected: bool) {
        let shown = disclosure::filter(out, protected);
        self.machine
            .write_host_words(page, OUT_OFFSET, &shown.to_words());
    }
}
