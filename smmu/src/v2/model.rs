//! The registers of an MMU-500, and what they make of a stream: as unhelpful as IHI 0062 allows.
//! For tests, of this crate and of its users.
//!
//! Every doubtful setting counts as a hole: a stream type that is reserved, a bank that is not
//! there, a bank without translation, two groups that match. Aliases of registers act, as they
//! would from the secure state.

use super::Hardware;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::vec::Vec;

/// 16 groups, 8 banks, 15-bit streams, both stages, coherent.
pub const IDR0: u32 = 0x7c00_5e10;
/// Pages of 4 KiB, 16 of them for globals, 2 banks for stage 2 alone.
pub const IDR1: u32 = 3 << 28 | 2 << 16 | 8;
/// 44 bits out, all granules.
pub const IDR2: u32 = 0xf544;

/// What becomes of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Ended.
    Ended,
    /// Translated by this table alone, as Ward would have it.
    Table(u64),
    /// Anything else.
    Hole(&'static str),
}

/// What the SMMU holds, and how it behaves.
#[derive(Default, Debug)]
pub struct State {
    /// Registers by their offset; those that are not here hold 0.
    pub regs: BTreeMap<u32, u32>,
    /// (VMID, page) and the table that it came from.
    pub tlb: Vec<(u32, u64, u64)>,
    /// Invalidations that a sync completes.
    asked: Vec<(u32, Option<u64>)>,
    /// Accesses that have found their bank and not yet walked: bank, page.
    pub flying: Vec<(u32, u64)>,
    /// Streams that may not pass for a moment.
    pub confined: Vec<u32>,
    /// What they could have walked since.
    pub walked: Vec<Effect>,
    /// How often a register was written.
    pub writes: u64,
    /// What was asked for is never done.
    pub sync_hangs: bool,
    /// These registers keep what they have.
    pub stuck: Vec<u32>,
    /// A table was written, and nothing orders that before accesses to registers.
    pub unordered: bool,
    now: u64,
}

/// One SMMU.
#[derive(Debug)]
pub struct Model(pub RefCell<State>);

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// As firmware may leave it: everything passes, groups and banks hold anything.
    pub fn new() -> Self {
        let mut state = State::default();
        let ids = [(0x20, IDR0), (0x24, IDR1), (0x28, IDR2), (0x3c, 0x21)];
        state.regs.extend(ids);
        state.regs.insert(0, 1);
        state.regs.insert(8, 0x55);
        state.regs.insert(0x10, 1 << 26);
        for n in 0..16 {
            state.regs.insert(0x800 + n * 4, 1 << 31 | n);
            state.regs.insert(0xc00 + n * 4, 1 << 16);
        }
        for n in 0..8 {
            state.regs.insert(0x1_0000 + n * 0x1000 + 4, 2);
        }
        Model(RefCell::new(state))
    }

    /// What a register holds.
    pub fn get(&self, offset: u32) -> u32 {
        self.0.borrow().get(offset)
    }

    /// Has a register hold something.
    pub fn set(&self, offset: u32, value: u32) {
        self.0.borrow_mut().regs.insert(offset, value);
    }

    /// How often a register was written.
    pub fn writes(&self) -> u64 {
        self.0.borrow().writes
    }

    /// What becomes of a stream.
    pub fn effect(&self, stream: u32) -> Effect {
        self.0.borrow().effect(stream)
    }

    /// A device's access begins. A group matches the stream.
    pub fn begin(&self, stream: u32, page: u64) {
        let mut state = self.0.borrow_mut();
        let group = state.groups(stream)[0];
        let bank = state.get(0xc00 + group * 4) & 0xff;
        state.flying.push((bank, page));
    }

    /// A device's access: the table that its translation comes from, perhaps a kept one.
    pub fn dma(&self, stream: u32, page: u64) -> Effect {
        let effect = self.effect(stream);
        let Effect::Table(root) = effect else {
            return effect;
        };
        let mut state = self.0.borrow_mut();
        let vmid = state.vmid(stream);
        let kept = state
            .tlb
            .iter()
            .find(|entry| (entry.0, entry.1) == (vmid, page));
        if let Some(entry) = kept {
            return Effect::Table(entry.2);
        }
        state.tlb.push((vmid, page, root));
        effect
    }
}

impl State {
    fn get(&self, offset: u32) -> u32 {
        self.regs.get(&offset).copied().unwrap_or(0)
    }

    fn groups(&self, stream: u32) -> Vec<u32> {
        let wide = self.get(0) & 1 << 3 != 0;
        let matches = |n: &u32| {
            let smr = self.get(0x800 + n * 4);
            let (valid, bits) = match wide {
                true => (self.get(0xc00 + n * 4) >> 10 & 1 == 1, 0xffff),
                false => (smr >> 31 == 1, 0x7fff),
            };
            valid && (smr ^ stream) & !(smr >> 16) & bits == 0
        };
        (0..16).filter(matches).collect()
    }

    fn vmid(&self, stream: u32) -> u32 {
        let bank = self.get(0xc00 + self.groups(stream)[0] * 4) & 0xff;
        self.get(0x1000 + bank * 4) & 0xff
    }

    fn effect(&self, stream: u32) -> Effect {
        let control = self.get(0);
        if control & 1 != 0 {
            return Effect::Hole("CLIENTPD");
        }
        if control & 1 << 31 != 0 {
            return Effect::Hole("another width of VMIDs");
        }
        let [group] = self.groups(stream)[..] else {
            if !self.groups(stream).is_empty() {
                return Effect::Hole("two groups match");
            }
            let ends = control & 1 << 10 != 0;
            return if ends {
                Effect::Ended
            } else {
                Effect::Hole("USFCFG")
            };
        };
        let route = self.get(0xc00 + group * 4);
        match route >> 16 & 3 {
            0 => {}
            2 => return Effect::Ended,
            _ => return Effect::Hole("S2CR type"),
        }
        if route & !0xff != 0 {
            return Effect::Hole("attributes of the stream");
        }
        self.bank(route & 0xff)
    }

    fn bank(&self, n: u32) -> Effect {
        if n >= 8 {
            return Effect::Hole("no such bank");
        }
        let page = 0x1_0000 + n * 0x1000;
        if self.get(page) & !(1 << 6) != 0b1_0010_1101 {
            return Effect::Hole("SCTLR");
        }
        if self.get(0x1000 + n * 4) != n + 1 {
            return Effect::Hole("CBAR");
        }
        if self.get(0x1800 + n * 4) != 1 {
            return Effect::Hole("CBA2R");
        }
        // 40 or 39 bits from level 1, walks inner shareable and cached.
        let shape = |size: u32| 1 << 31 | 2 << 16 | 0x35 << 8 | 1 << 6 | size;
        if ![shape(24), shape(25)].contains(&self.get(page + 0x30)) {
            return Effect::Hole("TCR");
        }
        let (low, high) = (self.get(page + 0x20), self.get(page + 0x24));
        Effect::Table(u64::from(high) << 32 | u64::from(low))
    }

    fn write(&mut self, offset: u32, value: u32) {
        self.change(offset, value);
        for stream in &self.confined {
            let effect = self.effect(*stream);
            assert_eq!(
                effect,
                Effect::Ended,
                "{stream:#x} after {offset:#x} := {value:#x}"
            );
        }
    }

    fn change(&mut self, offset: u32, value: u32) {
        self.writes += 1;
        let walked = self.flying.iter().map(|flying| self.bank(flying.0));
        let walked: Vec<_> = walked.collect();
        self.walked.extend(walked);
        if self.stuck.contains(&offset) {
            return;
        }
        let (page, within) = (offset >> 12, offset & 0xfff);
        // A root, and what is forgotten of a table.
        let of_tables = matches!(
            (page, within),
            (0, 0x64..0x74) | (16.., 0x20 | 0x24 | 0x630)
        );
        assert!(
            !(self.unordered && of_tables),
            "{offset:#x} speaks of a table that is not in memory"
        );
        if offset == 0 && (value ^ self.get(0)) & 1 << 3 != 0 {
            let valid = |n: u32| {
                self.get(0x800 + n * 4) >> 31 == 1 || self.get(0xc00 + n * 4) & 1 << 10 != 0
            };
            assert!(
                !(0..16).any(valid),
                "the width of streams, with groups that are valid"
            );
        }
        match (page, within) {
            // The aliases of the secure state are the registers themselves.
            (0, 0x400..0x800) => self.change(offset - 0x400, value),
            (0, 0x20..0x40) => {}
            (0, 0x64) => self.asked.push((value, None)),
            (0, 0x68) => self.asked.extend((0..256).map(|vmid| (vmid, None))),
            (0, 0x70) => {
                if !self.sync_hangs {
                    for (vmid, page) in core::mem::take(&mut self.asked) {
                        self.tlb.retain(|entry| {
                            entry.0 != vmid || page.is_some_and(|page| entry.1 != page)
                        });
                    }
                    // As late as may be: they fill what was just emptied.
                    for (bank, page) in core::mem::take(&mut self.flying) {
                        if let Effect::Table(root) = self.bank(bank) {
                            let vmid = self.get(0x1000 + bank * 4) & 0xff;
                            self.tlb.push((vmid, page, root));
                        }
                    }
                }
            }
            (0, 0x48) | (16.., 0x58) => {
                let left = self.get(offset) & !value;
                self.regs.insert(offset, left);
            }
            (16.., 0x630) => {
                let vmid = self.get(0x1000 + (page - 16) * 4) & 0xff;
                self.asked.push((vmid, Some(value.into())));
            }
            // ACTLR is locked until sACR says otherwise.
            (16.., 4) if self.get(0x10) & 1 << 26 != 0 => {}
            _ => {
                self.regs.insert(offset, value);
            }
        }
    }
}

impl Hardware for Model {
    fn read32(&self, offset: u32) -> u32 {
        let mut state = self.0.borrow_mut();
        state.now += 1;
        assert!(offset < 2 * 16 * 0x1000 && offset.is_multiple_of(4));
        if offset == 0x74 {
            return state.sync_hangs.into();
        }
        state.get(offset)
    }

    fn write32(&self, offset: u32, value: u32) {
        assert!(offset < 2 * 16 * 0x1000 && offset.is_multiple_of(4));
        self.0.borrow_mut().write(offset, value);
    }

    fn write64(&self, offset: u32, value: u64) {
        assert!(offset.is_multiple_of(8));
        self.0.borrow_mut().write(offset, value as u32);
    }

    fn order(&self) {
        self.0.borrow_mut().unordered = false;
    }

    fn deadline(&self) -> u64 {
        self.0.borrow().now + 100
    }

    fn expired(&self, deadline: u64) -> bool {
        self.0.borrow().now > deadline
    }
}
