//! What the host's devices reach (I4): the DMA table, beside the host's stage 2.
//!
//! It maps exactly the frames that the host owns or a guest shares, pinned and lent ones among
//! them, each at its physical address; and of device memory the pages that devices write
//! interrupt messages to. All of it is there at any time, for a device's access that finds nothing
//! is not tried again. Without an SMMU there is no such table, and nothing here does anything.
//!
//! A frame leaves it, forgotten by every SMMU, before its record says that it is another's. An
//! SMMU that is [lost](DmaLost) may remember what it likes: then no frame leaves the host any more.

use super::{Attrs, FrameState, HOST_DEVICE, HOST_RAM, Memory, Range};
use crate::abi::Error;
use crate::addr::{Ipa, PAGE_SHIFT, Pfn, VmId};
use crate::config::{BootError, Config};
use crate::dma::{DmaConfig, DmaLost, Domain};
use crate::machine::{Machine, TableMemory, TlbScope};
use crate::stage2::{Pool, Stage2};

/// Table pages that SMMUs walk.
pub(super) struct Walked<'a, M>(pub(super) &'a M);

/// Table pages of a domain that no SMMU walks any more, nor remembers anything of.
pub(super) struct Ended<'a, M>(pub(super) &'a M);

impl<M: Machine> TableMemory for Walked<'_, M> {
    fn read_entry(&self, table: Pfn, index: usize) -> u64 {
        self.0.read_entry(table, index)
    }

    fn write_entry(&self, table: Pfn, index: usize, entry: u64) {
        self.0.dma_write_entry(table, index, entry);
    }

    fn publish(&self) {
        self.0.dma_publish();
    }

    fn tlb_invalidate(&self, _: VmId, _: TlbScope) {
        unreachable!("tables of this kind are forgotten by range, and waited for once");
    }

    fn zero_frame(&self, frame: Pfn) {
        self.0.zero_frame(frame);
    }
}

impl<M: Machine> TableMemory for Ended<'_, M> {
    fn read_entry(&self, table: Pfn, index: usize) -> u64 {
        self.0.read_entry(table, index)
    }

    fn write_entry(&self, table: Pfn, index: usize, entry: u64) {
        self.0.dma_write_entry(table, index, entry);
    }

    fn publish(&self) {}

    fn tlb_invalidate(&self, _: VmId, _: TlbScope) {}

    fn zero_frame(&self, frame: Pfn) {
        self.0.zero_frame(frame);
    }
}

/// The host's DMA table.
pub(super) struct HostDma(Stage2);

impl HostDma {
    /// The table of a machine that boots, which maps nothing but the doorbells.
    ///
    /// # Errors
    /// [`BootError`].
    pub(super) fn new<M: Machine>(
        machine: &M,
        config: &Config,
        dma: &DmaConfig,
    ) -> Result<Self, BootError> {
        let roots = dma.geometry.root_frames();
        let pages = dma.tables.frames.checked_sub(roots);
        let pages = pages.ok_or(BootError::Pool)?;
        let free = |&bell: &Range| !config.ram.overlaps(bell) && !config.hyp_devices.overlaps(bell);
        if !config.hyp.contains_all(dma.tables)
            || !dma.tables.first.0.is_multiple_of(roots)
            || !dma.doorbells.as_slice().iter().all(free)
        {
            return Err(BootError::Memory);
        }
        let mem = &Walked(machine);
        for n in 0..roots {
            mem.zero_frame(dma.tables.first.add(n));
        }
        let mut pool = Pool::new();
        for n in 0..pages {
            pool.push(mem, dma.tables.first.add(roots + n));
        }
        let mut table = HostDma(Stage2::new(VmId::HOST, dma.tables.first, dma.geometry));
        let bells = dma.doorbells.as_slice();
        for &part in config.ram.as_slice().iter().chain(bells) {
            let part = table.reachable(part);
            table
                .0
                .add_tables(mem, &mut pool, Ipa::identity(part.first), part.frames)
                .map_err(|_| BootError::Pool)?;
        }
        for &bell in bells {
            table.set(machine, bell, Some(HOST_DEVICE));
        }
        Ok(table)
    }

    /// The part of a range that devices can name.
    fn reachable(&self, range: Range) -> Range {
        let end = 1 << (u32::from(self.0.geometry().ipa_bits()) - PAGE_SHIFT);
        Range {
            first: range.first,
            frames: range.end().0.min(end).saturating_sub(range.first.0),
        }
    }

    fn set<M: Machine>(&mut self, machine: &M, range: Range, attrs: Option<Attrs>) {
        let Range { first, frames } = self.reachable(range);
        self.0.set_identity(&Walked(machine), first, frames, attrs);
    }
}

impl<M: Machine> Memory<M> {
    /// Lets devices of the host's reach the range.
    pub(super) fn dma_grant(&mut self, machine: &M, range: Range) {
        if let Some(table) = &mut self.dma {
            table.set(machine, range, Some(HOST_RAM));
            machine.dma_publish();
        }
    }

    /// Takes ranges out of the reach of the host's devices: when this returns no device reaches
    /// them, and none has an access to them under way.
    ///
    /// # Errors
    /// [`DmaLost`]: a device may, now and for ever.
    fn dma_revoke(
        &mut self,
        machine: &M,
        ranges: impl Iterator<Item = Range> + Clone,
    ) -> Result<(), DmaLost> {
        let Some(table) = &mut self.dma else {
            return Ok(());
        };
        for range in ranges.clone() {
            table.set(machine, range, None);
        }
        for range in ranges {
            let Range { first, frames } = table.reachable(range);
            if frames > 0 {
                machine.dma_forget(Domain::Host, Ipa::identity(first), frames);
            }
        }
        machine.dma_sync()
    }

    /// As [`Memory::dma_revoke`], of what devices reach now, with nothing changed if it fails.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub(super) fn dma_take(
        &mut self,
        machine: &M,
        ranges: impl Iterator<Item = Range> + Clone,
    ) -> Result<(), Error> {
        if self.dma.is_none() {
            return Ok(());
        }
        if machine.dma_lost() {
            return Err(Error::DeviceLost);
        }
        self.dma_revoke(machine, ranges.clone()).map_err(|DmaLost| {
            for range in ranges {
                self.dma_grant(machine, range);
            }
            Error::DeviceLost
        })
    }

    /// Takes frames that go back to the host out of its devices' reach, where a VM shared them.
    /// A lost SMMU is no hindrance: its devices keep what becomes the host's, and what the host
    /// has can't be taken any more.
    pub(super) fn dma_return(&mut self, machine: &M, range: Range) {
        let mut frames = (range.first.0..range.end().0).map(Pfn);
        let shared = |frame| matches!(self.state(frame), Some(FrameState::Vm { shared: true, .. }));
        // The frames of the range that were not shared are not in the table.
        if self.dma.is_some() && frames.any(shared) {
            let _ = self.dma_revoke(machine, core::iter::once(range));
        }
    }
}

#[cfg(feature = "inspect")]
impl<M: Machine> Memory<M> {
    /// The host's DMA table, to look at.
    pub fn dma_table(&self) -> Option<&Stage2> {
        self.dma.as_ref().map(|table| &table.0)
    }
}
