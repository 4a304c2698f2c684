//! From an address to the descriptor that decides (DDI 0487 D8.2, translation process).
//!
//! Level 0 resolves bits 47:39, level 1 38:30 (with concatenated roots up to 42:30), level 2
//! 29:21, level 3 20:12.

use super::Stage2;
use super::descriptor::Entry;
use crate::addr::{Ipa, PAGE_SHIFT, Pfn, Size};
use crate::machine::TableMemory;

/// Descriptors in one table page.
pub(super) const ENTRIES: usize = 512;

/// log2 of the bytes that a descriptor of this level stands for.
pub(super) const fn shift(level: u8) -> u32 {
    PAGE_SHIFT + 9 * (3 - level as u32)
}

/// The place of one descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    pub(super) table: Pfn,
    pub(super) index: usize,
    pub(super) level: u8,
}

impl Slot {
    /// The descriptor for `ipa` in a table of this level.
    pub(super) const fn of(table: Pfn, ipa: Ipa, level: u8) -> Self {
        let index = (ipa.as_u64() >> shift(level)) as usize % ENTRIES;
        Slot {
            table,
            index,
            level,
        }
    }

    pub(super) fn read(self, mem: &impl TableMemory) -> Entry {
        Entry::decode(mem.read_entry(self.table, self.index), self.level)
    }

    pub(super) fn write(self, mem: &impl TableMemory, raw: u64) {
        mem.write_entry(self.table, self.index, raw);
    }

    /// The first address that the descriptor stands for, of which `ipa` is one.
    pub(super) const fn first(self, ipa: Ipa) -> Ipa {
        Ipa::containing(ipa.as_u64() >> shift(self.level) << shift(self.level))
    }

    /// The size of a leaf here; 1 GiB for level 0, which has none.
    pub(super) const fn size(self) -> Size {
        match self.level {
            3 => Size::Page,
            2 => Size::Block2M,
            _ => Size::Block1G,
        }
    }

    /// Table pages that a pool of `pool_len` lacks for a leaf of `size` below this descriptor.
    pub(super) fn missing_tables(self, size: Size, pool_len: u64) -> u64 {
        u64::from(size.level() - self.level).saturating_sub(pool_len)
    }

    /// The other descriptors of the same table: the two neighbours first, because callers that
    /// work through a table upwards or downwards learn from those that they can stop.
    pub(super) fn others(self) -> impl Iterator<Item = Slot> {
        let at = move |n: usize| Slot {
            index: (self.index + n) % ENTRIES,
            ..self
        };
        core::iter::once(at(ENTRIES - 1)).chain((1..ENTRIES - 1).map(at))
    }
}

/// The descriptors from the root to the one that ended the walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    path: [Option<Slot>; 4],
    pub(super) end: Slot,
    pub(super) entry: Entry,
}

impl Walk {
    /// The descriptor of the path that points to the table of the given one.
    pub(super) fn above(&self, slot: Slot) -> Option<Slot> {
        self.path[slot.level.checked_sub(1)? as usize]
    }
}

impl Stage2 {
    /// Walks to a leaf, a hole, or the level of `size`. `ipa` is within the geometry.
    pub(super) fn walk(&self, mem: &impl TableMemory, ipa: Ipa, size: Size) -> Walk {
        let level = self.geometry.start_level();
        // Concatenated root pages are one table whose index has more than nine bits.
        let page = ipa.as_u64() >> shift(level) >> 9;
        let mut end = Slot::of(self.root.add(page), ipa, level);
        let mut path = [None; 4];
        loop {
            path[end.level as usize] = Some(end);
            match end.read(mem) {
                Entry::Table(table) if end.level < size.level() => {
                    end = Slot::of(table, ipa, end.level + 1);
                }
                entry => return Walk { path, end, entry },
            }
        }
    }

    /// The first walk from `from` on, and below `end`, whose end is `wanted`, and the first
    /// address it covers.
    pub(super) fn find(
        &self,
        mem: &impl TableMemory,
        from: Ipa,
        end: u64,
        wanted: impl Fn(Entry) -> bool,
    ) -> Option<(Ipa, Walk)> {
        let mut at = from;
        while at.as_u64() < end && self.geometry.contains(at, Size::Page) {
            let walk = self.walk(mem, at, Size::Page);
            let first = walk.end.first(at);
            if wanted(walk.entry) {
                return Some((first, walk));
            }
            at = Ipa::containing(first.as_u64() + (1 << shift(walk.end.level)));
        }
        None
    }
}
