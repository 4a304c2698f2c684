//! How an SMMU of any kind walks a stage-2 table of the CPU's.

use crate::ident::AddressBits;

/// An SMMU has too few address bits for a table of this shape, or would misread its root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooNarrow;

/// A stage-2 table of 4 KiB granules, and how many address bits of it an SMMU walks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Walk {
    pub(crate) root: u64,
    pub(crate) bits: u8,
    pub(crate) start_level: u8,
}

impl Walk {
    /// How an SMMU with `output` bits of physical address reads a table that the CPU reads with
    /// `table_bits` of IPA from `start_level` on.
    ///
    /// Where the SMMU is narrower it walks the same table with a smaller `T0SZ`: the entries for
    /// addresses that it cannot send are then out of its reach, and an access there faults. That
    /// works as long as the start level resolves a bit at least: from level 0 on that is 40 bits
    /// (DDI 0487, D8.2, stage-2 start levels of the 4 KiB granule).
    pub(crate) fn new(
        root: u64,
        table_bits: u8,
        start_level: u8,
        output: AddressBits,
    ) -> Result<Self, TooNarrow> {
        let bits = table_bits.min(output.bits() as u8);
        let fits = match start_level {
            0 => (40..=48).contains(&bits),
            1 => (31..=43).contains(&bits),
            _ => false,
        };
        let walk = Walk {
            root,
            bits,
            start_level,
        };
        if fits && output.holds(root) && root.is_multiple_of(walk.root_bytes()) {
            Ok(walk)
        } else {
            Err(TooNarrow)
        }
    }

    /// Size of the root, of up to 16 pages side by side, and so its alignment: the SMMU ignores
    /// the address bits below it.
    const fn root_bytes(&self) -> u64 {
        let resolved = self.bits - (39 - 9 * self.start_level);
        let entries = if resolved < 9 { 9 } else { resolved };
        8 << entries
    }

    /// `T0SZ`.
    pub(crate) const fn size(&self) -> u64 {
        64 - self.bits as u64
    }

    /// `SL0`: 0b10 starts at level 0, 0b01 at level 1.
    pub(crate) const fn start(&self) -> u64 {
        2 - self.start_level as u64
    }

    /// `PS`: a table of `bits` never names a frame beyond them, so no more are let through.
    pub(crate) const fn output_size(&self) -> u64 {
        match self.bits {
            ..=32 => 0,
            33..=36 => 1,
            37..=40 => 2,
            41..=42 => 3,
            43..=44 => 4,
            _ => 5,
        }
    }
}
