//! An SMMUv3 as unhelpful as IHI 0070 allows.
//!
//! - Stores reach its sight in any order until `order` (each address in its own order).
//! - It reads commands when it likes, and does what they say only when a `CMD_SYNC` makes it.
//! - It keeps entries of the stream table, valid or not, translations and the ways to them until
//!   they are invalidated, and fetches them when nobody asked, word by word.
//! - Registers take effect late. Rules of when one may be written are asserted.
//!
//! Time is the number of looks at it, chance a seed: a failure repeats.

mod bus;
mod commands;
mod registers;
mod walk;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::vec::Vec;

pub(super) use walk::Blocked;

/// What goes wrong.
#[derive(Default)]
pub(super) struct Faults {
    /// `CMD_SYNC` is never consumed.
    pub(super) sync_hangs: bool,
    /// No command is consumed.
    pub(super) queue_stops: bool,
    /// Commands with this opcode are illegal, so many times.
    pub(super) illegal: Option<(u8, u32)>,
    /// So many fetches of commands abort.
    pub(super) fetch_aborts: u32,
    /// `CR0ACK` does not change any more.
    pub(super) enables_hang: bool,
    /// The CPU is away between two looks, so long that every deadline passes.
    pub(super) away: bool,
    /// `GBPA.UPDATE` never clears.
    pub(super) bypass_hangs: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct TlbEntry {
    vmid: u16,
    base: u64,
    shift: u32,
    pa: u64,
    write: bool,
}

pub(super) struct State {
    pub(super) regs: BTreeMap<u32, u64>,
    ram: BTreeMap<u64, u64>,
    stores: VecDeque<(u64, u64)>,
    configs: BTreeMap<u32, [u64; 8]>,
    /// Entries of which some words have been read.
    fetching: BTreeMap<u32, [Option<u64>; 8]>,
    descriptors: BTreeMap<u32, u64>,
    tlb: Vec<TlbEntry>,
    /// (VMID, level, address above the level) to the table of that level.
    ways: BTreeMap<(u16, u32, u64), u64>,
    consumed: Vec<[u64; 2]>,
    pub(super) done: Vec<[u64; 2]>,
    pub(super) faults: Faults,
    /// Streams and addresses that it may look up by itself.
    pub(super) watched: Vec<(u32, u64)>,
    /// Those accesses are a device's, as long as firmware or Ward confines it.
    pub(super) attack: bool,
    pub(super) bypassed: bool,
    /// When this word is stored it is seen at once, by an access with empty caches.
    pub(super) probe: Option<(u64, u32, u64)>,
    pub(super) probed: Option<Result<u64, Blocked>>,
    seed: u64,
    now: u64,
}

pub(super) struct Model(pub(super) RefCell<State>);

/// The registers of a capable SMMU: both stages, 16-bit VMIDs and streams, 44 bits.
pub(super) const IDR0: u64 = 0x0d44_101b;
pub(super) const IDR1: u64 = 0x0273_0010;
pub(super) const RIL: u64 = 1 << 10;

impl Model {
    pub(super) fn new(seed: u64) -> Self {
        let regs = [
            (0x0, IDR0),
            (0x4, IDR1),
            (0xc, RIL),
            (0x14, 0x74),
            // What firmware may leave: translating by tables that are not there any more.
            (0x44, 0),
        ];
        Model(RefCell::new(State {
            regs: regs.into_iter().collect(),
            ram: BTreeMap::new(),
            stores: VecDeque::new(),
            configs: BTreeMap::new(),
            fetching: BTreeMap::new(),
            descriptors: BTreeMap::new(),
            tlb: Vec::new(),
            ways: BTreeMap::new(),
            consumed: Vec::new(),
            done: Vec::new(),
            faults: Faults::default(),
            watched: Vec::new(),
            attack: false,
            bypassed: false,
            probe: None,
            probed: None,
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            now: 0,
        }))
    }

    pub(super) fn set(&self, register: u32, value: u64) {
        self.0.borrow_mut().regs.insert(register, value);
    }

    pub(super) fn get(&self, register: u32) -> u64 {
        self.0.borrow().reg(register)
    }

    pub(super) fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.0.borrow_mut().faults);
    }

    /// A device's access; what it reaches.
    pub(super) fn dma(&self, stream: u32, address: u64, write: bool) -> Result<u64, Blocked> {
        self.0.borrow_mut().access(stream, address, write, true)
    }

    /// The commands that took effect since the last time.
    pub(super) fn done(&self) -> Vec<[u64; 2]> {
        core::mem::take(&mut self.0.borrow_mut().done)
    }

    /// Lets time pass.
    pub(super) fn idle(&self, ticks: u32) {
        for _ in 0..ticks {
            self.0.borrow_mut().tick();
        }
    }
}

impl State {
    pub(super) fn reg(&self, register: u32) -> u64 {
        self.regs.get(&register).copied().unwrap_or(0)
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11).is_multiple_of(one_in)
    }

    fn word(&self, at: u64) -> u64 {
        self.ram.get(&at).copied().unwrap_or(0)
    }

    fn tick(&mut self) {
        self.now += 1;
        self.settle_one_store();
        self.settle_registers();
        if self.chance(2) {
            self.consume();
        }
        self.roam();
    }

    /// Devices that try, or the SMMU that looks ahead.
    fn roam(&mut self) {
        // A cache may drop what it likes.
        if !self.watched.is_empty() && self.chance(16) {
            match self.seed >> 40 & 3 {
                0 => self.configs.clear(),
                1 => self.descriptors.clear(),
                2 => self.tlb.clear(),
                _ => self.ways.clear(),
            }
        }
        for (stream, address) in self.watched.clone() {
            if self.chance(3) {
                // Otherwise only to fill caches.
                let confined = self.aborts() || (self.reg(0x20) | self.reg(0x24)) & 1 != 0;
                let real = self.attack && confined;
                let _ = self.access(stream, address, false, real);
                assert!(!self.bypassed, "an access in bypass");
            }
        }
    }
}
