//! The two ends of a run: out of the record and back.

use super::{Begun, Running, Vcpu};
use crate::abi::run::{Exit, Gic, IN_OFFSET, OUT_OFFSET, Request, RunIn, RunOut, exit, in_flags};
use crate::abi::{Error, MAX_LIST_REGISTERS};
use crate::addr::Pfn;
use crate::lock::{Order, level};
use crate::machine::{Machine, RunParams};
use crate::vcpu::context::Context;
use crate::vcpu::pending::{self, Pending};
use crate::vcpu::{HCR_REQUEST, HCR_VSE, exit as disclosure, gic};
use crate::vm::{Power, Slot, State};
use crate::ward::Ward;
use core::mem::offset_of;

impl<M: Machine> Ward<M> {
    /// Looks at everything, then takes the vCPU out and settles what its last exit left. When the
    /// vCPU or its VM is off, nothing changes but the run page, which says so.
    #[inline]
    pub(super) fn begin_run<'a>(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        index: u64,
        out: &'a mut Option<Exit>,
    ) -> Result<Begun<'a, M>, Error> {
        let (mut vm, _) = self.slot(vm)?.lock(order);
        let vm = vm.as_mut().ok_or(Error::NotFound)?;
        let (id, protected, host_ids) = (vm.id, vm.protected, vm.host_ids);
        let runs = if protected {
            State::Verified
        } else {
            State::Ready
        };
        let is_over = vm.state == State::PowerOff;
        if vm.state != runs && !is_over {
            return Err(Error::BadState);
        }
        let (stage2, cntvoff) = (vm.stage2.root(), vm.cntvoff);
        let (slot, power) = vm.slot_mut(index).ok_or(Error::NotFound)?;
        let frames = match slot {
            Slot::Empty => return Err(Error::NotFound),
            Slot::Active(_) => return Err(Error::Busy),
            Slot::Ready(_, frames) => *frames,
        };
        // The page is the host's and can change at any moment: this copy is what counts. It
        // is pinned for as long as the slot is not empty, and we hold the VM's lock.
        let mut words = [0; Request::WORDS];
        self.machine
            .read_host_words(frames.run, IN_OFFSET, &mut words);
        let request = Request::from_words(words);
        if request.flags & !in_flags::ALL != 0 {
            return Err(Error::InvalidArgument);
        }
        let hcr = request.hcr & HCR_REQUEST;
        let vse = hcr & HCR_VSE;
        let params = RunParams {
            stage2,
            protected,
            hcr,
            vsesr: if vse == 0 {
                0
            } else {
                self.read_vsesr(frames.run)
            },
            cntvoff,
            mpidr: Self::mpidr(index),
        };
        if is_over || *power == Power::Off {
            // The others of a VM that ended on one vCPU end in the same way.
            let reason = if is_over {
                exit::SYSTEM_OFF
            } else {
                exit::CPU_OFF
            };
            self.write_off(frames.run, reason, vse);
            return Ok(Begun::Off(reason));
        }
        let own = protected && !cfg!(ward_without = "registers-in");
        let dirty = !own && request.flags & in_flags::REGS_DIRTY != 0;
        let pstate = if dirty {
            Some(self.read_pstate(frames.run)?)
        } else {
            None
        };
        let Slot::Ready(mut vcpu, frames) = core::mem::replace(slot, Slot::Active(frames)) else {
            unreachable!("the slot was Ready under this lock")
        };
        if let Power::Pending { entry, context } = *power {
            *vcpu = Vcpu {
                context: Context::reset(entry, context),
                pending: Pending::Nothing,
            };
            *power = Power::On;
        }
        if let Some(pstate) = pstate {
            self.take_window(frames.run, &mut vcpu.context);
            vcpu.context.pstate = pstate;
            vcpu.pending = Pending::Nothing;
        } else if !protected && request.flags & in_flags::RETRY != 0 {
            vcpu.pending = Pending::Nothing;
        }
        if vcpu.pending != Pending::Nothing {
            let Vcpu { context, pending } = &mut *vcpu;
            pending::complete(context, pending, request.value, request.flags);
            *pending = Pending::Nothing;
        }
        let gic = &mut vcpu.context.gic;
        let hardware = gic::Hardware {
            list_registers: self.list_registers(),
            virtual_timer: self.config.virtual_timer.into(),
        };
        gic::take(gic, protected, hardware, |offset, words| {
            self.read_gic(frames.run, offset, words);
        });
        Ok(Begun::On(Running {
            vcpu,
            vm: id,
            index,
            frames,
            params,
            answered: 0,
            host_ids,
            lazy: request.flags & in_flags::LAZY != 0,
            vse,
            out,
        }))
    }

    /// Shows the host what it may see, then puts the vCPU back.
    #[inline]
    pub(super) fn end_run(&self, order: &mut Order<'_, level::Top>, running: Running<M>) -> u64 {
        let Running {
            vcpu,
            vm,
            index,
            frames,
            params,
            answered,
            lazy,
            vse,
            out,
            ..
        } = running;
        let out = out.as_ref().expect("what ended the run said why");
        if !params.protected || cfg!(ward_without = "registers-out") {
            self.show_exit(frames.run, &vcpu.context, out.reason, lazy);
        }
        self.write_out(frames.run, out, params.protected, &vcpu.context.gic, vse);
        let Ok(slot) = self.slot(u64::from(vm.0)) else {
            unreachable!("the VM of a running vCPU has a number")
        };
        let (mut vm, _) = slot.lock(order);
        let vm = vm.as_mut().expect("a VM cannot go while a vCPU runs");
        vm.stats.exits += 1;
        vm.stats.answered += answered;
        match vm.slot_mut(index) {
            Some((slot @ Slot::Active(_), _)) => *slot = Slot::Ready(vcpu, frames),
            _ => unreachable!("the vCPU that ran is not active"),
        }
        out.reason
    }

    fn list_registers(&self) -> usize {
        MAX_LIST_REGISTERS.min(self.config.list_registers.into())
    }

    /// Words of the host's request, from a byte offset in its [`Gic`].
    fn read_gic(&self, page: Pfn, offset: usize, words: &mut [u64]) {
        let at = IN_OFFSET + (offset_of!(RunIn, gic) + offset) as u64;
        self.machine.read_host_words(page, at, words);
    }

    /// The syndrome of the SError that the host asks for, as far as `VSESR_EL2` has it (DDI 0487
    /// D24.2.212): IDS and ISS.
    #[cold]
    fn read_vsesr(&self, page: Pfn) -> u64 {
        let mut word = [0];
        let at = IN_OFFSET + offset_of!(RunIn, vsesr) as u64;
        self.machine.read_host_words(page, at, &mut word);
        word[0] & ((1 << 25) - 1)
    }

    /// All that the host is told but a normal VM's registers.
    fn write_out(&self, page: Pfn, out: &Exit, protected: bool, gic: &Gic, vse: u64) {
        const GIC: usize = offset_of!(RunOut, gic);
        const LR: u64 = OUT_OFFSET + (GIC + offset_of!(Gic, lr)) as u64;
        const VSE: u64 = OUT_OFFSET + offset_of!(RunOut, hcr) as u64;
        // Up to the list registers, in the order of the page.
        const { assert!(GIC == 8 * 9 && offset_of!(Gic, lr) == 8 * 11) };
        let [reason, ipa, size, write, value, arg1, arg2, arg3, esr] =
            disclosure::filter(out, protected).to_words();
        let ([ap0r0, ap0r1, ap0r2, ap0r3], [ap1r0, ap1r1, ap1r2, ap1r3]) = (gic.ap0r, gic.ap1r);
        let words = [
            reason, ipa, size, write, value, arg1, arg2, arg3, esr, gic.hcr, gic.vmcr, gic.used,
            ap0r0, ap0r1, ap0r2, ap0r3, ap1r0, ap1r1, ap1r2, ap1r3,
        ];
        self.machine.write_host_words(page, OUT_OFFSET, &words);
        let lr = &gic.lr[..self.list_registers()];
        self.machine.write_host_words(page, LR, lr);
        self.machine.write_host_words(page, VSE, &[vse]);
    }

    /// The exit of a vCPU that is off. Its interrupt controller is what the host said it is, and
    /// its SError has not been taken.
    #[cold]
    fn write_off(&self, page: Pfn, reason: u64, vse: u64) {
        let out = Exit {
            reason,
            ..Exit::default()
        };
        let mut words = [0; Gic::WORDS];
        self.read_gic(page, 0, &mut words);
        self.write_out(page, &out, true, &Gic::from_words(&words), vse);
    }
}
