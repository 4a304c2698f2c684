//! What an SMMUv2 is: its sizes, and what of it the host is told.

use super::{Hardware, register};
use crate::ident::{AddressBits, Unknown};
use core::fmt;

/// Most groups and most banks that the architecture has.
pub(super) const MOST: usize = 128;

/// The sizes of one SMMUv2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// `NUMSMRG`: stream match groups.
    pub groups: u8,
    /// `NUMCB`: context banks.
    pub banks: u8,
    /// `NUMSIDB`: width of a stream's identifier, 15 at most.
    pub stream_bits: u8,
    /// `OAS` or `IAS`, the narrower: width of an address that stage 2 takes and gives.
    pub output: AddressBits,
    /// `CTTW`: reads tables through the CPUs' caches.
    pub coherent: bool,
    /// `PAGESIZE`: log2 of a page of registers, 12 or 16.
    pub page_shift: u8,
    /// `NUMPAGENDXB`: pages of global registers; as many for context banks follow.
    pub pages: u32,
}

/// Why Ward can't drive an SMMU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// A register holds a value that the architecture reserves.
    Reserved(Unknown),
    /// Without stage 2 a stream cannot be confined.
    NoStage2,
    /// Does not read 64-bit tables of 4 KiB pages.
    Tables,
    /// Streams are numbers of groups, not matched: a stream can't be kept from a group's owner.
    Indexed,
    /// No groups, no banks, or more banks than pages for them.
    Sizes,
}

impl Shape {
    /// Reads the identification registers.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn read<H: Hardware>(hw: &H) -> Result<Self, Unfit> {
        let ids = [register::IDR0, register::IDR1, register::IDR2];
        Self::decode(ids.map(|offset| hw.read32(offset)))
    }

    /// What `IDR0` to `IDR2` say.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn decode([idr0, idr1, idr2]: [u32; 3]) -> Result<Self, Unfit> {
        let bit = |word: u32, at: u32| word >> at & 1 == 1;
        if !bit(idr0, 29) {
            return Err(Unfit::NoStage2);
        }
        if !bit(idr2, 12) {
            return Err(Unfit::Tables);
        }
        if !bit(idr0, 27) {
            return Err(Unfit::Indexed);
        }
        let (groups, banks) = (idr0 as u8, idr1 as u8);
        let pages = 2 << (idr1 >> 28 & 7);
        let most = MOST as u8;
        if !(1..=most).contains(&groups)
            || !(1..=most).contains(&banks)
            || u32::from(banks) > pages
            || pages < 4
        {
            return Err(Unfit::Sizes);
        }
        let width = |at: u32| AddressBits::of_v2(idr2 >> at & 15).map_err(Unfit::Reserved);
        Ok(Shape {
            groups,
            banks,
            stream_bits: (idr0 >> 9 & 15) as u8,
            output: width(4)?.min(width(0)?),
            coherent: bit(idr0, 14),
            page_shift: if bit(idr1, 31) { 16 } else { 12 },
            pages,
        })
    }

    /// Bytes of all registers.
    pub const fn bytes(&self) -> u64 {
        (2 * self.pages as u64) << self.page_shift
    }

    /// A register of the second global page.
    pub(super) const fn global1(&self, register: u32) -> u32 {
        (1 << self.page_shift) + register
    }

    /// A register of a context bank.
    pub(super) const fn bank(&self, bank: u8, register: u32) -> u32 {
        ((self.pages + bank as u32) << self.page_shift) + register
    }

    /// The bits of a stream's identifier.
    pub(super) const fn streams(&self) -> u32 {
        (1 << self.stream_bits) - 1
    }
}

/// What the host reads of an identification register: what Ward lets it use, and no more.
pub(super) fn shown(number: u32, value: u32, groups: u8, banks: u8) -> u32 {
    match number {
        // No second security state (SES), stage 1 (S1TS), nesting (NTS), address translation
        // (ATOSNS says so by 1), AArch32 (PTFS is 0b10), more groups (EXSMRGS), broadcast
        // maintenance (BTM), wider streams (EXIDS).
        0 => {
            let hidden = 0xd300_a1ff;
            value & !hidden | 1 << 26 | 1 << 25 | u32::from(groups)
        }
        // No update of flags in tables (HAFDBS).
        1 => {
            let stage2 = (value >> 16 & 0xff).min(banks.into());
            value & !0x03ff_00ff | stage2 << 16 | u32::from(banks)
        }
        // 8-bit VMIDs, pages of 4 KiB.
        2 => value & !0xe000,
        7 => value,
        _ => 0,
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Reserved(unknown) => unknown.fmt(f),
            Unfit::NoStage2 => f.write_str("it has no stage 2"),
            Unfit::Tables => f.write_str("it does not read 64-bit tables of 4 KiB pages"),
            Unfit::Indexed => f.write_str("it does not match streams"),
            Unfit::Sizes => f.write_str("its numbers of groups, banks and pages do not agree"),
        }
    }
}

impl core::error::Error for Unfit {}
