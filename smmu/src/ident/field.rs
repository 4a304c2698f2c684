//! The registers and their fields as types, so that one cannot be taken for another.

use core::fmt;

/// Value of `SMMU_IDR0`, at offset 0x0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idr0(pub u32);

/// Value of `SMMU_IDR1`, at offset 0x4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idr1(pub u32);

/// Value of `SMMU_IDR3`, at offset 0xc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idr3(pub u32);

/// Value of `SMMU_IDR5`, at offset 0x14.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idr5(pub u32);

/// A field holds a value that the architecture reserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Register and field, such as `SMMU_IDR5.OAS`.
    pub field: &'static str,
    /// The value.
    pub value: u32,
}

impl Unknown {
    pub(crate) const fn new(field: &'static str, value: u32) -> Self {
        Unknown { field, value }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} holds the reserved value {:#x}",
            self.field, self.value
        )
    }
}

impl core::error::Error for Unknown {}

/// Formats of translation tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// Value 0, which has no meaning for an SMMU that translates.
    None,
    /// VMSAv8-32 LPAE only.
    Aarch32,
    /// VMSAv8-64 only.
    Aarch64,
    /// Both.
    Both,
}

impl TableFormat {
    /// Whether tables in the format of the CPU's 64-bit state, which Ward uses, are understood.
    pub fn has_aarch64(self) -> bool {
        matches!(self, TableFormat::Aarch64 | TableFormat::Both)
    }
}

/// Updates of flags in translation tables by hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Httu {
    /// None.
    None,
    /// The access flag.
    Access,
    /// The access flag and the dirty state.
    AccessAndDirty,
    /// Both, and the access flag of table descriptors.
    AccessDirtyTable,
}

/// What may happen to an access that faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StallModel {
    /// Each stream may be set to wait for software, or to have the access ended.
    Either,
    /// Every such access is ended.
    Never,
    /// Every such access waits for software.
    Always,
}

/// What may be done to a descriptor of another size than the one that is there, 3.21.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Replacement {
    /// Level 0: only through an invalid one, which aborts the accesses that meet it.
    BreakFirst,
    /// Level 1: in place, with a bit that says so set meanwhile.
    MayAbort,
    /// Level 2: in place.
    InPlace,
}

/// Width of a stream's or substream's identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdBits(u8);

impl IdBits {
    pub(super) fn new(field: &'static str, value: u32, most: u8) -> Result<Self, Unknown> {
        match u8::try_from(value) {
            Ok(bits) if bits <= most => Ok(IdBits(bits)),
            _ => Err(Unknown::new(field, value)),
        }
    }

    /// The width in bits.
    pub fn bits(self) -> u32 {
        u32::from(self.0)
    }

    /// How many identifiers there are.
    pub fn count(self) -> u64 {
        1 << self.0
    }
}

/// Size of a queue as a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueOrder(u8);

impl QueueOrder {
    /// The largest order that the architecture has.
    const MOST: u8 = 19;

    pub(super) fn new(field: &'static str, value: u32) -> Result<Self, Unknown> {
        match u8::try_from(value) {
            Ok(order) if order <= Self::MOST => Ok(QueueOrder(order)),
            _ => Err(Unknown::new(field, value)),
        }
    }

    /// How many entries the queue may have.
    pub fn entries(self) -> u32 {
        1 << self.0
    }
}

/// Width of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressBits(u8);

impl AddressBits {
    /// `OAS`; the value 7, 56 bits, needs 128-bit descriptors and is not taken.
    pub(super) fn of_oas(value: u32) -> Result<Self, Unknown> {
        const OAS: [u8; 7] = [32, 36, 40, 42, 44, 48, 52];
        let bits = OAS.get(value as usize).copied();
        bits.map(AddressBits)
            .ok_or(Unknown::new("SMMU_IDR5.OAS", value))
    }

    /// `SMMU_IDR2.OAS` and `IAS` of an SMMUv2: the same but for 52 bits.
    pub(crate) fn of_v2(value: u32) -> Result<Self, Unknown> {
        match value {
            0..=5 => Self::of_oas(value),
            _ => Err(Unknown::new("SMMU_IDR2.OAS or IAS", value)),
        }
    }

    /// `VAX`.
    pub(super) fn of_vax(value: u32) -> Result<Self, Unknown> {
        const VAX: [u8; 2] = [48, 52];
        let bits = VAX.get(value as usize).copied();
        bits.map(AddressBits)
            .ok_or(Unknown::new("SMMU_IDR5.VAX", value))
    }

    /// The width in bits.
    pub fn bits(self) -> u32 {
        u32::from(self.0)
    }

    /// Whether the address fits.
    pub fn holds(self, address: u64) -> bool {
        address >> self.0 == 0
    }
}

/// Bit `at` of a register.
pub(super) const fn bit(register: u32, at: u32) -> bool {
    register >> at & 1 == 1
}

/// Bits `high` down to `low` of a register, as the architecture writes a field.
pub(super) const fn bits(register: u32, high: u32, low: u32) -> u32 {
    register >> low & (u32::MAX >> (31 - (high - low)))
}
