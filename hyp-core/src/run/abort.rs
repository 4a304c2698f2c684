//! A guest touched what its stage 2 does not map, or not so.

use super::{Next, Running};
use crate::abi::run::{Exit, exit};
use crate::addr::PAGE_SIZE;
use crate::lock::{Order, level};
use crate::machine::Machine;
use crate::stage2::{Lookup, Note};
use crate::vcpu::context::SysReg;
use crate::vcpu::esr::Fault;
use crate::vcpu::pending::Pending;
use crate::vcpu::trap::Abort;
use crate::ward::Ward;

/// Marks a page that a guest declared to be emulated device memory (MMIO_GUARD).
pub(super) const GUARDED: Note = Note(1);

/// What lies at the address.
enum Place {
    /// It is mapped after all, or is now: the access is done again.
    Ready,
    /// The guest's memory, that the host has to provide or make writable.
    Memory,
    /// Emulated device memory.
    Device,
    /// For a normal VM, one or the other: its host knows.
    Either,
    /// Nothing.
    Nowhere,
}

impl<M: Machine> Ward<M> {
    #[inline(never)]
    pub(super) fn guest_abort(
        &self,
        order: &mut Order<'_, level::Top>,
        running: &mut Running<M>,
        abort: Abort,
        esr: u64,
    ) -> Next {
        let place = self.place_of(order, running, &abort);
        let refusal = abort.refusal();
        let context = &running.vcpu.context;
        let sctlr = self.machine.guest_sysreg(context, SysReg::SctlrEl1);
        let access = abort.device_access(context.pstate, sctlr);
        match (place, access) {
            (Place::Ready, _) => Next::Resume,
            (Place::Memory, _) | (Place::Either, None) => {
                let out = Exit {
                    reason: exit::MEMORY,
                    ipa: abort.page().as_u64(),
                    write: u64::from(abort.is_write()),
                    arg1: abort.far(),
                    esr,
                    ..Exit::default()
                };
                running.exit(out, Pending::Fault { refusal })
            }
            (Place::Device | Place::Either, Some(access)) => {
                let out = Exit {
                    arg1: abort.far(),
                    esr,
                    ..access.exit(context.gpr(access.rt))
                };
                running.exit(out, Pending::mmio(access, refusal))
            }
            (Place::Device, None) | (Place::Nowhere, _) => self.inject(running, refusal),
        }
    }

    /// The memory system answered the guest's access with an error: a normal VM's host knows what
    /// to do about it (`HPFAR_EL2` holds nothing, so there is no `ipa`); a protected guest takes
    /// the abort.
    #[cold]
    #[inline(never)]
    pub(super) fn guest_hardware_error(
        &self,
        running: &mut Running<M>,
        abort: Abort,
        esr: u64,
    ) -> Next {
        let refusal = abort.refusal();
        if running.params.protected {
            return self.inject(running, refusal);
        }
        let out = Exit {
            reason: exit::MEMORY,
            write: u64::from(abort.is_write()),
            arg1: abort.far(),
            esr,
            ..Exit::default()
        };
        running.exit(out, Pending::Fault { refusal })
    }

    fn place_of(
        &self,
        order: &mut Order<'_, level::Top>,
        running: &Running<M>,
        abort: &Abort,
    ) -> Place {
        let page = abort.page();
        let place = self.with_vm(order, u64::from(running.vm.0), |vm, _| {
            let note = match vm.stage2.lookup(&self.machine, page) {
                Lookup::Leaf { .. } => {
                    return Ok(match abort.fault() {
                        // Another CPU mapped it, or was splitting the block around it.
                        Fault::Translation(_) => Place::Ready,
                        Fault::AccessFlag(_) => {
                            vm.stage2.set_accessed(&self.machine, page);
                            Place::Ready
                        }
                        // A normal VM's write-protected page; in a protected VM only device
                        // memory lacks a permission.
                        Fault::Permission(_) if !vm.protected => Place::Memory,
                        _ => Place::Nowhere,
                    });
                }
                Lookup::Invalid { note, .. } => note,
            };
            Ok(if !vm.protected {
                Place::Either
            } else if vm.is_signed_ram(page, PAGE_SIZE) {
                Place::Memory
            } else if note == GUARDED || vm.is_signed_mmio(page.as_u64(), PAGE_SIZE) {
                Place::Device
            } else {
                Place::Nowhere
            })
        });
        match place {
            Ok(place) => place,
            Err(_) => unreachable!("the VM of a running vCPU is gone"),
        }
    }
}
