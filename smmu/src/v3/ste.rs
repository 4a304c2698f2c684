//! One entry of the stream table: what a device may reach (IHI 0070, 5.2).
//!
//! | word | bits | field | value |
//! |---|---|---|---|
//! | 0 | 0 | V | the entry says something |
//! | 0 | 3:1 | Config | 0b000 abort in silence, 0b110 stage 2 alone |
//! | 1 | 29:28 | EATS | 0: no address translation service |
//! | 1 | 45:44 | SHCFG | 0b01: the device's own shareability |
//! | 2 | 15:0 | S2VMID | tag of TLB entries |
//! | 2 | 37:32, 39:38 | S2T0SZ, S2SL0 | as `VTCR_EL2` |
//! | 2 | 41:40, 43:42, 45:44 | S2IR0, S2OR0, S2SH0 | how the tables are read |
//! | 2 | 47:46 | S2TG | 0b00: 4 KiB |
//! | 2 | 50:48 | S2PS | width of output addresses |
//! | 2 | 51 | S2AA64 | 1 |
//! | 2 | 53 | S2AFFD | 1: the access flag does not fault; ownership does not hang on it |
//! | 2 | 54 | S2PTW | 1 |
//! | 2 | 57 | S2S | 0: a fault ends the access, it does not wait |
//! | 2 | 58 | S2R | 1: a fault is recorded |
//! | 3 | 51:4 | S2TTB | the root table |
//!
//! There is no encoding of bypass here, nor of stage 1 alone.

use super::Vmid;
use crate::ident::AddressBits;
use crate::walk::{TooNarrow, Walk};

/// Words of an entry.
pub(super) const WORDS: usize = 8;
/// Bytes of an entry.
pub(super) const BYTES: u64 = 64;

pub(super) const VALID: u64 = 1;
const STAGE2: u64 = 0b110 << 1;
const SHARE_INCOMING: u64 = 0b01 << 44;
const TABLES_CACHED: u64 = (0b11_01_01) << 40;
const TABLES_UNCACHED: u64 = (0b10_00_00) << 40;
const AARCH64: u64 = 1 << 51;
const NO_ACCESS_FAULT: u64 = 1 << 53;
const PROTECT_WALK: u64 = 1 << 54;
const RECORD: u64 = 1 << 58;

/// A stage-2 table as one SMMU reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stage2Config {
    vmid: Vmid,
    walk: Walk,
    coherent: bool,
}

impl Stage2Config {
    /// How an SMMU with `output` bits of physical address reads a table that the CPU reads with
    /// `table_bits` of IPA from `start_level` on.
    ///
    /// # Errors
    /// [`TooNarrow`] where it can't (see there), or where the root is beyond the SMMU's addresses or not
    /// aligned to its size.
    pub fn new(
        vmid: Vmid,
        root: u64,
        table_bits: u8,
        start_level: u8,
        output: AddressBits,
        coherent: bool,
    ) -> Result<Self, TooNarrow> {
        Ok(Stage2Config {
            vmid,
            walk: Walk::new(root, table_bits, start_level, output)?,
            coherent,
        })
    }

    /// Whose translations these are.
    pub const fn vmid(&self) -> Vmid {
        self.vmid
    }

    const fn word2(&self) -> u64 {
        let cached = if self.coherent {
            TABLES_CACHED
        } else {
            TABLES_UNCACHED
        };
        self.vmid.0 as u64
            | self.walk.size() << 32
            | self.walk.start() << 38
            | cached
            | self.walk.output_size() << 48
            | AARCH64
            | NO_ACCESS_FAULT
            | PROTECT_WALK
            | RECORD
    }
}

/// What a stream may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ste {
    /// Nothing; each try is an event (`C_BAD_STE`) that names the stream.
    Invalid,
    /// Nothing, in silence: for a device that would fill the event queue.
    Silent,
    /// Reach what a stage-2 table maps.
    Stage2(Stage2Config),
}

impl Ste {
    /// The entry's words.
    pub const fn encode(&self) -> [u64; WORDS] {
        match self {
            Ste::Invalid => [0; WORDS],
            Ste::Silent => [VALID, 0, 0, 0, 0, 0, 0, 0],
            Ste::Stage2(config) => [
                VALID | STAGE2,
                SHARE_INCOMING,
                config.word2(),
                config.walk.root,
                0,
                0,
                0,
                0,
            ],
        }
    }
}
