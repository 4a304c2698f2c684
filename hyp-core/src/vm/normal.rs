//! Calls on the memory of normal VMs, which the host manages as in plain KVM.

use super::map::LeafRequest;
use super::{State, Vm};
use crate::abi::Error;
use crate::lock::{Order, level};
use crate::machine::Machine;
use crate::memory::Range;
use crate::stage2::{Attrs, Leaf, MemoryKind, UnmapError};
use crate::ward::Ward;

fn unmap_error(error: UnmapError) -> Error {
    match error {
        UnmapError::Misaligned | UnmapError::OutOfRange => Error::BadAddress,
        UnmapError::NotMapped | UnmapError::Mixed => Error::NotFound,
        UnmapError::NoTables(_) => Error::NoMemory,
    }
}

impl<M: Machine> Vm<M> {
    /// The leaf a host wants changed; device leaves are not the host's to change.
    fn normal_leaf(&self, machine: &M, leaf: LeafRequest) -> Result<Leaf, Error> {
        self.require_normal()?;
        let found = self
            .stage2
            .can_unmap(machine, self.pool.len(), leaf.ipa, leaf.size);
        let found = found.map_err(unmap_error)?;
        if found.attrs.kind == MemoryKind::Device {
            Err(Error::NotFound)
        } else {
            Ok(found)
        }
    }
}

impl<M: Machine> Ward<M> {
    /// [`Call::VmUnmap`](crate::abi::Call::VmUnmap).
    pub(crate) fn vm_unmap(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        ipa: u64,
        leaf_order: u64,
    ) -> Result<(), Error> {
        let leaf = LeafRequest::new(ipa, leaf_order)?;
        self.with_vm(order, vm, |vm, order| {
            vm.require_normal()?;
            vm.require(&[State::Ready, State::PowerOff])?;
            vm.normal_leaf(&self.machine, leaf)?;
            let gone = vm
                .stage2
                .unmap(&self.machine, &mut vm.pool, leaf.ipa, leaf.size);
            vm.stats.mapped -= leaf.size.frames();
            let (mut memory, _) = self.memory.lock(order);
            memory.end_loan(Range {
                first: gone.frame,
                frames: leaf.size.frames(),
            });
            Ok(())
        })
    }

    /// [`Call::VmWriteProtect`](crate::abi::Call::VmWriteProtect).
    pub(crate) fn vm_write_protect(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        ipa: u64,
        leaf_order: u64,
    ) -> Result<(), Error> {
        let leaf = LeafRequest::new(ipa, leaf_order)?;
        self.with_vm(order, vm, |vm, _| {
            vm.require_normal()?;
            vm.require(&[State::Ready])?;
            let attrs = vm.normal_leaf(&self.machine, leaf)?.attrs;
            let attrs = Attrs {
                write: false,
                ..attrs
            };
            vm.stage2
                .protect(&self.machine, &mut vm.pool, leaf.ipa, leaf.size, attrs);
            Ok(())
        })
    }

    /// [`Call::VmAge`](crate::abi::Call::VmAge).
    pub(crate) fn vm_age(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        ipa: u64,
        leaf_order: u64,
    ) -> Result<u64, Error> {
        let leaf = LeafRequest::new(ipa, leaf_order)?;
        self.with_vm(order, vm, |vm, _| {
            vm.require_normal()?;
            vm.require(&[State::Ready])?;
            vm.normal_leaf(&self.machine, leaf)?;
            let young = vm.stage2.take_accessed(&self.machine, leaf.ipa, leaf.size);
            young.map(u64::from).ok_or(Error::NotFound)
        })
    }
}
