//! The stream table: where the entry of a stream is (IHI 0070, 3.3 and 5.1).
//!
//! A linear table has 64 bytes for every stream that can exist: 4 MiB for 16 bits. With two
//! levels, every first-level descriptor points at one *shared* page of 256 equal entries until a
//! stream below it gets an entry of its own; so 16 bits need 18 KiB to say the same of all.
//! Giving a descriptor a page of its own changes one field of 64 bits, which is allowed while it
//! is valid (3.21.3), and the new page says the same, so running DMA notices nothing.

use super::ste::{BYTES, VALID, WORDS};
use super::{Capabilities, Hardware, StreamId, register};

/// log2 of the streams of one second-level page.
const SPLIT: u8 = 8;
/// Bytes of a second-level page.
const PAGE: u64 = BYTES << SPLIT;
/// `L1STD.Span`: 2^(Span - 1) entries.
const SPAN: u64 = SPLIT as u64 + 1;
/// `L1STD.L2Ptr`.
const POINTER: u64 = 0x000f_ffff_ffff_ffc0;

/// Form of a stream table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// An array of entries.
    Linear,
    /// An array of descriptors of pages; `shared` is the page that all begin with.
    TwoLevel {
        /// Physical address of [`StreamTable::PAGE_BYTES`], aligned to their size.
        shared: u64,
    },
}

/// A stream table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamTable {
    base: u64,
    bits: u8,
    shape: Shape,
}

/// The entry of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Slot {
    Own(u64),
    Shared { descriptor: u64 },
}

impl StreamTable {
    /// Bytes, and alignment, of a second-level page.
    pub const PAGE_BYTES: u64 = PAGE;

    /// A table at `base` for streams of `bits`.
    pub const fn new(base: u64, bits: u8, shape: Shape) -> Self {
        StreamTable { base, bits, shape }
    }

    /// Bytes of the linear table or of the first level, and so its alignment (64 at least).
    pub const fn bytes(bits: u8, two_level: bool) -> u64 {
        let size = if two_level {
            8 << bits.saturating_sub(SPLIT)
        } else {
            BYTES << bits
        };
        if size < 64 { 64 } else { size }
    }

    /// Is the table aligned as the SMMU, which ignores the bits below, demands (6.3.24), and of a
    /// form that it reads?
    ///
    /// An SMMU without two levels ignores `FMT` and takes a first level for entries: a descriptor
    /// with this span is then a *valid bypass*.
    pub(super) fn suits(&self, caps: &Capabilities) -> bool {
        let two_level = self.shape != Shape::Linear;
        let size = Self::bytes(self.bits, two_level);
        let shape = match self.shape {
            Shape::Linear => true,
            Shape::TwoLevel { shared } => caps.two_level && is_page(shared, caps),
        };
        shape
            && self.bits <= caps.stream_bits
            && self.base.is_multiple_of(size)
            && caps.output.holds(self.base + (size - 1))
    }

    /// Does the table have an entry for the stream?
    pub const fn contains(&self, stream: StreamId) -> bool {
        (stream.0 as u64) >> self.bits == 0
    }

    /// Writes the same entry for all streams. Only while the SMMU does not read the table.
    pub(super) fn fill<H: Hardware>(&self, hw: &H, entry: &[u64; WORDS]) {
        let (at, streams) = match self.shape {
            Shape::Linear => (self.base, 1 << self.bits),
            Shape::TwoLevel { shared } => {
                for n in 0..1u64 << self.bits.saturating_sub(SPLIT) {
                    hw.store(self.base + n * 8, shared | SPAN);
                }
                (shared, 1 << SPLIT)
            }
        };
        for n in 0..streams {
            write(hw, at + n * BYTES, entry);
        }
        // In memory long before `SMMUEN`: a sync lies in between. Said here all the same.
        hw.order();
    }

    /// `STRTAB_BASE` (6.3.24).
    pub(super) const fn base(&self) -> u64 {
        self.base | register::BASE_ALLOCATE
    }

    /// `STRTAB_BASE_CFG` (6.3.25).
    pub(super) const fn config(&self) -> u32 {
        match self.shape {
            Shape::Linear => self.bits as u32,
            Shape::TwoLevel { .. } => {
                register::STRTAB_TWO_LEVEL | (SPLIT as u32) << 6 | self.bits as u32
            }
        }
    }

    /// Where the stream's entry is; the table contains the stream.
    pub(super) fn find<H: Hardware>(&self, hw: &H, stream: StreamId) -> Slot {
        let n = u64::from(stream.0);
        match self.shape {
            Shape::Linear => Slot::Own(self.base + n * BYTES),
            Shape::TwoLevel { shared } => {
                let descriptor = self.base + (n >> SPLIT) * 8;
                let page = hw.load(descriptor) & POINTER;
                if page == shared {
                    Slot::Shared { descriptor }
                } else {
                    Slot::Own(page + (n % (1 << SPLIT)) * BYTES)
                }
            }
        }
    }

    /// Points a descriptor at a page of its own, which says what the shared one says. The caller
    /// invalidates the configuration of all streams below and waits.
    pub(super) fn separate<H: Hardware>(&self, hw: &H, descriptor: u64, page: u64) {
        if let Shape::TwoLevel { shared } = self.shape {
            for at in (0..PAGE).step_by(8) {
                hw.store(page + at, hw.load(shared + at));
            }
            // Complete before it is reachable.
            hw.order();
            hw.store(descriptor, page | SPAN);
        }
    }
}

/// Can a descriptor name this page, and the SMMU read all of it?
pub(super) fn is_page(page: u64, caps: &Capabilities) -> bool {
    page.is_multiple_of(PAGE) && page & !POINTER == 0 && caps.output.holds(page)
}

/// Writes an entry that the SMMU holds for invalid, or cannot reach: all but the valid bit.
pub(super) fn prepare<H: Hardware>(hw: &H, at: u64, entry: &[u64; WORDS]) {
    hw.store(at, entry[0] & !VALID);
    for (n, word) in (0u64..).zip(entry).skip(1) {
        hw.store(at + n * 8, *word);
    }
}

fn write<H: Hardware>(hw: &H, at: u64, entry: &[u64; WORDS]) {
    prepare(hw, at, entry);
    hw.store(at, entry[0]);
}
