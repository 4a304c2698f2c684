//! One descriptor: what its 64 bits say (DDI 0487 D8.3, VMSAv8-64 descriptor formats, stage 2).
//!
//! | bits | leaf | value |
//! |---|---|---|
//! | 0 | valid | decides alone |
//! | 1 | page at level 3, table at levels 0 to 2; 0 is a block at levels 1 and 2 | |
//! | 5:2 | MemAttr, FEAT_S2FWB off | 0b1111 Normal write-back, 0b0101 Normal non-cacheable, 0b0001 Device-nGnRE |
//! | 7:6 | S2AP | 0b01 read, 0b11 read and write |
//! | 9:8 | SH | 0b11 inner shareable |
//! | 10 | AF | 0: the next access faults, or hardware sets it |
//! | 47:12 | output address | |
//! | 54:53 | XN; 53 stays 0, so FEAT_XNX reads the same | 0b10 no execution at EL1 and EL0 |
//!
//! An invalid descriptor of level 3 may carry a [`Note`] in bits 9:2; walkers ignore them.

use crate::addr::{PAGE_SHIFT, Pfn, Size};

const VALID: u64 = 1;
const TABLE_OR_PAGE: u64 = 1 << 1;
const TYPE: u64 = 0b11;
const MEMATTR: u64 = 0b1111 << 2;
const NORMAL_WB: u64 = 0b1111 << 2;
const NORMAL_NC: u64 = 0b0101 << 2;
const DEVICE_NGNRE: u64 = 0b0001 << 2;
const READ: u64 = 1 << 6;
const WRITE: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 0b11 << 8;
const ACCESSED: u64 = 1 << 10;
const ADDRESS: u64 = (1 << 48) - (1 << PAGE_SHIFT);
const NO_EXECUTE: u64 = 1 << 54;
const NOTE_SHIFT: u32 = 2;

/// The memory type a leaf gives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MemoryKind {
    /// Normal, inner and outer write-back; stage 1 may weaken it.
    Normal,
    /// Device-nGnRE.
    Device,
    /// Device memory as Normal, inner and outer non-cacheable; stage 1 may weaken it.
    WriteCombining,
}

/// What a leaf allows. Reading is always allowed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Attrs {
    /// Memory type.
    pub kind: MemoryKind,
    /// Writes are allowed.
    pub write: bool,
    /// Instruction fetch is allowed, at EL1 and EL0.
    pub execute: bool,
}

/// A translation of one size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// First frame, aligned to the size.
    pub frame: Pfn,
    /// Size.
    pub size: Size,
    /// What it allows.
    pub attrs: Attrs,
    /// The access flag: set on map, by hardware, or by [`Stage2::set_accessed`](super::Stage2).
    pub accessed: bool,
}

/// A mark on a page that is not mapped. 0 is none. The holder of the table gives the others a
/// meaning (a guest's MMIO guard); a marked page cannot be mapped until the mark is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Note(pub u8);

impl Note {
    /// No mark.
    pub const NONE: Note = Note(0);

    pub(super) const fn encode(self) -> u64 {
        (self.0 as u64) << NOTE_SHIFT
    }
}

impl Leaf {
    pub(super) const fn encode(self) -> u64 {
        let mut raw = self.frame.pa();
        raw |= VALID;
        raw |= match self.attrs.kind {
            MemoryKind::Normal => NORMAL_WB,
            MemoryKind::Device => DEVICE_NGNRE,
            MemoryKind::WriteCombining => NORMAL_NC,
        };
        raw |= READ;
        raw |= INNER_SHAREABLE;
        if matches!(self.size, Size::Page) {
            raw |= TABLE_OR_PAGE;
        }
        if self.attrs.write {
            raw |= WRITE;
        }
        if self.accessed {
            raw |= ACCESSED;
        }
        if !self.attrs.execute {
            raw |= NO_EXECUTE;
        }
        raw
    }

    /// The part of this leaf that begins `frames` into it.
    pub(super) const fn part(self, frames: u64, size: Size) -> Leaf {
        Leaf {
            frame: self.frame.add(frames),
            size,
            ..self
        }
    }
}

/// A descriptor, read at its level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    Invalid(Note),
    Table(Pfn),
    Leaf(Leaf),
}

impl Entry {
    pub(super) const fn table(table: Pfn) -> u64 {
        table.pa() | TYPE
    }

    /// The patterns that are reserved (block at level 0 or 3) are invalid to the walker too.
    pub(super) const fn decode(raw: u64, level: u8) -> Entry {
        let size = match (raw & TYPE, level) {
            (0b11, 0..=2) => return Entry::Table(frame(raw)),
            (0b11, _) => Size::Page,
            (0b01, 2) => Size::Block2M,
            (0b01, 1) => Size::Block1G,
            _ => return Entry::Invalid(Note((raw >> NOTE_SHIFT) as u8)),
        };
        let attrs = Attrs {
            kind: match raw & MEMATTR {
                NORMAL_WB => MemoryKind::Normal,
                NORMAL_NC => MemoryKind::WriteCombining,
                _ => MemoryKind::Device,
            },
            write: raw & WRITE != 0,
            execute: raw & NO_EXECUTE == 0,
        };
        Entry::Leaf(Leaf {
            frame: frame(raw),
            size,
            attrs,
            accessed: raw & ACCESSED != 0,
        })
    }
}

const fn frame(raw: u64) -> Pfn {
    Pfn((raw & ADDRESS) >> PAGE_SHIFT)
}
