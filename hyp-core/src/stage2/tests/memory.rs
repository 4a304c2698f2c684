//! Table memory whose TLBs and walk caches hold everything they may, for as long as they may.
//!
//! The rules of DDI 0487 D8.17 are asserted as they are broken: a valid descriptor overwritten by
//! another one, made before the break was complete, a page reused that a walk may still reach.
//! [`Mem::check`], called after each operation, asserts that nothing stale is left in a TLB and
//! nothing unseen in the tables. None of the code under test is used here.

use super::speculate::{Cached, is_leaf, is_table, shift};
use crate::addr::{Pfn, VmId};
use crate::machine::{TableMemory, TlbScope};
use std::{cell::Cell, cell::RefCell, vec, vec::Vec};

/// First frame of the memory.
pub(super) const FIRST: u64 = 0x8_0000;
/// What a frame holds before Ward takes it: looks like a page that may be written.
const RUBBISH: u64 = 0x0000_1234_5678_97ff;
/// Bits in which a valid leaf may change without break-before-make: S2AP, AF, XN.
const IN_PLACE: u64 = 0b11 << 6 | 1 << 10 | 1 << 54;

/// What walkers can know of a frame.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    Free,
    Linked {
        vm: u16,
        level: u8,
        first: u64,
    },
    /// Unlinked, but a walk cache may still point to it.
    Detached,
}

/// Faults to inject.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Lose {
    Nothing,
    Publish,
    Invalidate,
    /// Every invalidation is for one page only.
    Scope,
    /// Invalidations leave the walk caches alone (last level only).
    Walks,
    /// Invalidations go to another VMID.
    Vmid,
}

pub(super) struct State {
    /// What Ward reads and wrote.
    pub(super) written: Vec<[u64; 512]>,
    /// What walkers certainly see; of what is only in `written` they may see the one or the other.
    pub(super) seen: Vec<[u64; 512]>,
    pending: Vec<(usize, usize)>,
    place: Vec<Place>,
    pub(super) cached: Cached,
    /// (VMID, first root frame, start level).
    pub(super) roots: Vec<(u16, u64, u8)>,
    pub(super) probes: Vec<u64>,
}

pub(super) struct Mem {
    state: RefCell<State>,
    pub(super) lose: Cell<Lose>,
    pub(super) reads: Cell<u64>,
    /// Writes to descriptors that walkers can reach.
    pub(super) live_writes: Cell<u64>,
    pub(super) invalidations: RefCell<Vec<(VmId, TlbScope)>>,
}

fn number(frame: u64) -> usize {
    frame.checked_sub(FIRST).expect("not a frame of the test's") as usize
}

impl Mem {
    pub(super) fn new(frames: usize) -> Self {
        let state = State {
            written: vec![[RUBBISH; 512]; frames],
            seen: vec![[RUBBISH; 512]; frames],
            pending: Vec::new(),
            place: vec![Place::Free; frames],
            cached: Cached::default(),
            roots: Vec::new(),
            probes: Vec::new(),
        };
        Mem {
            state: RefCell::new(state),
            lose: Cell::new(Lose::Nothing),
            reads: Cell::new(0),
            live_writes: Cell::new(0),
            invalidations: RefCell::default(),
        }
    }

    /// Walkers start using a zeroed root of `frames` frames.
    pub(super) fn add_root(&self, vm: VmId, root: u64, frames: u64, level: u8) {
        let state = &mut *self.state.borrow_mut();
        for n in 0..frames {
            let at = number(root + n);
            state.written[at] = [0; 512];
            state.seen[at] = [0; 512];
            state.place[at] = Place::Linked {
                vm: vm.0,
                level,
                first: n << shift(level) << 9,
            };
        }
        state.roots.push((vm.0, root, level));
    }

    /// Addresses that CPUs access all the time.
    pub(super) fn probe(&mut self, addresses: &[u64]) {
        self.state.get_mut().probes.extend_from_slice(addresses);
    }

    /// The raw descriptor.
    pub(super) fn raw(&self, table: Pfn, index: usize) -> u64 {
        self.state.borrow().written[number(table.0)][index]
    }

    pub(super) fn is_zero(&self, frame: Pfn, from: usize) -> bool {
        self.state.borrow().written[number(frame.0)][from..]
            .iter()
            .all(|&word| word == 0)
    }

    /// Asserts that an operation left nothing stale and nothing unseen, and lets the CPUs fill
    /// their TLBs.
    pub(super) fn check(&self) {
        let state = &mut *self.state.borrow_mut();
        assert_eq!(
            state.pending,
            [],
            "descriptors that walkers may not see yet"
        );
        state.assert_nothing_stale();
        assert!(!state.place.contains(&Place::Detached), "a table was lost");
        state.speculate(0, u64::MAX);
    }
}

impl State {
    fn link(&mut self, at: usize, vm: u16, level: u8, first: u64) {
        assert_eq!(
            self.place[at],
            Place::Free,
            "linked twice, or in use by walkers"
        );
        self.place[at] = Place::Linked { vm, level, first };
        for index in 0..512 {
            let raw = self.written[at][index];
            let first = first + ((index as u64) << shift(level));
            if is_table(raw, level) {
                self.link(number(raw << 16 >> 28), vm, level + 1, first);
            } else if !is_leaf(raw, level) {
                let allowed = if level == 3 { 0xff << 2 } else { 0 };
                assert_eq!(raw & !allowed, 0, "linked a page that was not prepared");
            }
        }
    }

    fn detach(&mut self, at: usize, level: u8) {
        self.place[at] = Place::Detached;
        for index in 0..512 {
            let raw = self.written[at][index];
            if is_table(raw, level) {
                self.detach(number(raw << 16 >> 28), level + 1);
            }
        }
    }

    fn live_write(&mut self, at: usize, index: usize, raw: u64) {
        let Place::Linked { vm, level, first } = self.place[at] else {
            panic!("write to a table that walkers may still use");
        };
        let old = self.written[at][index];
        let first = first + ((index as u64) << shift(level));
        let last = first + ((1 << shift(level)) - 1);
        self.speculate(first, last);
        let (was, is) = (old & 1 != 0, raw & 1 != 0);
        assert!(
            !is || is_table(raw, level) || is_leaf(raw, level),
            "reserved descriptor"
        );
        if was && is {
            assert!(
                is_leaf(old, level) && (old ^ raw) & !IN_PLACE == 0,
                "no break before make"
            );
        } else if is {
            let stale = self.cached.within(vm, level, first);
            assert_eq!(stale, None, "made before the break was complete");
        }
        if is_table(old, level) {
            self.detach(number(old << 16 >> 28), level + 1);
        }
        if is_table(raw, level) {
            self.link(number(raw << 16 >> 28), vm, level + 1, first);
        }
        self.written[at][index] = raw;
        if was || is {
            self.pending.push((at, index));
        } else {
            self.seen[at][index] = raw;
        }
        self.speculate(first, last);
    }

    fn publish(&mut self) {
        for (at, index) in self.pending.drain(..) {
            self.seen[at][index] = self.written[at][index];
        }
    }
}

impl TableMemory for Mem {
    fn read_entry(&self, table: Pfn, index: usize) -> u64 {
        self.reads.set(self.reads.get() + 1);
        self.raw(table, index)
    }

    fn write_entry(&self, table: Pfn, index: usize, raw: u64) {
        let state = &mut *self.state.borrow_mut();
        let at = number(table.0);
        if state.place[at] == Place::Free {
            state.written[at][index] = raw;
            state.seen[at][index] = raw;
        } else {
            self.live_writes.set(self.live_writes.get() + 1);
            state.live_write(at, index, raw);
        }
    }

    fn publish(&self) {
        if self.lose.get() != Lose::Publish {
            self.state.borrow_mut().publish();
        }
    }

    fn tlb_invalidate(&self, vm: VmId, scope: TlbScope) {
        self.invalidations.borrow_mut().push((vm, scope));
        let state = &mut *self.state.borrow_mut();
        state.speculate(0, u64::MAX);
        state.publish();
        match (self.lose.get(), scope) {
            (Lose::Invalidate, _) => return,
            (Lose::Vmid, _) => state.cached.invalidate(vm.0 + 1, scope, true),
            (Lose::Walks, TlbScope::Leaf(..)) => state.cached.invalidate(vm.0, scope, false),
            (Lose::Scope, TlbScope::All) => {
                let page = TlbScope::Leaf(super::ipa(0), super::Size::Page);
                state.cached.invalidate(vm.0, page, true);
            }
            _ => state.cached.invalidate(vm.0, scope, true),
        }
        for at in 0..state.place.len() {
            let walked = state
                .cached
                .walks
                .values()
                .any(|&table| number(table) == at);
            if state.place[at] == Place::Detached && !walked {
                state.place[at] = Place::Free;
            }
        }
    }

    fn zero_frame(&self, frame: Pfn) {
        let state = &mut *self.state.borrow_mut();
        let at = number(frame.0);
        assert_eq!(
            state.place[at],
            Place::Free,
            "zeroed a table that walkers may still use"
        );
        state.written[at] = [0; 512];
        state.seen[at] = [0; 512];
    }
}
