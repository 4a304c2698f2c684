//! A context bank of stage 2: what its registers say.

use super::register;
use crate::ident::AddressBits;
use crate::walk::{TooNarrow, Walk};

/// `TCR` of stage 2: bit 31 is RES1.
const RES1: u32 = 1 << 31;
/// `IRGN0`, `ORGN0`, `SH0`: inner shareable, write-back.
const CACHED: u32 = 0b11_01_01 << 8;
/// The same: outer shareable, not cached.
const UNCACHED: u32 = 0b10_00_00 << 8;

/// A stage-2 table as one SMMUv2 reads it. Its VMID is the bank's: number and 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stage2 {
    walk: Walk,
    coherent: bool,
}

impl Stage2 {
    /// How an SMMU with `output` bits of physical address reads a table that the CPU reads with
    /// `table_bits` of IPA from `start_level` on.
    ///
    /// # Errors
    /// [`TooNarrow`] where it can't, or where the root is beyond the SMMU's addresses or not
    /// aligned to its size.
    pub fn new(
        root: u64,
        table_bits: u8,
        start_level: u8,
        output: AddressBits,
        coherent: bool,
    ) -> Result<Self, TooNarrow> {
        let walk = Walk::new(root, table_bits, start_level, output)?;
        Ok(Stage2 { walk, coherent })
    }

    /// `TTBR0`: the root.
    pub const fn root(&self) -> u64 {
        self.walk.root
    }

    /// `TCR`: `T0SZ` 5:0, `SL0` 7:6, attributes of walks 13:8, `TG0` 15:14 (0: 4 KiB), `PS` 18:16.
    pub const fn control(&self) -> u32 {
        let attributes = if self.coherent { CACHED } else { UNCACHED };
        let shape = self.walk.size() | self.walk.start() << 6 | self.walk.output_size() << 16;
        RES1 | attributes | shape as u32
    }

    /// `CBAR`: stage 2 alone (type 0), and the VMID.
    pub const fn attributes(bank: u8) -> u32 {
        vmid(bank)
    }

    /// `CBA2R`: 64-bit tables.
    pub const fn attributes2() -> u32 {
        register::CBA2R_VA64
    }
}

/// The VMID of a bank: no two share one, and 8 bits hold them all.
pub(super) const fn vmid(bank: u8) -> u32 {
    bank as u32 + 1
}
