//! The CPUs of the test: TLB, walk cache and a table walker of their own (DDI 0487 D8.2, D8.16).

use super::memory::{FIRST, State};
use crate::machine::TlbScope;
use std::collections::BTreeMap;

/// What TLBs hold. The keys are VMID, level of the descriptor, first address it stands for.
#[derive(Default)]
pub(super) struct Cached {
    /// Leaf descriptors.
    pub(super) leaves: BTreeMap<(u16, u8, u64), u64>,
    /// Frames of tables, by the descriptor that points to them.
    pub(super) walks: BTreeMap<(u16, u8, u64), u64>,
}

pub(super) fn shift(level: u8) -> u32 {
    [39, 30, 21, 12][level as usize]
}

pub(super) fn is_table(raw: u64, level: u8) -> bool {
    level < 3 && raw & 3 == 3
}

pub(super) fn is_leaf(raw: u64, level: u8) -> bool {
    match level {
        0 => false,
        3 => raw & 3 == 3,
        _ => raw & 3 == 1,
    }
}

fn align(address: u64, level: u8) -> u64 {
    address >> shift(level) << shift(level)
}

impl Cached {
    /// Something cached of this descriptor or what was below it.
    pub(super) fn within(&self, vm: u16, level: u8, first: u64) -> Option<(u8, u64)> {
        let end = first + (1 << shift(level));
        (level..4).find_map(|level| {
            let range = (vm, level, first)..(vm, level, end);
            let mut all = self
                .leaves
                .range(range.clone())
                .chain(self.walks.range(range));
            all.next().map(|(&(_, level, at), _)| (level, at))
        })
    }

    /// By address: the leaf if it has the size that the invalidation names (DDI 0487 D8.17, TTL
    /// hint), and the walk to it.
    pub(super) fn invalidate(&mut self, vm: u16, scope: TlbScope, walks: bool) {
        let (ipa, size) = match scope {
            TlbScope::All => {
                self.leaves.retain(|key, _| key.0 != vm);
                self.walks.retain(|key, _| key.0 != vm);
                return;
            }
            TlbScope::Leaf(ipa, size) => (ipa.as_u64(), size),
        };
        self.leaves
            .remove(&(vm, size.level(), align(ipa, size.level())));
        for level in 0..3 {
            if walks {
                self.walks.remove(&(vm, level, align(ipa, level)));
            }
        }
    }
}

impl State {
    /// Every CPU accesses every probe address from `first` up to `last`, by every path that the
    /// caches and the order of writes allow.
    pub(super) fn speculate(&mut self, first: u64, last: u64) {
        for root in 0..self.roots.len() {
            for probe in 0..self.probes.len() {
                let address = self.probes[probe];
                if (first..=last).contains(&address) {
                    for newest in [false, true] {
                        self.access(root, address, newest, false);
                        self.access(root, address, newest, true);
                    }
                }
            }
        }
    }

    fn access(&mut self, root: usize, address: u64, newest: bool, from_walk_cache: bool) {
        let (vm, root, start) = self.roots[root];
        let (mut table, mut level) = (root + (address >> shift(start) >> 9), start);
        if from_walk_cache {
            for above in start..3 {
                if let Some(&next) = self.cached.walks.get(&(vm, above, align(address, above))) {
                    (table, level) = (next, above + 1);
                }
            }
        }
        loop {
            let tables = if newest { &self.written } else { &self.seen };
            let raw = tables[(table - FIRST) as usize][(address >> shift(level)) as usize % 512];
            let key = (vm, level, align(address, level));
            if is_leaf(raw, level) {
                if raw & 1 << 10 != 0 {
                    self.fill(key, raw);
                }
                return;
            } else if is_table(raw, level) {
                table = raw << 16 >> 28;
                let old = *self.cached.walks.entry(key).or_insert(table);
                assert_eq!(old, table, "two tables for one region at once");
                level += 1;
            } else {
                return;
            }
        }
    }

    /// A TLB keeps the older of two descriptors for the same leaf that differ in permissions,
    /// and what it does with two of another kind, nobody knows.
    fn fill(&mut self, key: (u16, u8, u64), raw: u64) {
        let (vm, level, first) = key;
        let old = *self.cached.leaves.entry(key).or_insert(raw);
        assert_eq!((old ^ raw) << 16 >> 28, 0, "two translations at once");
        for other in (1..4).filter(|&other| other != level) {
            let range = (vm, other, align(first, other))..(vm, other, first + (1 << shift(level)));
            assert_eq!(
                self.cached.leaves.range(range).next(),
                None,
                "two sizes at once"
            );
        }
    }

    pub(super) fn assert_nothing_stale(&self) {
        for (&key, &raw) in &self.cached.leaves {
            assert_eq!(self.truth(key), Some(raw), "stale leaf {key:x?}");
        }
        for (&key, &table) in &self.cached.walks {
            let truth = self.truth(key).filter(|&raw| is_table(raw, key.1));
            assert_eq!(
                truth.map(|raw| raw << 16 >> 28),
                Some(table),
                "stale walk {key:x?}"
            );
        }
    }

    /// The descriptor that stands for this region, if a walk gets there.
    fn truth(&self, (vm, wanted, address): (u16, u8, u64)) -> Option<u64> {
        let &(_, root, start) = self.roots.iter().find(|root| root.0 == vm)?;
        let (mut table, mut level) = (root + (address >> shift(start) >> 9), start);
        loop {
            let index = (address >> shift(level)) as usize % 512;
            let raw = self.written[(table - FIRST) as usize][index];
            if level == wanted {
                return Some(raw);
            }
            if !is_table(raw, level) {
                return None;
            }
            (table, level) = (raw << 16 >> 28, level + 1);
        }
    }
}
