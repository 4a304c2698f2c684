//! The record of one page frame: who owns it, in eight bytes.
//!
//! KCore keeps (owner, count, gfn) with sentinels; here the combinations that mean nothing cannot
//! be written down. [`FrameWord`] is the packed form, [`FrameState`] what code works with.

use crate::addr::{Ipa, VmId};

/// Who owns a frame of RAM, and what that owner has done with it. Frames that are not RAM have
/// no record: they are device memory or holes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameState {
    /// The host's.
    Host {
        /// Uses by Ward or a device that forbid giving the frame away: run pages, DMA mappings.
        pins: u16,
        /// Normal VMs' stage-2 leaves that map it.
        lent: u16,
    },
    /// Ward's own: its image and arrays (`for_vm` is 0), the host's tables (0), or what the host
    /// donated for a VM: records, tables, pool.
    Hyp {
        /// The VM it was donated for; [`VmId::HOST`] for the machine's own.
        for_vm: VmId,
    },
    /// A protected VM's memory, mapped in its stage 2 at `ipa` and nowhere else (I3).
    Vm {
        /// The owner.
        vm: VmId,
        /// The one IPA at which the owner sees it. Bound once, when the frame is taken.
        ipa: Ipa,
        /// The owner shares it with the host, which may map it.
        shared: bool,
    },
}

impl FrameState {
    /// A frame the host owns and does nothing special with: the only state it can give from.
    pub const HOST_IDLE: FrameState = FrameState::Host { pins: 0, lent: 0 };

    /// The state with one more pin; `None` for a frame that is not the host's, that is lent, or
    /// that has no room for another pin.
    pub const fn pinned(self) -> Option<Self> {
        match self {
            FrameState::Host { pins, lent: 0 } if pins < u16::MAX => Some(FrameState::Host {
                pins: pins + 1,
                lent: 0,
            }),
            _ => None,
        }
    }

    /// The state with one more pin for what a device maps: as [`FrameState::pinned`], also of a
    /// frame that is lent, for a device may work for a normal VM in that VM's memory.
    pub const fn pinned_for_device(self) -> Option<Self> {
        match self {
            FrameState::Host { pins, lent } if pins < u16::MAX => Some(FrameState::Host {
                pins: pins + 1,
                lent,
            }),
            _ => None,
        }
    }

    /// The state with one pin less; `None` without pins.
    pub const fn unpinned(self) -> Option<Self> {
        match self {
            FrameState::Host { pins, lent } if pins > 0 => Some(FrameState::Host {
                pins: pins - 1,
                lent,
            }),
            _ => None,
        }
    }

    /// The state with one more loan; `None` for a frame that is not the host's or that has no
    /// room for another loan.
    pub const fn lent(self) -> Option<Self> {
        match self {
            FrameState::Host { pins, lent } if lent < u16::MAX => Some(FrameState::Host {
                pins,
                lent: lent + 1,
            }),
            _ => None,
        }
    }

    /// The state with one loan less; `None` without loans.
    pub const fn returned(self) -> Option<Self> {
        match self {
            FrameState::Host { pins, lent } if lent > 0 => Some(FrameState::Host {
                pins,
                lent: lent - 1,
            }),
            _ => None,
        }
    }

    /// May the host's stage 2 map the frame (I2)?
    pub const fn host_may_map(self) -> bool {
        matches!(
            self,
            FrameState::Host { .. } | FrameState::Vm { shared: true, .. }
        )
    }
}

/// A [`FrameState`] in 8 bytes: bits 1:0 kind; host: pins 31:16, lent 47:32; Ward: VM 31:16;
/// VM: shared 2, VM 19:4, page number of the IPA 59:20.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct FrameWord(u64);

const KIND_HOST: u64 = 0;
const KIND_HYP: u64 = 1;
const KIND_VM: u64 = 2;

impl FrameWord {
    /// The record of an idle host frame is zero, so that a zeroed array is a valid one.
    pub const HOST_IDLE: FrameWord = FrameWord(0);

    /// Packs a state.
    pub const fn new(state: FrameState) -> Self {
        FrameWord(match state {
            FrameState::Host { pins, lent } => {
                KIND_HOST | (pins as u64) << 16 | (lent as u64) << 32
            }
            FrameState::Hyp { for_vm } => KIND_HYP | (for_vm.0 as u64) << 16,
            FrameState::Vm { vm, ipa, shared } => {
                KIND_VM | (shared as u64) << 2 | (vm.0 as u64) << 4 | ipa.page_number() << 20
            }
        })
    }

    /// Unpacks the state.
    pub const fn state(self) -> FrameState {
        match self.0 & 3 {
            KIND_HOST => FrameState::Host {
                pins: (self.0 >> 16) as u16,
                lent: (self.0 >> 32) as u16,
            },
            KIND_HYP => FrameState::Hyp {
                for_vm: VmId((self.0 >> 16) as u16),
            },
            _ => FrameState::Vm {
                vm: VmId((self.0 >> 4) as u16),
                ipa: Ipa::containing((self.0 >> 20) << crate::addr::PAGE_SHIFT),
                shared: self.0 & 4 != 0,
            },
        }
    }
}

const _: () = assert!(size_of::<FrameWord>() == 8);

#[cfg(test)]
mod tests;
