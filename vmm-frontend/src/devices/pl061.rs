//! General-purpose lines: a PL061 (Arm DDI 0190) whose inputs the VMM drives.

use super::{Level, give, primecell, take};
use crate::bus::{Line, MmioDevice};
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Data, for the lines that bits 9 to 2 of the address name.
const DATA_END: u64 = 0x3ff;
const DIR: u64 = 0x400;
const SENSE: u64 = 0x404;
const BOTH: u64 = 0x408;
const EVENT: u64 = 0x40c;
const ENABLE: u64 = 0x410;
const RAW: u64 = 0x414;
const MASKED: u64 = 0x418;
const CLEAR: u64 = 0x41c;
const FUNCTION: u64 = 0x420;

/// Eight lines, all inputs after reset. The guest's outputs go nowhere.
pub struct Pl061 {
    level: Level,
    /// What drives the lines: the VMM the inputs, the guest the outputs.
    inputs: u8,
    outputs: u8,
    direction: u8,
    /// Interrupts by level (else by edge), by both edges, by the high level or rising edge.
    sense: u8,
    both: u8,
    event: u8,
    enable: u8,
    function: u8,
    /// Edges seen and not cleared.
    edges: u8,
}

impl Pl061 {
    /// A controller with its interrupt.
    pub fn new(line: Arc<dyn Line>) -> Self {
        Pl061 {
            level: Level::new(line),
            inputs: 0,
            outputs: 0,
            direction: 0,
            sense: 0,
            both: 0,
            event: 0,
            enable: 0,
            function: 0,
            edges: 0,
        }
    }

    /// Drives input `line` (0 to 7).
    pub fn set(&mut self, line: u32, high: bool) {
        let bit = 1u8.checked_shl(line).unwrap_or(0);
        let before = self.inputs;
        self.inputs = if high { before | bit } else { before & !bit };
        let changed = (before ^ self.inputs) & !self.direction & !self.sense;
        let matches = self.both | !(self.inputs ^ self.event);
        self.edges |= changed & matches;
        self.update();
    }

    fn lines(&self) -> u8 {
        self.outputs & self.direction | self.inputs & !self.direction
    }

    fn raw(&self) -> u8 {
        let by_level = self.sense & !self.direction & !(self.lines() ^ self.event);
        self.edges | by_level
    }

    fn update(&mut self) {
        let high = self.raw() & self.enable != 0;
        self.level.set(high);
    }
}

impl MmioDevice for Pl061 {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        let value = match offset {
            0..=DATA_END => self.lines() & (offset >> 2) as u8,
            DIR => self.direction,
            SENSE => self.sense,
            BOTH => self.both,
            EVENT => self.event,
            ENABLE => self.enable,
            RAW => self.raw(),
            MASKED => self.raw() & self.enable,
            FUNCTION => self.function,
            _ => primecell(0x0004_1061, offset) as u8,
        };
        give(value.into(), data);
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let value = take(data) as u8;
        match offset {
            0..=DATA_END => {
                let named = (offset >> 2) as u8;
                self.outputs = self.outputs & !named | value & named;
            }
            DIR => self.direction = value,
            SENSE => self.sense = value,
            BOTH => self.both = value,
            EVENT => self.event = value,
            ENABLE => self.enable = value,
            CLEAR => self.edges &= !value,
            FUNCTION => self.function = value,
            _ => {}
        }
        self.update();
    }
}
