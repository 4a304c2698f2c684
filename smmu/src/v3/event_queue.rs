//! The event queue (IHI 0070, 3.5 and 7.2): the SMMU writes, Ward reads.

use super::event::WORDS;
use super::{Event, Hardware, register};

/// Bytes of a record.
const BYTES: u64 = 32;
/// Bit 31 of `EVENTQ_PROD` (overflow) and of `EVENTQ_CONS` (overflow acknowledged).
const OVERFLOW: u32 = 1 << 31;

/// An event queue.
#[derive(Debug)]
pub struct EventQueue {
    base: u64,
    order: u8,
    /// As `EVENTQ_CONS` says.
    cons: u32,
}

/// What a look at the queue found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Polled {
    /// A record.
    Event(Event),
    /// The queue was full for a while: others are missing after those read so far.
    Overflow,
}

impl EventQueue {
    /// A queue of `1 << order` records at `base`, aligned to its size.
    pub const fn new(base: u64, order: u8) -> Self {
        EventQueue {
            base,
            order,
            cons: 0,
        }
    }

    /// Bytes of a queue, and so its alignment.
    pub const fn bytes(order: u8) -> u64 {
        BYTES << order
    }

    /// `EVENTQ_BASE` (6.3.29).
    pub(super) const fn base(&self) -> u64 {
        register::BASE_ALLOCATE | self.base | self.order as u64
    }

    /// Empties the queue: after a write to it aborted, no record in it can be believed (7.2.2).
    pub(super) fn discard<H: Hardware>(&mut self, hw: &H) {
        self.cons = hw.read32(register::EVENTQ_PROD);
        hw.write32(register::EVENTQ_CONS, self.cons);
    }

    /// The next record, and its place is the SMMU's again. Overflow is told once, when the
    /// records from before it have been read.
    pub fn poll<H: Hardware>(&mut self, hw: &H) -> Option<Polled> {
        let prod = hw.read32(register::EVENTQ_PROD);
        let mask = (2 << self.order) - 1;
        if (prod ^ self.cons) & mask == 0 {
            if (prod ^ self.cons) & OVERFLOW == 0 {
                return None;
            }
            self.cons ^= OVERFLOW;
            hw.write32(register::EVENTQ_CONS, self.cons);
            return Some(Polled::Overflow);
        }
        // The record is read after the counter that says it is there.
        hw.order();
        let at = self.base + u64::from(self.cons & (mask >> 1)) * BYTES;
        let mut words = [0; WORDS];
        for (n, word) in (0u64..).zip(&mut words) {
            *word = hw.load(at + n * 8);
        }
        // And before its place is given back.
        hw.order();
        self.cons = (self.cons & OVERFLOW) | (self.cons.wrapping_add(1) & mask);
        hw.write32(register::EVENTQ_CONS, self.cons);
        Some(Polled::Event(Event::decode(words)))
    }
}
