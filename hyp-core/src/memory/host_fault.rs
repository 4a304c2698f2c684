//! The host touched what its stage 2 does not map.

use super::{FrameState, HOST_DEVICE, HOST_SHARED, Memory, Range};
use crate::abi::Error;
use crate::addr::{BLOCK_FRAMES, Ipa, Pfn, Size};
use crate::machine::Machine;
use crate::stage2::{Attrs, Lookup};

/// A stage-2 abort taken from the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostFault {
    /// The page.
    pub ipa: Ipa,
    /// The translation was there and forbade the access (DDI 0487 D8.15: permission fault).
    pub permission: bool,
}

/// What becomes of the host's access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostFaultAction {
    /// It is mapped now (or was all along, and another CPU was quicker): do it again.
    Retry,
    /// It is not the host's to access: a synchronous external abort at EL1.
    Abort,
}

impl<M: Machine> Memory<M> {
    /// Decides on a host fault: maps what the host may have, refuses the rest (I2).
    pub fn host_fault(&mut self, machine: &M, fault: HostFault) -> HostFaultAction {
        let frame = Pfn(fault.ipa.page_number());
        if matches!(self.host.lookup(machine, fault.ipa), Lookup::Leaf { .. }) {
            return if fault.permission {
                HostFaultAction::Abort
            } else {
                HostFaultAction::Retry
            };
        }
        let mapped = match self.state(frame) {
            Some(FrameState::Host { .. }) => self.map_host_ram(machine, frame, Size::Page),
            Some(state) if state.host_may_map() => {
                self.map_on_demand(machine, frame, Size::Page, HOST_SHARED)
            }
            Some(_) => false,
            None => self.map_device(machine, frame),
        };
        if mapped {
            HostFaultAction::Retry
        } else {
            HostFaultAction::Abort
        }
    }

    /// Maps device memory by 2 MiB where all of the block is that, else by page.
    fn map_device(&mut self, machine: &M, frame: Pfn) -> bool {
        let block = Pfn(frame.0 & !(BLOCK_FRAMES - 1));
        if self.is_free_device(Range {
            first: block,
            frames: BLOCK_FRAMES,
        }) && self.map_on_demand(machine, block, Size::Block2M, HOST_DEVICE)
        {
            return true;
        }
        self.is_free_device(Range {
            first: frame,
            frames: 1,
        }) && self.map_on_demand(machine, frame, Size::Page, HOST_DEVICE)
    }

    fn map_on_demand(&mut self, machine: &M, first: Pfn, size: Size, attrs: Attrs) -> bool {
        let ipa = Ipa::identity(first);
        if self
            .host
            .can_map(machine, self.spare_tables(), ipa, first, size)
            .is_err()
        {
            return false;
        }
        self.host
            .map(machine, &mut self.pool, ipa, first, size, attrs);
        true
    }

    /// Makes a page that a VM owns the host's and its devices' to access too.
    pub fn share(&mut self, machine: &M, frame: Pfn, vm: crate::addr::VmId) {
        match self.owned_by(frame, vm) {
            Some((ipa, false)) => {
                self.set(
                    frame,
                    FrameState::Vm {
                        vm,
                        ipa,
                        shared: true,
                    },
                );
                let frames = 1;
                self.dma_grant(
                    machine,
                    Range {
                        first: frame,
                        frames,
                    },
                );
            }
            other => unreachable!("share of {frame:?}: {other:?}"),
        }
    }

    /// Takes it from the host and its devices again: unmapped and invalidated on return.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], with nothing changed.
    pub fn unshare(&mut self, machine: &M, frame: Pfn, vm: crate::addr::VmId) -> Result<(), Error> {
        match self.owned_by(frame, vm) {
            Some((ipa, true)) => {
                let page = Range {
                    first: frame,
                    frames: 1,
                };
                self.dma_take(machine, core::iter::once(page))?;
                self.unmap_host(machine, frame, Size::Page);
                self.set(
                    frame,
                    FrameState::Vm {
                        vm,
                        ipa,
                        shared: false,
                    },
                );
            }
            other => unreachable!("unshare of {frame:?}: {other:?}"),
        }
        Ok(())
    }
}
