//! Frames go back to the host, in three steps that only fit together in one order.
//!
//! 1. [`Memory::begin_return`], under the lock: the frames, no longer in their owner's table,
//!    leave the host's map too if they were shared, and are nobody's but Ward's: [`InTransit`].
//! 2. [`InTransit::scrub`], with no memory lock held: zeroed, as [`Clean`].
//! 3. [`Memory::give`], under the lock: the host's again, mapped and merged.

use super::{FrameState, HOST_RAM, Memory, Range};
use crate::addr::{BLOCK_FRAMES, Ipa, Pfn, Size, VmId};
use crate::machine::Machine;

/// Frames that nobody maps, on their way back to the host, not yet zeroed.
#[derive(Debug)]
#[must_use = "frames would be lost"]
pub struct InTransit(Range);

/// Frames that nobody maps, zeroed: fit for the host.
#[derive(Debug)]
#[must_use = "frames would be lost"]
pub struct Clean(Range);

impl InTransit {
    /// Frames of Ward's own (a record, a pool page, a table page) that it no longer uses.
    ///
    /// The caller has unlinked them: no table, no record and no pool names them.
    pub(crate) fn unused(range: Range) -> Self {
        InTransit(range)
    }

    /// Zeroes the frames. Callers hold no memory lock meanwhile.
    pub fn scrub<M: Machine>(self, machine: &M) -> Clean {
        for n in 0..self.0.frames {
            if !cfg!(ward_without = "zeroing") {
                machine.zero_frame(self.0.first.add(n));
            }
        }
        Clean(self.0)
    }
}

impl<M: Machine> Memory<M> {
    /// Starts the return of frames that just left `vm`'s stage 2, invalidation complete.
    pub fn begin_return(&mut self, machine: &M, vm: VmId, range: Range) -> InTransit {
        self.dma_return(machine, range);
        for n in 0..range.frames {
            let frame = range.first.add(n);
            match self.owned_by(frame, vm) {
                Some((_, shared)) => {
                    if shared {
                        self.unmap_host(machine, frame, Size::Page);
                    }
                    self.set(frame, FrameState::Hyp { for_vm: vm });
                }
                None => unreachable!("{frame:?} returned by {vm:?}, in {:?}", self.state(frame)),
            }
        }
        InTransit(range)
    }

    /// Makes clean frames the host's and maps them again with the largest leaves possible.
    pub fn give(&mut self, machine: &M, clean: Clean) {
        let Clean(range) = clean;
        for n in 0..range.frames {
            self.set(range.first.add(n), FrameState::HOST_IDLE);
        }
        self.dma_grant(machine, range);
        if range.frames == BLOCK_FRAMES && range.first.0.is_multiple_of(BLOCK_FRAMES) {
            self.map_host_ram(machine, range.first, Size::Block2M);
        } else {
            for n in 0..range.frames {
                self.map_host_ram(machine, range.first.add(n), Size::Page);
            }
        }
    }

    /// Maps a frame or block the host owns. Without a table page for it the frame stays
    /// unmapped, and the host's next access maps it ([`Memory::host_fault`]).
    pub(super) fn map_host_ram(&mut self, machine: &M, first: Pfn, size: Size) -> bool {
        let ipa = Ipa::identity(first);
        if self
            .host
            .can_map(machine, self.spare_tables(), ipa, first, size)
            .is_err()
        {
            return false;
        }
        self.host
            .map(machine, &mut self.pool, ipa, first, size, HOST_RAM);
        self.host.merge(machine, &mut self.pool, ipa);
        true
    }
}
