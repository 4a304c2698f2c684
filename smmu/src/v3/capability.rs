//! What Ward needs of an SMMUv3, and what it may use.

use super::{Hardware, register};
use crate::ident::{AddressBits, Identification, Idr0, Idr1, Idr3, Idr5};
use crate::ident::{Replacement, StallModel, Unknown};
use core::fmt;

/// An SMMU that Ward can drive, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// Width of a VMID: 8 or 16 bits.
    pub vmid_bits: u8,
    /// Width of a physical address.
    pub output: AddressBits,
    /// One command invalidates a range.
    pub range: bool,
    /// Whether leaves can be split and merged under running DMA.
    pub replacement: Replacement,
    /// Reads tables and queues through the CPUs' caches.
    pub coherent: bool,
    /// Has stream tables of two levels.
    pub two_level: bool,
    /// Devices could ask for translations by ATS; `CR0.ATSCHK` has to be set.
    pub ats: bool,
    /// Has TLB entries for EL2, which may have to be invalidated at the start.
    pub hypervisor: bool,
    /// Width of a stream's identifier.
    pub stream_bits: u8,
    /// log2 of the most entries of the command queue.
    pub command_order: u8,
    /// log2 of the most entries of the event queue.
    pub event_order: u8,
}

/// Why Ward can't drive an SMMU. Its streams abort for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// A register holds a value that the architecture reserves.
    Reserved(Unknown),
    /// Without stage 2 a stream cannot be confined.
    NoStage2,
    /// Does not read 64-bit, little-endian tables of 4 KiB pages.
    Tables,
    /// Holds every faulting access until software answers: a host could fill it up.
    AlwaysStalls,
    /// Stream table or queues have addresses fixed by hardware, in memory that Ward does not know.
    Preset,
    /// A command queue of less than 16 entries, or an event queue of less than 2.
    SmallQueues,
}

impl Capabilities {
    /// Reads the identification registers.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn read<H: Hardware>(hw: &H) -> Result<Self, Unfit> {
        let ident = Identification::decode(
            Idr0(hw.read32(register::IDR0)),
            Idr1(hw.read32(register::IDR1)),
            Idr3(hw.read32(register::IDR3)),
            Idr5(hw.read32(register::IDR5)),
        )
        .map_err(Unfit::Reserved)?;
        Self::of(&ident)
    }

    /// What of an SMMU Ward may use.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn of(ident: &Identification) -> Result<Self, Unfit> {
        let command_order = ident.command_queue.entries().ilog2() as u8;
        let event_order = ident.event_queue.entries().ilog2() as u8;
        if !ident.stage2 {
            return Err(Unfit::NoStage2);
        }
        if !ident.table_format.has_aarch64() || !ident.granule_4k || !ident.little_endian {
            return Err(Unfit::Tables);
        }
        if ident.stall == StallModel::Always {
            return Err(Unfit::AlwaysStalls);
        }
        if ident.tables_preset || ident.queues_preset {
            return Err(Unfit::Preset);
        }
        if command_order < 4 || event_order < 1 {
            return Err(Unfit::SmallQueues);
        }
        Ok(Capabilities {
            vmid_bits: if ident.vmid16 { 16 } else { 8 },
            output: ident.output_address,
            range: ident.range_invalidation,
            replacement: ident.replacement,
            coherent: ident.coherent,
            two_level: ident.two_level_stream_table,
            ats: ident.ats,
            hypervisor: ident.hypervisor_contexts,
            stream_bits: ident.stream_id.bits() as u8,
            command_order,
            event_order,
        })
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Reserved(unknown) => unknown.fmt(f),
            Unfit::NoStage2 => f.write_str("it has no stage 2"),
            Unfit::Tables => f.write_str("it does not read 64-bit tables of 4 KiB pages"),
            Unfit::AlwaysStalls => f.write_str("it stalls every access that faults"),
            Unfit::Preset => f.write_str("its tables or queues are at fixed addresses"),
            Unfit::SmallQueues => f.write_str("its queues are too small"),
        }
    }
}

impl core::error::Error for Unfit {}
