//! What an SMMUv3 can do, as `SMMU_IDR0`, `SMMU_IDR1`, `SMMU_IDR3` and `SMMU_IDR5` say (IHI 0070, 6.3).
//!
//! Rule: a reserved value is an error, never a guess. Whoever builds tables for a device from a
//! misread size would build them wrong, and a wrong table is a hole in the wall.

mod field;

pub use field::{
    AddressBits, Httu, IdBits, Idr0, Idr1, Idr3, Idr5, QueueOrder, Replacement, StallModel,
    TableFormat, Unknown,
};
use field::{bit, bits};

/// What one SMMUv3 can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identification {
    /// `S1P`: translates stage 1 (what the owner of a device sets up).
    pub stage1: bool,
    /// `S2P`: translates stage 2 (what Ward sets up). Without it a stream cannot be confined
    /// while its owner also uses stage 1.
    pub stage2: bool,
    /// `TTF`: formats of translation tables.
    pub table_format: TableFormat,
    /// `COHACC`: reads tables and queues coherently with the CPUs' caches. Without it every
    /// change of a table must be cleaned to memory.
    pub coherent: bool,
    /// `BTM`: takes part in the CPUs' broadcast TLB maintenance.
    pub broadcast_maintenance: bool,
    /// `HTTU`: updates of flags in tables by hardware.
    pub hardware_update: Httu,
    /// `TTENDIAN`: reads translation tables that are little-endian, as Ward's are.
    pub little_endian: bool,
    /// `HYP`: has contexts for EL2.
    pub hypervisor_contexts: bool,
    /// `ATS`: devices may ask for translations and then use physical addresses by themselves.
    pub ats: bool,
    /// `PRI`: devices may ask for pages to be made present.
    pub pri: bool,
    /// `ASID16`: stage-1 address spaces have 16-bit identifiers, else 8-bit.
    pub asid16: bool,
    /// `VMID16`: VMs have 16-bit identifiers, else 8-bit.
    pub vmid16: bool,
    /// `MSI`: signals its own events by message.
    pub msi: bool,
    /// `STALL_MODEL`: what happens to an access that faults.
    pub stall: StallModel,
    /// `ST_LEVEL`: has stream tables of two levels, else linear ones only.
    pub two_level_stream_table: bool,
    /// `CD2L`: has tables of context descriptors of two levels, else linear ones only.
    pub two_level_context_table: bool,
    /// `SIDSIZE`: how wide a stream's identifier is.
    pub stream_id: IdBits,
    /// `SSIDSIZE`: how wide a substream's identifier is; 0 bits when there are no substreams.
    pub substream_id: IdBits,
    /// `CMDQS`: the largest command queue.
    pub command_queue: QueueOrder,
    /// `EVENTQS`: the largest event queue.
    pub event_queue: QueueOrder,
    /// `PRIQS`: the largest queue of page requests; means nothing without [`pri`](Self::pri).
    pub page_request_queue: QueueOrder,
    /// `TABLES_PRESET`: the stream table's address is fixed by hardware.
    pub tables_preset: bool,
    /// `QUEUES_PRESET`: the queues' addresses are fixed by hardware.
    pub queues_preset: bool,
    /// `REL`: those fixed addresses count from the base of the SMMU's registers.
    pub preset_relative: bool,
    /// `RIL`: one TLB invalidation can name a range of addresses and a level.
    pub range_invalidation: bool,
    /// `BBML`: how one valid descriptor becomes another of a different size.
    pub replacement: Replacement,
    /// `OAS`: how wide a physical address may be.
    pub output_address: AddressBits,
    /// `VAX`: how wide a virtual address may be in stage 1.
    pub virtual_address: AddressBits,
    /// `GRAN4K`: has pages of 4 KiB.
    pub granule_4k: bool,
    /// `GRAN16K`: has pages of 16 KiB.
    pub granule_16k: bool,
    /// `GRAN64K`: has pages of 64 KiB.
    pub granule_64k: bool,
    /// `STALL_MAX`: how many accesses may wait for an answer at once.
    pub max_stalled: u16,
}

impl Identification {
    /// Decodes the values of the four registers.
    ///
    /// # Errors
    ///
    /// Names the field that holds a value which the architecture reserves.
    pub fn decode(idr0: Idr0, idr1: Idr1, idr3: Idr3, idr5: Idr5) -> Result<Self, Unknown> {
        let (Idr0(r0), Idr1(r1), Idr3(r3), Idr5(r5)) = (idr0, idr1, idr3, idr5);
        Ok(Identification {
            stage2: bit(r0, 0),
            stage1: bit(r0, 1),
            table_format: match bits(r0, 3, 2) {
                0 => TableFormat::None,
                1 => TableFormat::Aarch32,
                2 => TableFormat::Aarch64,
                _ => TableFormat::Both,
            },
            coherent: bit(r0, 4),
            broadcast_maintenance: bit(r0, 5),
            hardware_update: match bits(r0, 7, 6) {
                0 => Httu::None,
                1 => Httu::Access,
                2 => Httu::AccessAndDirty,
                _ => Httu::AccessDirtyTable,
            },
            little_endian: match bits(r0, 22, 21) {
                0 | 2 => true,
                3 => false,
                value => return Err(Unknown::new("SMMU_IDR0.TTENDIAN", value)),
            },
            hypervisor_contexts: bit(r0, 9),
            ats: bit(r0, 10),
            asid16: bit(r0, 12),
            msi: bit(r0, 13),
            pri: bit(r0, 16),
            vmid16: bit(r0, 18),
            two_level_context_table: bit(r0, 19),
            stall: match bits(r0, 25, 24) {
                0 => StallModel::Either,
                1 => StallModel::Never,
                2 => StallModel::Always,
                value => return Err(Unknown::new("SMMU_IDR0.STALL_MODEL", value)),
            },
            two_level_stream_table: match bits(r0, 28, 27) {
                0 => false,
                1 => true,
                value => return Err(Unknown::new("SMMU_IDR0.ST_LEVEL", value)),
            },
            stream_id: IdBits::new("SMMU_IDR1.SIDSIZE", bits(r1, 5, 0), 32)?,
            substream_id: IdBits::new("SMMU_IDR1.SSIDSIZE", bits(r1, 10, 6), 20)?,
            page_request_queue: QueueOrder::new("SMMU_IDR1.PRIQS", bits(r1, 15, 11))?,
            event_queue: QueueOrder::new("SMMU_IDR1.EVENTQS", bits(r1, 20, 16))?,
            command_queue: QueueOrder::new("SMMU_IDR1.CMDQS", bits(r1, 25, 21))?,
            preset_relative: bit(r1, 28),
            queues_preset: bit(r1, 29),
            tables_preset: bit(r1, 30),
            range_invalidation: bit(r3, 10),
            replacement: match bits(r3, 12, 11) {
                0 => Replacement::BreakFirst,
                1 => Replacement::MayAbort,
                2 => Replacement::InPlace,
                value => return Err(Unknown::new("SMMU_IDR3.BBML", value)),
            },
            output_address: AddressBits::of_oas(bits(r5, 2, 0))?,
            granule_4k: bit(r5, 4),
            granule_16k: bit(r5, 5),
            granule_64k: bit(r5, 6),
            virtual_address: AddressBits::of_vax(bits(r5, 11, 10))?,
            max_stalled: bits(r5, 31, 16) as u16,
        })
    }
}

#[cfg(test)]
mod tests;
