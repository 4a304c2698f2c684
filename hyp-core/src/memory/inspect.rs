//! A look at every record, for checks.

use super::{Counts, FrameState, Memory};
use crate::addr::Pfn;
use crate::machine::Machine;
use crate::stage2::Pool;

impl<M: Machine> Memory<M> {
    /// Every frame of RAM with its record, ascending.
    pub fn records(&self) -> impl Iterator<Item = (Pfn, FrameState)> + '_ {
        let ranges = self.ram.as_slice().iter();
        let frames = ranges.flat_map(|range| (range.first.0..range.end().0).map(Pfn));
        frames.zip(self.frames.iter().map(|word| word.state()))
    }

    /// [`Memory::counts`], counted anew.
    pub fn recount(&self) -> Counts {
        let mut counts = Counts::default();
        for (_, state) in self.records() {
            match state {
                FrameState::Host { .. } => counts.host += 1,
                FrameState::Hyp { .. } => counts.hyp += 1,
                FrameState::Vm { .. } => counts.vm += 1,
            }
        }
        counts
    }

    /// The pool of the host's tables, to look at.
    pub fn host_pool(&self) -> &Pool {
        &self.pool
    }
}
