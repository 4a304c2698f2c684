//! Running a vCPU: in, out, and everything a trap can mean in between.
//!
//! A run moves the vCPU out of its VM's record, so that its registers belong to this CPU alone;
//! what the host gets to see leaves through [`exit::filter`](crate::vcpu::exit::filter) and
//! nothing else (I8). The run page is read once, before anything changed, and written before the
//! vCPU is back in its record: until then it is pinned.

mod abort;
mod call;
mod entry;
mod sync;

use crate::abi::Error;
use crate::abi::run::{Exit, exit};
use crate::addr::{VcpuId, VmId};
use crate::lock::{Order, level};
use crate::machine::{Machine, RunParams, Trap};
use crate::vcpu::context::Context;
use crate::vcpu::encoding::Encoding;
use crate::vcpu::inject::{self, Kind};
use crate::vcpu::pending::Pending;
use crate::vcpu::sysreg::{self, Action};
use crate::vcpu::trap::{self, Event};
use crate::vm::Frames;
use crate::ward::Ward;

/// A vCPU at rest.
#[derive(Debug)]
pub struct Vcpu {
    /// Its registers.
    pub context: Context,
    /// What its last exit left to be settled.
    pub pending: Pending,
}

impl Vcpu {
    /// A vCPU that nobody has started: a protected one gets its first instruction from the
    /// manifest or from a CPU_ON, a normal one from the host.
    pub fn new() -> Self {
        Vcpu {
            context: Context::reset(0, 0),
            pending: Pending::Nothing,
        }
    }
}

impl Default for Vcpu {
    fn default() -> Self {
        Self::new()
    }
}

/// A vCPU out of its record.
struct Running<'a, M: Machine> {
    vcpu: M::Placed<Vcpu>,
    vm: VmId,
    index: u64,
    frames: Frames,
    params: RunParams,
    /// Traps answered without the host, to be added to the VM's counter.
    answered: u64,
    /// The host answers ID registers.
    host_ids: bool,
    /// The host wants little of the window at exits that are not about registers.
    lazy: bool,
    /// `HCR_EL2.VSE` while the guest has not taken the SError that the host asked for.
    vse: u64,
    /// What the exit will say, before it is filtered.
    out: &'a mut Option<Exit>,
}

/// What a call for a run comes to.
enum Begun<'a, M: Machine> {
    /// Nothing runs, for this reason; the run page says so.
    Off(u64),
    /// The vCPU, out of its record.
    On(Running<'a, M>),
}

/// What to do after a trap.
enum Next {
    /// Back into the guest.
    Resume,
    /// To the host with [`Running::out`].
    Exit,
}

impl<M: Machine> Running<'_, M> {
    /// To the host with `out`; `pending` is left to settle at the next entry.
    fn exit(&mut self, out: Exit, pending: Pending) -> Next {
        *self.out = Some(out);
        self.vcpu.pending = pending;
        Next::Exit
    }

    /// To a normal VM's host with the guest's call.
    fn call(&mut self, esr: u64, pending: Pending) -> Next {
        let &[value, arg1, arg2, arg3, ..] = &self.vcpu.context.x;
        let out = Exit {
            reason: exit::CALL,
            value,
            arg1,
            arg2,
            arg3,
            esr,
            ..Exit::default()
        };
        self.exit(out, pending)
    }

    /// To the host with nothing but a reason.
    fn exit_plain(&mut self, reason: u64) -> Next {
        *self.out = Some(Exit {
            reason,
            ..Exit::default()
        });
        self.vcpu.pending = Pending::Nothing;
        Next::Exit
    }
}

impl<M: Machine> Ward<M> {
    /// [`Call::VcpuRun`](crate::abi::Call::VcpuRun).
    #[inline(never)]
    pub(crate) fn vcpu_run(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        vcpu: u64,
    ) -> Result<u64, Error> {
        let mut out = None;
        match self.begin_run(order, vm, vcpu, &mut out)? {
            Begun::Off(reason) => Ok(reason),
            Begun::On(mut running) => {
                self.run_loaded(order, &mut running);
                Ok(self.end_run(order, running))
            }
        }
    }

    #[inline]
    fn run_loaded(&self, order: &mut Order<'_, level::Top>, running: &mut Running<M>) {
        let params = running.params;
        self.machine.load_vcpu(&mut running.vcpu.context, &params);
        loop {
            let trap = self.machine.enter_guest(&mut running.vcpu.context);
            match self.answer(order, running, trap) {
                Next::Resume => running.answered += 1,
                Next::Exit => break,
            }
        }
        if running.vse != 0 && !self.machine.serror_pending() {
            running.vse = 0;
        }
        self.machine.unload_vcpu(&mut running.vcpu.context, &params);
    }

    fn answer(
        &self,
        order: &mut Order<'_, level::Top>,
        running: &mut Running<M>,
        trap: Trap,
    ) -> Next {
        let (esr, far, hpfar) = match trap {
            Trap::Irq => return running.exit_plain(exit::IRQ),
            Trap::SError => return running.exit_plain(exit::SERROR),
            Trap::Sync { esr, far, hpfar } => (esr, far, hpfar),
        };
        match trap::classify(esr, far, hpfar) {
            Event::Call { immediate } => self.guest_call(order, running, immediate, esr),
            Event::Memory(abort) => self.guest_abort(order, running, abort, esr),
            Event::Hardware(abort) => self.guest_hardware_error(running, abort, esr),
            Event::Wait { is_long, event } => {
                running.vcpu.context.skip(is_long);
                let out = Exit {
                    reason: exit::WAIT,
                    size: event.into(),
                    ..Exit::default()
                };
                running.exit(out, Pending::Nothing)
            }
            Event::Smc if running.params.protected => {
                let context = &mut running.vcpu.context;
                context.x[0] = crate::abi::smccc::NOT_SUPPORTED;
                context.skip(true);
                Next::Resume
            }
            // Done and stepped over with the host's x0, or UNDEF: as a register read is answered.
            Event::Smc => running.call(esr, Pending::sysreg(0, false)),
            Event::Sysreg(access) => self.guest_sysreg(order, running, access, esr),
            Event::Inject(kind) => self.inject(running, kind),
        }
    }

    /// The guest takes an exception, at the instruction it is at.
    #[cold]
    #[inline(never)]
    fn inject(&self, running: &mut Running<M>, kind: Kind) -> Next {
        inject::deliver(
            &mut running.vcpu.context,
            kind,
            |context, reg| self.machine.guest_sysreg(context, reg),
            |context, reg, value| self.machine.set_guest_sysreg(context, reg, value),
        );
        Next::Resume
    }

    #[inline(never)]
    fn guest_sysreg(
        &self,
        order: &mut Order<'_, level::Top>,
        running: &mut Running<M>,
        access: crate::vcpu::esr::SysAccess,
        esr: u64,
    ) -> Next {
        let context = &mut running.vcpu.context;
        let action = match sysreg::decide(access) {
            Action::ReadId { .. } if running.host_ids => Action::Host,
            action => action,
        };
        match action {
            Action::Undefined => {
                self.log_once(order, running.vm, access.reg);
                return self.inject(running, Kind::Undefined);
            }
            Action::Host => {
                let out = Exit {
                    reason: exit::SYSREG,
                    write: u64::from(access.write),
                    value: if access.write {
                        context.gpr(access.rt)
                    } else {
                        0
                    },
                    esr,
                    ..Exit::default()
                };
                return running.exit(out, Pending::sysreg(access.rt, access.write));
            }
            Action::Read(value) => context.set_gpr(access.rt, value),
            Action::ReadId { crm, op2 } => {
                let value = self.id_register(crm, op2);
                context.set_gpr(access.rt, value);
            }
            Action::ReadOwn(reg, mask) => {
                let value = self.machine.guest_sysreg(context, reg) & mask;
                context.set_gpr(access.rt, value);
            }
            Action::WriteOwn(reg, mask) => {
                let value = context.gpr(access.rt) & mask;
                self.machine.set_guest_sysreg(context, reg, value);
            }
            Action::Ignore => {}
        }
        context.skip(true);
        Next::Resume
    }

    /// Says once per register that a guest used one it does not have.
    #[cold]
    #[inline(never)]
    fn log_once(&self, order: &mut Order<'_, level::Top>, vm: VmId, reg: Encoding) {
        if self.unknown.first_time(reg) {
            let name = sysreg::describe(reg);
            self.log_below(
                order,
                format_args!("vm {}: UNDEF for its use of {name}", vm.0),
            );
        }
    }

    /// The number of a vCPU as the guest sees it.
    fn mpidr(index: u64) -> u64 {
        VcpuId(index as u8).mpidr()
    }
}
