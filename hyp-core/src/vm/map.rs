//! Calls that map memory into a VM at fault time, and device memory before it starts.

use super::build::host_range;
use super::{GUEST_RAM, State, Vm};
use crate::abi::{Error, IO_READ_ONLY, IO_WRITE_COMBINING};
use crate::addr::{Ipa, PAGE_SIZE, Pfn, Size};
use crate::lock::{Order, level};
use crate::machine::Machine;
use crate::memory::{For, Owner, Range};
use crate::stage2::{Attrs, MapError, MemoryKind};
use crate::ward::Ward;

/// Permission bits of [`Call::VmMap`](crate::abi::Call::VmMap).
pub(crate) const PROT_WRITE: u64 = 1;
pub(crate) const PROT_EXECUTE: u64 = 2;
pub(crate) const PROT_ALL: u64 = PROT_WRITE | PROT_EXECUTE;

/// A leaf that a host asked for: addresses aligned to its size.
#[derive(Clone, Copy)]
pub(crate) struct LeafRequest {
    pub(crate) ipa: Ipa,
    pub(crate) size: Size,
}

impl LeafRequest {
    /// # Errors
    /// [`Error::InvalidArgument`] for an unknown order, [`Error::BadAddress`] for a misaligned
    /// address.
    pub(crate) fn new(ipa: u64, order: u64) -> Result<Self, Error> {
        let size = Size::from_order(order)?;
        let ipa = Ipa::page(ipa)?;
        if !ipa.is_aligned(size) {
            return Err(Error::BadAddress);
        }
        Ok(LeafRequest { ipa, size })
    }

    /// The frames a host wants there.
    ///
    /// # Errors
    /// [`Error::BadAddress`] when they are not aligned to the leaf (kcore item 8: hardware
    /// ignores the low bits of a block's address, so what is checked would not be what is mapped).
    pub(crate) fn frames(self, pa: u64) -> Result<Range, Error> {
        let first = Pfn::from_host_pa(pa)?;
        if !first.0.is_multiple_of(self.size.frames()) {
            return Err(Error::BadAddress);
        }
        Ok(Range {
            first,
            frames: self.size.frames(),
        })
    }
}

/// The error a host sees when a table has no place for a leaf.
pub(crate) fn map_error(error: MapError) -> Error {
    match error {
        MapError::Misaligned | MapError::OutOfRange => Error::BadAddress,
        MapError::Occupied => Error::Exists,
        MapError::NoTables(_) => Error::NoMemory,
    }
}

impl<M: Machine> Ward<M> {
    /// [`Call::VmMap`](crate::abi::Call::VmMap).
    pub(crate) fn vm_map(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        ipa: u64,
        pa: u64,
        leaf_order: u64,
        prot: u64,
    ) -> Result<u64, Error> {
        if prot & !PROT_ALL != 0 {
            return Err(Error::InvalidArgument);
        }
        let leaf = LeafRequest::new(ipa, leaf_order)?;
        let frames = leaf.frames(pa)?;
        self.with_vm(order, vm, |vm, order| {
            if vm.protected {
                if prot != PROT_ALL {
                    return Err(Error::InvalidArgument);
                }
                vm.require(&[State::Verified])?;
                if !vm.is_signed_ram(leaf.ipa, leaf.size.bytes()) {
                    return Err(Error::BadAddress);
                }
                self.donate_leaf(order, vm, leaf, frames, |machine, frame| {
                    machine.zero_frame(frame)
                })?;
            } else {
                vm.require(&[State::Ready])?;
                self.lend_leaf(order, vm, leaf, frames, prot)?;
            }
            Ok(vm.pool.len())
        })
    }

    /// Moves frames from the host into a protected VM: out of the host's map, then `prepared`
    /// with only the VM's lock held, then in the VM's. Checks all, then commits (I9).
    pub(crate) fn donate_leaf(
        &self,
        order: &mut Order<'_, level::Vm>,
        vm: &mut Vm<M>,
        leaf: LeafRequest,
        frames: Range,
        prepare: fn(&M, Pfn),
    ) -> Result<(), Error> {
        let id = vm.id;
        {
            let (mut memory, _) = self.memory.lock(order);
            memory.check_take(frames)?;
            vm.check_map(&self.machine, leaf, frames.first)?;
            memory.check_tables(For::Vm)?;
            memory.take(&self.machine, &[(frames, Owner::Vm(id, leaf.ipa))])?;
        }
        for n in 0..frames.frames {
            prepare(&self.machine, frames.first.add(n));
        }
        vm.map_checked(&self.machine, leaf, frames.first, GUEST_RAM);
        Ok(())
    }

    /// Lends frames to a normal VM: the host keeps them mapped.
    fn lend_leaf(
        &self,
        order: &mut Order<'_, level::Vm>,
        vm: &mut Vm<M>,
        leaf: LeafRequest,
        frames: Range,
        prot: u64,
    ) -> Result<(), Error> {
        let attrs = Attrs {
            kind: MemoryKind::Normal,
            write: prot & PROT_WRITE != 0 || cfg!(ward_without = "write-protection"),
            execute: prot & PROT_EXECUTE != 0,
        };
        let (mut memory, _) = self.memory.lock(order);
        memory.check_lend(frames)?;
        vm.check_map(&self.machine, leaf, frames.first)?;
        memory.lend(frames);
        vm.map_checked(&self.machine, leaf, frames.first, attrs);
        Ok(())
    }

    /// [`Call::VmMapIo`](crate::abi::Call::VmMapIo).
    pub(crate) fn vm_map_io(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        ipa: u64,
        pa: u64,
        frames: u64,
        flags: u64,
    ) -> Result<(), Error> {
        if flags & !(IO_WRITE_COMBINING | IO_READ_ONLY) != 0 {
            return Err(Error::InvalidArgument);
        }
        let range = host_range(pa, frames)?;
        Ipa::page(ipa)?;
        let attrs = Attrs {
            kind: if flags & IO_WRITE_COMBINING == 0 {
                MemoryKind::Device
            } else {
                MemoryKind::WriteCombining
            },
            write: flags & IO_READ_ONLY == 0,
            execute: false,
        };
        let bytes = frames * PAGE_SIZE;
        self.with_vm(order, vm, |vm, order| {
            if flags != 0 {
                vm.require_normal()?;
            }
            vm.require(&[State::Ready])?;
            if vm.protected {
                if vm.boot.is_none() {
                    return Err(Error::BadState);
                }
                if !vm.is_signed_mmio(ipa, bytes) {
                    return Err(Error::BadAddress);
                }
            }
            if !self.memory.lock(order).0.is_free_device(range) {
                return Err(Error::BadAddress);
            }
            // All pages are checked (beyond the IPA space there is no place for any), and tables for all of them reserved, before the first is
            // mapped: up to 512 contiguous pages open at most two tables of each level below the
            // root.
            for n in 0..frames {
                let at = Ipa::containing(ipa + n * PAGE_SIZE);
                let fits =
                    vm.stage2
                        .can_map(&self.machine, u64::MAX, at, range.first.add(n), Size::Page);
                fits.map_err(map_error)?;
            }
            if vm.pool.len() < 2 * u64::from(3 - self.config.geometry.start_level()) {
                return Err(Error::NoMemory);
            }
            for n in 0..frames {
                let leaf = LeafRequest {
                    ipa: Ipa::containing(ipa + n * PAGE_SIZE),
                    size: Size::Page,
                };
                vm.map_checked(&self.machine, leaf, range.first.add(n), attrs);
            }
            Ok(())
        })
    }
}

impl<M: Machine> Vm<M> {
    /// # Errors
    /// Why the VM's table has no place for the leaf.
    pub(crate) fn check_map(
        &self,
        machine: &M,
        leaf: LeafRequest,
        first: Pfn,
    ) -> Result<(), Error> {
        self.stage2
            .can_map(machine, self.pool.len(), leaf.ipa, first, leaf.size)
            .map_err(map_error)
    }

    /// Maps after [`Vm::check_map`].
    pub(crate) fn map_checked(&mut self, machine: &M, leaf: LeafRequest, first: Pfn, attrs: Attrs) {
        self.stage2
            .map(machine, &mut self.pool, leaf.ipa, first, leaf.size, attrs);
        self.stats.mapped += leaf.size.frames();
    }
}
