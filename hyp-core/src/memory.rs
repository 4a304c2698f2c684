//! Physical memory: who owns each frame, and the host's stage 2, which follows from it.
//!
//! The rule (I1, I2): the host's stage 2 maps a frame of RAM only if the host owns it or its
//! owner shares it. Host-owned frames are mapped from the start, with the largest leaves their
//! neighbours allow; a frame leaves the map *before* its record says it is another's, with the
//! invalidation complete in between (I6), and its record says the host's only after it has been
//! unmapped everywhere, invalidated and zeroed (I5). [`Clean`] is the proof of that. What the
//! host's devices reach follows in step (`dma`).
//!
//! All of this is behind one lock ([`level::Memory`](crate::lock::level::Memory)), the innermost
//! but the log's. Nothing here zeroes or hashes: callers do that between two short holds.
//!
//! What each state permits is in [`matrix`].

pub mod bank;
mod dma;
pub mod frame;
mod give;
mod host_fault;
#[cfg(feature = "inspect")]
mod inspect;
pub mod matrix;
mod setup;
mod streams;
mod take;

pub use bank::{Range, Ranges};
pub use frame::{FrameState, FrameWord};
pub use give::{Clean, InTransit};
pub use host_fault::{HostFault, HostFaultAction};
pub(crate) use streams::Ending;
pub use streams::MAX_STREAMS;
pub use take::{For, Owner};

use crate::abi::Error;
use crate::addr::{Pfn, VmId};
use crate::machine::Machine;
use crate::stage2::{Attrs, MemoryKind, Pool, Stage2};
use dma::HostDma;
use streams::Streams;

/// Frames by owner, kept as records change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// The host's.
    pub host: u64,
    /// Ward's.
    pub hyp: u64,
    /// Protected VMs'.
    pub vm: u64,
}

/// The frame records and the host's stage 2.
pub struct Memory<M: Machine> {
    ram: Ranges,
    hyp_devices: Ranges,
    frames: M::Frames,
    counts: Counts,
    host: Stage2,
    pool: Pool,
    dma: Option<HostDma>,
    streams: Streams,
}

/// How the host maps its own RAM.
const HOST_RAM: Attrs = Attrs {
    kind: MemoryKind::Normal,
    write: true,
    execute: true,
};
/// How the host maps what a guest shares: never executable.
const HOST_SHARED: Attrs = Attrs {
    kind: MemoryKind::Normal,
    write: true,
    execute: false,
};
/// How the host maps device memory.
const HOST_DEVICE: Attrs = Attrs {
    kind: MemoryKind::Device,
    write: true,
    execute: false,
};

impl<M: Machine> Memory<M> {
    /// The record of a frame; `None` for what is not RAM.
    pub fn state(&self, frame: Pfn) -> Option<FrameState> {
        self.ram
            .index_of(frame)
            .map(|index| self.frames[index].state())
    }

    /// The record of a frame of RAM.
    ///
    /// # Errors
    /// [`Error::BadAddress`] for what is not RAM.
    pub fn ram_state(&self, frame: Pfn) -> Result<FrameState, Error> {
        self.state(frame).ok_or(Error::BadAddress)
    }

    /// Frames by owner.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Free frames of the host's table pool.
    pub fn pool_len(&self) -> u64 {
        self.pool.len()
    }

    /// The host's stage 2, to look at.
    pub fn host_table(&self) -> &Stage2 {
        &self.host
    }

    /// All RAM.
    pub fn ram(&self) -> &Ranges {
        &self.ram
    }

    /// Is the whole range device memory that Ward does not keep?
    pub fn is_free_device(&self, range: Range) -> bool {
        !self.ram.overlaps(range) && !self.hyp_devices.overlaps(range)
    }

    /// The one place where a record changes. `frame` is RAM: the caller looked at its state.
    fn set(&mut self, frame: Pfn, state: FrameState) {
        let Some(index) = self.ram.index_of(frame) else {
            unreachable!("record of a frame that is not RAM: {frame:?}")
        };
        *self.counter(self.frames[index].state()) -= 1;
        *self.counter(state) += 1;
        self.frames[index] = FrameWord::new(state);
    }

    fn counter(&mut self, state: FrameState) -> &mut u64 {
        match state {
            FrameState::Host { .. } => &mut self.counts.host,
            FrameState::Hyp { .. } => &mut self.counts.hyp,
            FrameState::Vm { .. } => &mut self.counts.vm,
        }
    }

    /// May a host frame be pinned, so that it cannot be given away: Ward or a device uses it?
    ///
    /// # Errors
    /// [`Error::BadAddress`] for what is not RAM; [`Error::Denied`] for a frame that is not the
    /// host's, that is lent, or that has no room for another pin.
    pub fn check_pin(&self, frame: Pfn) -> Result<(), Error> {
        self.ram_state(frame)?
            .pinned()
            .map(drop)
            .ok_or(Error::Denied)
    }

    /// Pins it, after [`Memory::check_pin`] under the same lock.
    pub fn pin(&mut self, frame: Pfn) {
        self.change(frame, FrameState::pinned);
    }

    /// May a device map a host frame?
    ///
    /// # Errors
    /// As [`Memory::check_pin`], but a frame that is lent may be.
    pub fn check_device_pin(&self, frame: Pfn) -> Result<(), Error> {
        self.ram_state(frame)?
            .pinned_for_device()
            .map(drop)
            .ok_or(Error::Denied)
    }

    /// Pins it, after [`Memory::check_device_pin`] under the same lock.
    pub fn device_pin(&mut self, frame: Pfn) {
        self.change(frame, FrameState::pinned_for_device);
    }

    /// Ends one [`Memory::pin`] or [`Memory::device_pin`].
    pub fn unpin(&mut self, frame: Pfn) {
        self.change(frame, FrameState::unpinned);
    }

    /// A change of a host frame's record that cannot fail: the caller has checked it.
    fn change(&mut self, frame: Pfn, change: fn(FrameState) -> Option<FrameState>) {
        match self.state(frame).and_then(change) {
            Some(state) => self.set(frame, state),
            None => unreachable!("{frame:?} in {:?}", self.state(frame)),
        }
    }

    /// May every frame of the range be lent to a normal VM once more?
    ///
    /// # Errors
    /// [`Error::BadAddress`] for what is not RAM; [`Error::Denied`] for a frame that is not the
    /// host's or that has no room for another loan.
    pub fn check_lend(&self, range: Range) -> Result<(), Error> {
        self.check_ram(range)?;
        for n in 0..range.frames {
            let state = self.ram_state(range.first.add(n))?;
            state.lent().ok_or(Error::Denied)?;
        }
        Ok(())
    }

    /// Counts one more loan of each frame, after [`Memory::check_lend`] under the same lock.
    pub fn lend(&mut self, range: Range) {
        for n in 0..range.frames {
            self.change(range.first.add(n), FrameState::lent);
        }
    }

    /// Ends one loan of each frame.
    pub fn end_loan(&mut self, range: Range) {
        for n in 0..range.frames {
            self.change(range.first.add(n), FrameState::returned);
        }
    }

    /// Is the whole range RAM?
    ///
    /// # Errors
    /// [`Error::BadAddress`] when it is not.
    pub fn check_ram(&self, range: Range) -> Result<(), Error> {
        if self.ram.contains_all(range) {
            Ok(())
        } else {
            Err(Error::BadAddress)
        }
    }

    /// May Ward read a frame the host named, as the host's? Its contents can change at any
    /// moment: copy once.
    ///
    /// # Errors
    /// [`Error::BadAddress`] for what is not RAM, [`Error::Denied`] for another owner's frame.
    pub fn check_host_reads(&self, frame: Pfn) -> Result<(), Error> {
        match self.ram_state(frame)? {
            FrameState::Host { .. } => Ok(()),
            _ => Err(Error::Denied),
        }
    }

    /// Is this frame `vm`'s own, and at which IPA, shared or not?
    pub fn owned_by(&self, frame: Pfn, owner: VmId) -> Option<(crate::addr::Ipa, bool)> {
        match self.state(frame) {
            Some(FrameState::Vm { vm, ipa, shared }) if vm == owner => Some((ipa, shared)),
            _ => None,
        }
    }

    /// The first frame of `range` that is `owner`'s, and its IPA.
    pub fn first_owned(&self, range: Range, owner: VmId) -> Option<(Pfn, crate::addr::Ipa)> {
        (range.first.0..range.end().0).map(Pfn).find_map(|frame| {
            let (ipa, _) = self.owned_by(frame, owner)?;
            Some((frame, ipa))
        })
    }
}
