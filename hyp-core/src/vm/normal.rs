//! Calls on the memory of normal VMs, which the host manages as in plain KVM.

use super::map::{LeafRequest, PROT_ALL, PROT_EXECUTE, PROT_WRITE};
use super::{State, Vm};
use crate::abi::{AGE_LOOK, Error, MAX_RANGE_FRAMES};
use crate::lock::{Order, level};
use crate::machine::Machine;
use crate::memory::Range;
use crate::stage2::{Attrs, Change, Leaf, MemoryKind, Span, UnmapError};
use crate::ward::Ward;

fn unmap_error(error: UnmapError) -> Error {
    match error {
        UnmapError::Misaligned | UnmapError::OutOfRange => Error::BadAddress,
        UnmapError::NotMapped | UnmapError::Mixed => Error::NotFound,
        UnmapError::NoTables(_) => Error::NoMemory,
    }
}

/// Leaves that a host named: `count` of this order in a row, 0 for one.
#[derive(Clone, Copy)]
pub(crate) struct Leaves {
    pub(crate) ipa: u64,
    pub(crate) order: u64,
    pub(crate) count: u64,
}

impl Leaves {
    /// # Errors
    /// [`Error::InvalidArgument`] for an unknown order or too many, [`Error::BadAddress`] for a
    /// misaligned address.
    fn span(self) -> Result<Span, Error> {
        if self.count > MAX_RANGE_FRAMES {
            return Err(Error::InvalidArgument);
        }
        let LeafRequest { ipa, size } = LeafRequest::new(self.ipa, self.order)?;
        let count = self.count.max(1);
        Ok(Span { ipa, size, count })
    }
}

/// What a host may change of a leaf but by taking it away: device memory stays as it was mapped.
fn lent(leaf: Leaf, change: impl FnOnce(Leaf) -> Change) -> Option<Change> {
    match leaf.attrs.kind {
        MemoryKind::Normal => Some(change(leaf)),
        MemoryKind::Device | MemoryKind::WriteCombining => None,
    }
}

impl<M: Machine> Vm<M> {
    fn check_change(
        &self,
        machine: &M,
        span: Span,
        change: impl Fn(Leaf) -> Option<Change>,
    ) -> Result<(), Error> {
        self.stage2
            .can_change(machine, self.pool.len(), span, change)
            .map_err(unmap_error)
    }
}

impl<M: Machine> Ward<M> {
    /// [`Call::VmUnmapRange`](crate::abi::Call::VmUnmapRange).
    pub(crate) fn vm_unmap(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        leaves: Leaves,
    ) -> Result<u64, Error> {
        let span = leaves.span()?;
        self.with_vm(order, vm, |vm, order| {
            vm.require_normal()?;
            vm.require(&[State::Ready, State::PowerOff])?;
            vm.check_change(&self.machine, span, |_| Some(Change::Unmap))?;
            // Held until the invalidation is complete: nobody sees that a loan has ended, and
            // gives the frame away, while a TLB still holds it (I4, I6).
            let (mut memory, _) = self.memory.lock(order);
            let mapped = &mut vm.stats.mapped;
            let machine = &self.machine;
            Ok(vm.stage2.change(machine, &mut vm.pool, span, |leaf| {
                let frames = leaf.size.frames();
                *mapped -= frames;
                if leaf.attrs.kind == MemoryKind::Normal {
                    memory.end_loan(Range {
                        first: leaf.frame,
                        frames,
                    });
                }
                Some(Change::Unmap)
            }))
        })
    }

    /// [`Call::VmProtect`](crate::abi::Call::VmProtect).
    pub(crate) fn vm_protect(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        leaves: Leaves,
        add: u64,
        remove: u64,
    ) -> Result<u64, Error> {
        if (add | remove) & !PROT_ALL != 0 || add & remove != 0 {
            return Err(Error::InvalidArgument);
        }
        let span = leaves.span()?;
        self.with_vm(order, vm, |vm, _| {
            if !cfg!(ward_without = "no-change") {
                vm.require_normal()?;
                vm.require(&[State::Ready])?;
            }
            let allowed = |old, bit| (old || add & bit != 0) && remove & bit == 0;
            let change = |leaf| {
                if cfg!(ward_without = "write-protection") {
                    return lent(leaf, |_| Change::Keep);
                }
                lent(leaf, |leaf| {
                    let attrs = Attrs {
                        write: allowed(leaf.attrs.write, PROT_WRITE),
                        execute: allowed(leaf.attrs.execute, PROT_EXECUTE),
                        ..leaf.attrs
                    };
                    if attrs == leaf.attrs {
                        Change::Keep
                    } else {
                        Change::Attrs(attrs)
                    }
                })
            };
            vm.check_change(&self.machine, span, change)?;
            let (machine, pool) = (&self.machine, &mut vm.pool);
            Ok(vm.stage2.change(machine, pool, span, change))
        })
    }

    /// [`Call::VmAgeRange`](crate::abi::Call::VmAgeRange).
    pub(crate) fn vm_age(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        leaves: Leaves,
        flags: u64,
    ) -> Result<u64, Error> {
        if flags & !AGE_LOOK != 0 {
            return Err(Error::InvalidArgument);
        }
        let span = leaves.span()?;
        self.with_vm(order, vm, |vm, _| {
            vm.require_normal()?;
            vm.require(&[State::Ready])?;
            vm.check_change(&self.machine, span, |leaf| lent(leaf, |_| Change::Keep))?;
            let mut young = 0;
            let (machine, pool) = (&self.machine, &mut vm.pool);
            vm.stage2.change(machine, pool, span, |leaf| {
                lent(leaf, |leaf| {
                    young += u64::from(leaf.accessed);
                    if leaf.accessed && flags & AGE_LOOK == 0 {
                        Change::Age
                    } else {
                        Change::Keep
                    }
                })
            });
            Ok(young)
        })
    }
}
