//! Calls that end a VM and bring every frame back to the host.

use super::build::host_range;
use super::{Slot, State, Vm};
use crate::abi::{Error, VCPU_RECORD_FRAMES};
use crate::addr::{BLOCK_FRAMES, Ipa, Pfn, Size, VmId};
use crate::lock::{Order, level};
use crate::machine::{Machine, TlbScope};
use crate::memory::Range;
use crate::stage2::{Leaf, Lookup, MemoryKind};
use crate::ward::Ward;

/// Frames one [`Call::VmDestroy`](crate::abi::Call::VmDestroy) returns at most: one 2 MiB leaf.
const DESTROY_FRAMES: u64 = BLOCK_FRAMES;

/// What is left of a VM after a piece of its destruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Destroyed {
    /// Nothing: its number is free.
    All,
    /// More frames.
    Left,
}

impl<M: Machine> Ward<M> {
    /// [`Call::VmPowerOff`](crate::abi::Call::VmPowerOff).
    pub(crate) fn vm_power_off(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
    ) -> Result<(), Error> {
        self.with_vm(order, vm, |vm, _| {
            vm.require(&[State::Ready, State::Verified])?;
            vm.state = State::PowerOff;
            Ok(())
        })
    }

    /// [`Call::VmSetCntvoff`](crate::abi::Call::VmSetCntvoff).
    pub(crate) fn vm_set_cntvoff(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        offset: u64,
    ) -> Result<(), Error> {
        self.with_vm(order, vm, |vm, _| {
            // A protected VM's clock is the machine's, and does not jump once its owner's code runs
            // (I7); a normal VM stays in Ready.
            if offset != 0 {
                vm.require_normal()?;
            }
            vm.require(&[State::Ready])?;
            vm.cntvoff = offset;
            Ok(())
        })
    }

    /// [`Call::VmClearRange`](crate::abi::Call::VmClearRange).
    pub(crate) fn vm_clear_range(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        pa: u64,
        frames: u64,
    ) -> Result<u64, Error> {
        let range = host_range(pa, frames)?;
        self.with_vm(order, vm, |vm, order| {
            vm.require_stopped()?;
            self.memory.lock(order).0.check_ram(range)?;
            if vm.pool.len() < self.splits_for(order, vm, range) {
                return Err(Error::NoMemory);
            }
            let mut done = 0;
            let mut left = range;
            while let Some((at, ipa, leaf)) = self.next_owned(order, vm, left) {
                let whole = Range {
                    first: at,
                    frames: leaf.size.frames(),
                };
                let fits = leaf.frame == at && whole.end() <= range.end();
                let size = if fits { leaf.size } else { Size::Page };
                self.reclaim(order, vm, ipa, size);
                done += size.frames();
                left.first = at.add(size.frames());
                left.frames = range.end().0 - left.first.0;
            }
            Ok(done)
        })
    }

    /// The first frame of `range` that the VM owns, where it maps it, and the leaf that does it.
    ///
    /// One hold of the memory lock for the whole search, a [`host_range`] at most. What it finds
    /// stays true after: a frame comes to a VM, and leaves it, only under the VM's lock.
    fn next_owned(
        &self,
        order: &mut Order<'_, level::Vm>,
        vm: &Vm<M>,
        range: Range,
    ) -> Option<(Pfn, Ipa, Leaf)> {
        let (frame, ipa) = self.memory.lock(order).0.first_owned(range, vm.id)?;
        match vm.stage2.lookup(&self.machine, ipa) {
            Lookup::Leaf { leaf, .. } => Some((frame, ipa, leaf)),
            Lookup::Invalid { .. } => unreachable!("{frame:?} is owned but not mapped at {ipa:?}"),
        }
    }

    /// Table pages that clearing the range takes: one for each block that reaches over an end.
    fn splits_for(&self, order: &mut Order<'_, level::Vm>, vm: &Vm<M>, range: Range) -> u64 {
        let (mut splits, mut cut) = (0, None);
        for first in [range.first, Pfn(range.end().0 - 1)] {
            let end = Range { first, frames: 1 };
            if let Some((_, _, leaf)) = self.next_owned(order, vm, end) {
                let whole = Range {
                    first: leaf.frame,
                    frames: leaf.size.frames(),
                };
                let inside = whole.first >= range.first && whole.end() <= range.end();
                if !inside && cut != Some(whole.first) {
                    splits += 1;
                    cut = Some(whole.first);
                }
            }
        }
        splits
    }

    /// [`Call::VmDestroy`](crate::abi::Call::VmDestroy).
    pub(crate) fn vm_destroy(
        &self,
        order: &mut Order<'_, level::Top>,
        number: u64,
    ) -> Result<Destroyed, Error> {
        let slot = self.slot(number)?;
        let (mut slot, mut order) = slot.lock(order);
        let vm = slot.as_mut().ok_or(Error::NotFound)?;
        vm.require_stopped()?;
        if cfg!(ward_without = "return") {
            return Err(Error::Busy);
        }
        if self.destroy_piece(&mut order, vm) == Destroyed::Left {
            return Ok(Destroyed::Left);
        }
        let Some(placed) = slot.take() else {
            unreachable!("the slot is locked")
        };
        let (id, record) = (placed.id, placed.record_range());
        let root = Range {
            first: placed.stage2.root().root,
            frames: placed.stage2.geometry().root_frames(),
        };
        self.machine.displace(placed);
        // The number can be another VM's next: no translation under it may be left (I6).
        if !cfg!(ward_without = "reuse") {
            self.machine.tlb_invalidate(id, TlbScope::All);
        }
        self.return_unused(&mut order, root);
        self.return_unused(&mut order, record);
        Ok(Destroyed::All)
    }

    /// One bounded piece: guest memory first, then vCPUs, then tables and pool.
    fn destroy_piece(&self, order: &mut Order<'_, level::Vm>, vm: &mut Vm<M>) -> Destroyed {
        let mut budget = DESTROY_FRAMES;
        let mut from = Ipa::containing(0);
        while let Some((ipa, leaf)) = vm.stage2.next_leaf(&self.machine, from) {
            let frames = leaf.size.frames();
            if frames > budget {
                return Destroyed::Left;
            }
            budget -= frames;
            self.reclaim_leaf(order, vm, ipa, leaf.size, leaf.attrs.kind);
            from = ipa;
        }
        for vcpu in 0..u64::from(vm.vcpus()) {
            self.remove_vcpu(order, vm, vcpu);
        }
        while vm.stage2.free_tables(&self.machine, &mut vm.pool) {
            budget = budget.saturating_sub(1);
            if budget == 0 {
                return Destroyed::Left;
            }
        }
        while let Some(frame) = vm.pool.pop(&self.machine) {
            self.return_unused(
                order,
                Range {
                    first: frame,
                    frames: 1,
                },
            );
            budget = budget.saturating_sub(1);
            if budget == 0 {
                return Destroyed::Left;
            }
        }
        Destroyed::All
    }

    /// Takes a leaf out of a stopped VM, whatever it maps.
    fn reclaim_leaf(
        &self,
        order: &mut Order<'_, level::Vm>,
        vm: &mut Vm<M>,
        ipa: Ipa,
        size: Size,
        kind: MemoryKind,
    ) {
        if kind == MemoryKind::Normal && vm.protected {
            self.reclaim(order, vm, ipa, size);
            return;
        }
        let leaf = vm.stage2.unmap(&self.machine, &mut vm.pool, ipa, size);
        vm.stats.mapped -= size.frames();
        if kind == MemoryKind::Normal {
            let (mut memory, _) = self.memory.lock(order);
            memory.end_loan(Range {
                first: leaf.frame,
                frames: size.frames(),
            });
        }
    }

    /// A protected VM's frames go back to the host: unmapped and invalidated, zeroed, given (I5).
    pub(crate) fn reclaim(
        &self,
        order: &mut Order<'_, level::Vm>,
        vm: &mut Vm<M>,
        ipa: Ipa,
        size: Size,
    ) {
        let leaf = vm.stage2.unmap(&self.machine, &mut vm.pool, ipa, size);
        let range = Range {
            first: leaf.frame,
            frames: size.frames(),
        };
        vm.stats.mapped -= range.frames;
        let in_transit = {
            let (mut memory, _) = self.memory.lock(order);
            memory.begin_return(&self.machine, vm.id, range)
        };
        let clean = in_transit.scrub(&self.machine);
        let (mut memory, _) = self.memory.lock(order);
        memory.give(&self.machine, clean);
    }

    fn remove_vcpu(&self, order: &mut Order<'_, level::Vm>, vm: &mut Vm<M>, vcpu: u64) {
        let Some((slot, _)) = vm.slot_mut(vcpu) else {
            return;
        };
        match core::mem::replace(slot, Slot::Empty) {
            Slot::Empty => {}
            Slot::Ready(placed, frames) => {
                self.machine.displace(placed);
                let record = Range {
                    first: frames.record,
                    frames: VCPU_RECORD_FRAMES,
                };
                self.return_unused(order, record);
                self.memory.lock(order).0.unpin(frames.run);
            }
            Slot::Active(_) => unreachable!("destroyed while a vCPU runs"),
        }
    }

    /// The slot of a VM number that a host named.
    pub(crate) fn slot(&self, number: u64) -> Result<&super::VmSlot<M>, Error> {
        match usize::try_from(number) {
            Ok(index) if index != usize::from(VmId::HOST.0) => {
                self.slots.get(index).ok_or(Error::NotFound)
            }
            _ => Err(Error::NotFound),
        }
    }
}

impl<M: Machine> Vm<M> {
    /// # Errors
    /// [`Error::BadState`] unless powered off, [`Error::Busy`] while a vCPU still runs.
    fn require_stopped(&self) -> Result<(), Error> {
        if cfg!(ward_without = "stop") {
            return Ok(());
        }
        self.require(&[State::PowerOff])?;
        if self.any_active() {
            Err(Error::Busy)
        } else {
            Ok(())
        }
    }
}
