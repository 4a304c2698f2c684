//! One CPU's TLB and walk cache. Nothing leaves but by invalidation or for want of room.

use super::tables::{Leaf, frames_at};
use std::collections::{BTreeMap, VecDeque};

/// Entries a CPU's TLB keeps of each kind before the oldest makes room.
const ROOM: usize = 64;

/// VM, level, first IPA.
pub(super) type Key = (u16, u8, u64);

/// Leaves and table descriptors, tagged by VMID.
#[derive(Debug)]
pub struct Tlb {
    /// Leaves, of the size they have in the table.
    pub leaves: BTreeMap<Key, u64>,
    /// Table pages that the next walk of this range starts from.
    pub walks: BTreeMap<Key, u64>,
    order: VecDeque<Key>,
    walk_order: VecDeque<Key>,
    room: usize,
}

impl Default for Tlb {
    fn default() -> Self {
        Tlb {
            leaves: BTreeMap::new(),
            walks: BTreeMap::new(),
            order: VecDeque::new(),
            walk_order: VecDeque::new(),
            room: ROOM,
        }
    }
}

fn base(ipa: u64, level: u8) -> u64 {
    ipa & !((frames_at(level) << 12) - 1)
}

fn keep<V>(map: &mut BTreeMap<Key, V>, order: &mut VecDeque<Key>, room: usize, key: Key, value: V) {
    if map.insert(key, value).is_none() {
        order.push_back(key);
    }
    while map.len() > room {
        let Some(oldest) = order.pop_front() else {
            break;
        };
        map.remove(&oldest);
    }
}

impl Tlb {
    /// One that never makes room.
    pub fn endless() -> Self {
        Tlb {
            room: usize::MAX,
            ..Tlb::default()
        }
    }

    /// The leaf that translates `ipa`, if cached: the largest, should there be several.
    pub fn leaf(&self, vm: u16, ipa: u64) -> Option<Leaf> {
        (1..=3).find_map(|level| {
            let entry = *self.leaves.get(&(vm, level, base(ipa, level)))?;
            Some(Leaf {
                pfn: super::tables::output(entry),
                level,
                entry,
            })
        })
    }

    /// The deepest cached table on the way to `ipa`: its level and frame.
    pub fn walk(&self, vm: u16, ipa: u64) -> Option<(u8, u64)> {
        (1..=3).rev().find_map(|level| {
            let table = self.walks.get(&(vm, level, base(ipa, level - 1)))?;
            Some((level, *table))
        })
    }

    /// Remembers a leaf.
    pub fn keep_leaf(&mut self, vm: u16, ipa: u64, level: u8, entry: u64) {
        keep(
            &mut self.leaves,
            &mut self.order,
            self.room,
            (vm, level, base(ipa, level)),
            entry,
        );
    }

    /// Remembers that the table of `level` for `ipa` is at `table`.
    pub fn keep_walk(&mut self, vm: u16, ipa: u64, level: u8, table: u64) {
        keep(
            &mut self.walks,
            &mut self.walk_order,
            self.room,
            (vm, level, base(ipa, level - 1)),
            table,
        );
    }

    /// Forgets leaves of any size that meet a range, and the tables on the way to them.
    pub fn forget(&mut self, vm: u16, range: std::ops::Range<u64>) {
        let meets = |ipa: u64, bytes: u64| ipa < range.end && range.start < ipa + bytes;
        self.leaves
            .retain(|key, _| key.0 != vm || !meets(key.2, frames_at(key.1) << 12));
        self.walks
            .retain(|key, _| key.0 != vm || !meets(key.2, frames_at(key.1 - 1) << 12));
        self.order.retain(|key| self.leaves.contains_key(key));
        self.walk_order.retain(|key| self.walks.contains_key(key));
    }

    /// Forgets a VMID, or one leaf of its size and the tables on the way to it. Entries of other
    /// sizes that overlap stay: an invalidation by address with a level hint may leave them
    /// (DDI 0487 D8.17.5, TTL).
    pub fn invalidate(&mut self, vm: u16, leaf: Option<(u64, u8)>) {
        match leaf {
            None => {
                self.leaves.retain(|key, _| key.0 != vm);
                self.walks.retain(|key, _| key.0 != vm);
            }
            Some((ipa, level)) => {
                self.leaves.remove(&(vm, level, base(ipa, level)));
                for table in 1..=level {
                    self.walks.remove(&(vm, table, base(ipa, table - 1)));
                }
            }
        }
        self.order.retain(|key| self.leaves.contains_key(key));
        self.walk_order.retain(|key| self.walks.contains_key(key));
    }
}
