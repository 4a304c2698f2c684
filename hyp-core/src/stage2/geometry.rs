//! The shape of the tables: how many address bits, where a walk starts, how large the root is.
//!
//! Input and output addresses have the same width, so that the host's identity map reaches all
//! that exists, and so that `VTCR_EL2` is the same for the host and for every VM.
//!
//! The initial lookup level is the lowest that concatenation of up to 16 root pages allows
//! (DDI 0487 D8.2, concatenated translation tables): level 1 for up to 43 bits, else level 0.
//! Level 1 needs 31 to 43 bits; level 0 needs a CPU with 44 bits of physical address or more,
//! which is what 44 bits here mean.

use super::walk::shift;
use crate::addr::{Ipa, PAGE_SHIFT, Pfn, Size};

/// log2 of the descriptors in one table page.
const INDEX_BITS: u32 = 9;

/// The shape of all stage-2 tables of this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    ipa_bits: u8,
}

impl Geometry {
    /// The shape for a CPU with `pa_bits` of physical address (`ID_AA64MMFR0_EL1.PARange`, and
    /// 48 for more). `None` below 32 and above 48.
    pub const fn new(pa_bits: u8) -> Option<Self> {
        match pa_bits {
            32..=48 => Some(Geometry { ipa_bits: pa_bits }),
            _ => None,
        }
    }

    /// Bits of an IPA.
    pub const fn ipa_bits(self) -> u8 {
        self.ipa_bits
    }

    /// The level at which a walk starts.
    pub const fn start_level(self) -> u8 {
        if self.ipa_bits > 43 { 0 } else { 1 }
    }

    /// Frames of the root table, contiguous; also their alignment.
    pub const fn root_frames(self) -> u64 {
        let index_bits = self.ipa_bits as u32 - shift(self.start_level());
        1 << index_bits.saturating_sub(INDEX_BITS)
    }

    /// `VTCR_EL2.T0SZ` (bits 5:0, 64 minus the width) and `VTCR_EL2.SL0` (bits 7:6; with the
    /// 4 KiB granule 0b10 starts at level 0 and 0b01 at level 1). The rest of the register
    /// (granule, PS, cacheability and shareability of walks, HA) is the CPU driver's.
    pub const fn vtcr_fields(self) -> u64 {
        let t0sz = 64 - self.ipa_bits as u64;
        let sl0 = 2 - self.start_level() as u64;
        t0sz | sl0 << 6
    }

    /// Does a leaf of `size` at `ipa` end within the address width?
    pub const fn contains(self, ipa: Ipa, size: Size) -> bool {
        ipa.as_u64() + size.bytes() <= 1 << self.ipa_bits
    }

    /// Does a leaf of `size` from `frame` end within the physical address width? (Beyond it an
    /// access takes an address size fault, DDI 0487 D8.15.)
    pub(super) const fn contains_frames(self, frame: Pfn, size: Size) -> bool {
        let all = 1 << (self.ipa_bits as u32 - PAGE_SHIFT);
        frame.0 <= all - size.frames()
    }
}
