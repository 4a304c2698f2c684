//! One redistributor: the frame of its registers that names tables in memory (IHI 0069, 12.10).

use super::{Bus, frames, merge, part};
use hyp_core::memory::Range;

/// `GICR_CTLR`.
pub const CTLR: u64 = 0x0;
const IIDR: u64 = 0x4;
/// `GICR_TYPER`.
pub const TYPER: u64 = 0x8;
const STATUSR: u64 = 0x10;
const WAKER: u64 = 0x14;
const SETLPIR: u64 = 0x40;
const CLRLPIR: u64 = 0x48;
/// `GICR_PROPBASER`: priorities of LPIs, which it reads.
pub const PROPBASER: u64 = 0x70;
/// `GICR_PENDBASER`: which of them are pending, which it reads and writes.
pub const PENDBASER: u64 = 0x78;
const INVLPIR: u64 = 0xa0;
const INVALLR: u64 = 0xb0;
const SYNCR: u64 = 0xc0;
/// `GICR_IPRIORITYR` of the second frame, those of extended PPIs too.
const PRIORITIES: core::ops::Range<u64> = 0x400..0x460;
const ID: core::ops::Range<u64> = 0xffd0..0x1_0000;

const ENABLE_LPIS: u64 = 1;
/// `CTLR.RWP`: the last write is not yet in effect.
const RWP: u64 = 1 << 3;
/// `CTLR.DPG*`: for which interrupts this CPU is not chosen.
const CHOICE: u64 = 7 << 24;
/// LPIs begin at 8192: fewer bits than for that are no LPIs.
const FIRST_BITS: u64 = 14;

/// Is there a register for this access in the frame of SGIs and PPIs? All are of 4 bytes; their
/// priorities can be accessed by the byte (IHI 0069, 12.1.3). Anything else might be answered with an error,
/// which would be Ward's.
pub fn is_interrupt_access(offset: u64, size: u8) -> bool {
    match size {
        1 => PRIORITIES.contains(&offset),
        4 => offset.is_multiple_of(4),
        _ => false,
    }
}

/// One redistributor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Redistributor {
    /// `GICD_TYPER.IDbits`, plus one: wider tables are not used.
    id_bits: u64,
    /// The tables in use, pinned.
    tables: Option<[Range; 2]>,
}

impl Redistributor {
    /// Of an interrupt controller with so many bits of an interrupt's number.
    pub const fn new(id_bits: u64) -> Self {
        Redistributor {
            id_bits,
            tables: None,
        }
    }

    /// What the host reads. `offset` is in the first 64 KiB.
    pub fn read<B: Bus>(&self, bus: &B, offset: u64, size: u8) -> u64 {
        if !(size == 4 || size == 8) || !offset.is_multiple_of(size.into()) {
            return 0;
        }
        match (offset & !7, size) {
            (TYPER | PROPBASER | PENDBASER, _) => part(bus.read(offset & !7, 8), offset, size),
            _ if size == 4
                && (matches!(offset, CTLR | IIDR | STATUSR | WAKER | SYNCR)
                    || ID.contains(&offset)) =>
            {
                bus.read(offset, 4)
            }
            _ => 0,
        }
    }

    /// What the host writes.
    pub fn write<B: Bus>(&mut self, bus: &B, offset: u64, size: u8, value: u64) {
        if !(size == 4 || size == 8) || !offset.is_multiple_of(size.into()) {
            return;
        }
        match (offset & !7, size) {
            // While LPIs are on the tables are in use, and stay what was looked at.
            (PROPBASER | PENDBASER, _) if self.tables.is_some() => {}
            (PROPBASER | PENDBASER, _) if bus.read(CTLR, 4) & (ENABLE_LPIS | RWP) == 0 => {
                let at = offset & !7;
                bus.write(at, 8, merge(bus.read(at, 8), offset, size, value));
            }
            // Numbers of interrupts.
            (SETLPIR | CLRLPIR | INVLPIR | INVALLR, 8) => bus.write(offset, 8, value),
            (_, 4) if offset == CTLR => self.control(bus, value),
            (_, 4) if matches!(offset, STATUSR | WAKER) => bus.write(offset, 4, value),
            _ => {}
        }
    }

    fn control<B: Bus>(&mut self, bus: &B, value: u64) {
        let mut value = value & (ENABLE_LPIS | CHOICE);
        if value & ENABLE_LPIS != 0 && self.tables.is_none() {
            self.tables = self.pin(bus);
            if self.tables.is_none() {
                bus.refused("tables of message interrupts that are not in the host's memory");
                value &= !ENABLE_LPIS;
            }
        }
        bus.write(CTLR, 4, value);
        if value & ENABLE_LPIS == 0 && self.tables.is_some() {
            // Few can be switched off again; those that say so, and are quiet, use nothing.
            let quiet = bus.wait(&mut || bus.read(CTLR, 4) & RWP == 0);
            if quiet && bus.read(CTLR, 4) & ENABLE_LPIS == 0 {
                for range in self.tables.take().into_iter().flatten() {
                    bus.unpin(range);
                }
            }
        }
    }

    /// Pins the tables that the registers name.
    fn pin<B: Bus>(&self, bus: &B) -> Option<[Range; 2]> {
        let (priorities, pending) = (bus.read(PROPBASER, 8), bus.read(PENDBASER, 8));
        let bits = ((priorities & 0x1f) + 1).min(self.id_bits);
        if bits < FIRST_BITS {
            return None;
        }
        // A byte for each LPI, and a bit for each interrupt.
        let priorities = frames(priorities & 0x000f_ffff_ffff_f000, (1 << bits) - 8192)?;
        let pending = frames(pending & 0x000f_ffff_ffff_0000, (1 << bits) / 8)?;
        if !bus.pin(priorities) {
            return None;
        }
        if !bus.pin(pending) {
            bus.unpin(priorities);
            return None;
        }
        Some([priorities, pending])
    }
}
