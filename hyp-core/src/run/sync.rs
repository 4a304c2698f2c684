//! The registers of a normal VM's vCPU in its run page.

use crate::abi::Error;
use crate::abi::run::{FP_OFFSET, FP_WORDS, REGS_OFFSET, exit, sync};
use crate::addr::Pfn;
use crate::lock::{Order, level};
use crate::machine::Machine;
use crate::vcpu::context::{Context, SysReg};
use crate::vcpu::window;
use crate::vm::{Slot, State};
use crate::ward::Ward;

const ALL: u64 = sync::SHOW_REGS | sync::SHOW_FP | sync::TAKE_FP;
const BOTH_WAYS: u64 = sync::SHOW_FP | sync::TAKE_FP;

/// Where a word of the window stands.
const fn at(word: usize) -> u64 {
    REGS_OFFSET + 8 * word as u64
}

impl<M: Machine> Ward<M> {
    /// [`Call::VcpuSync`](crate::abi::Call::VcpuSync).
    pub(crate) fn vcpu_sync(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        vcpu: u64,
        what: u64,
    ) -> Result<(), Error> {
        if what == 0 || what & !ALL != 0 || what & BOTH_WAYS == BOTH_WAYS {
            return Err(Error::InvalidArgument);
        }
        self.with_vm(order, vm, |vm, _| {
            if !cfg!(ward_without = "registers-out") {
                vm.require_normal()?;
                vm.require(&[State::Ready, State::PowerOff])?;
            }
            let (vcpu, page) = match vm.slot_mut(vcpu) {
                None | Some((Slot::Empty, _)) => return Err(Error::NotFound),
                Some((Slot::Active(_), _)) => return Err(Error::Busy),
                Some((Slot::Ready(vcpu, frames), _)) => (vcpu, frames.run),
            };
            if what & sync::SHOW_REGS != 0 {
                self.show_window(page, &vcpu.context);
            }
            let mut fp = [0; FP_WORDS];
            if what & sync::SHOW_FP != 0 {
                vcpu.context.fp.to_words(&mut fp);
                self.machine.write_host_words(page, FP_OFFSET, &fp);
            }
            if what & sync::TAKE_FP != 0 {
                self.machine.read_host_words(page, FP_OFFSET, &mut fp);
                vcpu.context.fp.set_words(&fp);
            }
            Ok(())
        })
    }

    /// What a normal VM's host finds in the window after an exit.
    pub(super) fn show_exit(&self, page: Pfn, context: &Context, reason: u64, lazy: bool) {
        if !lazy || !matches!(reason, exit::IRQ | exit::WAIT | exit::POOL) {
            self.show_window(page, context);
            return;
        }
        let timer = [context[SysReg::CntvCtl], context[SysReg::CntvCval]];
        self.machine
            .write_host_words(page, at(32), &[context.pc, context.pstate]);
        self.machine
            .write_host_words(page, at(34 + SysReg::CntvCtl as usize), &timer);
    }

    /// The PSTATE that a normal VM's host wants. It is read here and not again.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for one that a vCPU cannot have.
    pub(super) fn read_pstate(&self, page: Pfn) -> Result<u64, Error> {
        let mut word = [0];
        self.machine.read_host_words(page, at(33), &mut word);
        window::pstate(word[0])
    }

    /// The registers become what the window says, all but PSTATE.
    pub(super) fn take_window(&self, page: Pfn, context: &mut Context) {
        let mut head = [0; 2];
        self.machine.read_host_words(page, at(0), &mut context.x);
        self.machine.read_host_words(page, at(31), &mut head);
        self.machine.read_host_words(page, at(34), &mut context.sys);
        [context.sp_el0, context.pc] = head;
    }

    fn show_window(&self, page: Pfn, context: &Context) {
        let head = [context.sp_el0, context.pc, context.pstate];
        self.machine.write_host_words(page, at(0), &context.x);
        self.machine.write_host_words(page, at(31), &head);
        self.machine.write_host_words(page, at(34), &context.sys);
    }
}
