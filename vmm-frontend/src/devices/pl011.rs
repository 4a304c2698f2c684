//! The guest's console: a PL011 UART (Arm DDI 0183).
//!
//! What the guest sends goes out at once, so its transmitter is always ready. What it is to
//! receive waits in a queue that the guest sees 16 bytes of. Baud rate, parity and modem lines are
//! registers without effect.

use super::{Level, give, primecell, take};
use crate::bus::{Line, MmioDevice};
use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;

#[cfg(test)]
mod tests;

const DR: u64 = 0x00;
const FR: u64 = 0x18;
const ILPR: u64 = 0x20;
const IBRD: u64 = 0x24;
const FBRD: u64 = 0x28;
const LCRH: u64 = 0x2c;
const CR: u64 = 0x30;
const IFLS: u64 = 0x34;
const IMSC: u64 = 0x38;
const RIS: u64 = 0x3c;
const MIS: u64 = 0x40;
const ICR: u64 = 0x44;
const DMACR: u64 = 0x48;

/// FR: the receiver is empty, full; the transmitter is empty.
const RXFE: u32 = 1 << 4;
const RXFF: u32 = 1 << 6;
const TXFE: u32 = 1 << 7;
/// LCRH: more than one byte is kept.
const FEN: u32 = 1 << 4;
/// CR: on, loops back, receives.
const UARTEN: u32 = 1;
const LBE: u32 = 1 << 7;
const RXE: u32 = 1 << 9;
/// Interrupts: received enough, sent, received some (timeout).
const RX: u32 = 1 << 4;
const TX: u32 = 1 << 5;
const RT: u32 = 1 << 6;
const INTERRUPTS: u32 = 0x7ff;

/// Bytes the guest sees, and bytes that wait for it: a paste of some pages, no more.
const FIFO: usize = 16;
const WAITING: usize = 16 << 10;

/// A PL011, revision r1p4.
pub struct Pl011 {
    output: Box<dyn Write + Send>,
    level: Level,
    input: VecDeque<u8>,
    /// Bytes sent since the transmit interrupt was cleared.
    sent: bool,
    /// Registers that are only kept: ILPR, IBRD, FBRD, IFLS, DMACR.
    kept: [u32; 5],
    line_control: u32,
    control: u32,
    mask: u32,
}

impl Pl011 {
    /// A console that writes to `output`, whose errors it ignores: a guest goes on when its
    /// terminal is gone.
    pub fn new(output: Box<dyn Write + Send>, line: Arc<dyn Line>) -> Self {
        Pl011 {
            output,
            level: Level::new(line),
            input: VecDeque::new(),
            sent: false,
            kept: [0, 0, 0, 0x12, 0],
            line_control: 0,
            // Transmitter and receiver on, the UART off: the state after reset.
            control: RXE | 1 << 8,
            mask: 0,
        }
    }

    /// Types `bytes`; returns how many there was room for.
    pub fn input(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        self.input.extend(&bytes[..taken]);
        self.update();
        taken
    }

    /// Bytes that can be typed now.
    pub fn room(&self) -> usize {
        WAITING - self.input.len().min(WAITING)
    }

    fn kept(&mut self, offset: u64) -> Option<&mut u32> {
        let index = match offset {
            ILPR => 0,
            IBRD => 1,
            FBRD => 2,
            IFLS => 3,
            DMACR => 4,
            _ => return None,
        };
        Some(&mut self.kept[index])
    }

    /// Whether the guest can see that something waits.
    fn receives(&self) -> bool {
        let on = UARTEN | RXE;
        self.control & on == on && !self.input.is_empty()
    }

    fn raw(&self) -> u32 {
        // The timeout is over at once, so each waiting byte raises both: there is no way to miss
        // one that came before the interrupt was cleared.
        let received = if self.receives() { RX | RT } else { 0 };
        received | if self.sent { TX } else { 0 }
    }

    fn update(&mut self) {
        let high = self.raw() & self.mask != 0;
        self.level.set(high);
    }

    fn send(&mut self, byte: u8) {
        if self.control & LBE != 0 {
            if self.input.len() < WAITING {
                self.input.push_back(byte);
            }
        } else {
            let _ = self.output.write_all(&[byte]);
            let _ = self.output.flush();
        }
        self.sent = true;
    }

    fn flags(&self) -> u32 {
        let depth = if self.line_control & FEN != 0 {
            FIFO
        } else {
            1
        };
        let receiver = match self.input.len() {
            _ if !self.receives() => RXFE,
            waiting if waiting >= depth => RXFF,
            _ => 0,
        };
        TXFE | receiver
    }
}

impl MmioDevice for Pl011 {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        let value = match offset {
            DR if self.receives() => {
                let byte = self.input.pop_front().unwrap_or(0);
                self.update();
                byte.into()
            }
            FR => self.flags(),
            LCRH => self.line_control,
            CR => self.control,
            IMSC => self.mask,
            RIS => self.raw(),
            MIS => self.raw() & self.mask,
            _ => match self.kept(offset) {
                Some(value) => *value,
                None => primecell(0x0014_1011, offset),
            },
        };
        give(value, data);
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let value = take(data);
        match offset {
            DR => self.send(value as u8),
            LCRH => self.line_control = value & 0xff,
            CR => self.control = value & 0xffff,
            IMSC => self.mask = value & INTERRUPTS,
            ICR if value & TX != 0 => self.sent = false,
            _ => {
                if let Some(kept) = self.kept(offset) {
                    *kept = value & 0xffff;
                }
            }
        }
        self.update();
    }
}
