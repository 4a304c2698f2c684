//! Changes of a table that an SMMU walks, in pieces: what is written here is forgotten, and waited
//! for, by the caller, who then uses what was taken away, or puts it back.

use super::Stage2;
use super::descriptor::{Entry, Leaf, Note};
use super::walk::{ENTRIES, Slot};
use crate::addr::{Ipa, Pfn, Size};
use crate::machine::TableMemory;

impl Stage2 {
    /// Takes the leaf away that begins at `ipa` and has this size; `None` if there is none.
    /// [`Stage2::map`] of the same puts it back.
    pub fn break_leaf(&mut self, mem: &impl TableMemory, ipa: Ipa, size: Size) -> Option<Leaf> {
        if !ipa.is_aligned(size) || !self.geometry.contains(ipa, size) {
            return None;
        }
        let walk = self.walk(mem, ipa, size);
        match walk.entry {
            Entry::Leaf(leaf) if leaf.size == size => {
                walk.end.write(mem, 0);
                Some(leaf)
            }
            _ => None,
        }
    }

    /// Takes a table away that stands in the place of a 2 MiB leaf at `ipa` and says nothing.
    pub fn unlink_hollow(&mut self, mem: &impl TableMemory, ipa: Ipa) -> Option<Pfn> {
        let size = Size::Block2M;
        if !ipa.is_aligned(size) || !self.geometry.contains(ipa, size) {
            return None;
        }
        let walk = self.walk(mem, ipa, size);
        let Entry::Table(table) = walk.entry else {
            return None;
        };
        let mut slots = slots(table, Size::Page.level());
        if slots.any(|slot| slot.read(mem) != Entry::Invalid(Note::NONE)) {
            return None;
        }
        walk.end.write(mem, 0);
        Some(table)
    }

    /// Puts such a table back.
    ///
    /// # Panics
    /// If its place is taken: a bug of the caller's.
    pub fn link_hollow(&mut self, mem: &impl TableMemory, ipa: Ipa, table: Pfn) {
        let walk = self.walk(mem, ipa, Size::Block2M);
        assert!(matches!(walk.entry, Entry::Invalid(Note::NONE)));
        walk.end.write(mem, Entry::table(table));
        mem.publish();
    }

    /// Takes one table away that has none below it; for the end of a domain that maps nothing.
    ///
    /// # Panics
    /// If it meets a leaf: a bug of the caller's.
    pub fn take_table(&mut self, mem: &impl TableMemory) -> Option<Pfn> {
        let (mut table, mut level) = (self.root, self.geometry.start_level());
        let mut found = None;
        loop {
            let mut below = slots(table, level).filter_map(|slot| match slot.read(mem) {
                Entry::Table(next) => Some((slot, next)),
                Entry::Invalid(_) => None,
                Entry::Leaf(leaf) => panic!("freed with a leaf: {leaf:?}"),
            });
            match below.next() {
                Some((slot, next)) => {
                    found = Some((slot, next));
                    (table, level) = (next, level + 1);
                }
                None => break,
            }
        }
        let (slot, table) = found?;
        slot.write(mem, 0);
        Some(table)
    }
}

/// All descriptors of one table page.
fn slots(table: Pfn, level: u8) -> impl Iterator<Item = Slot> {
    (0..ENTRIES).map(move |index| Slot {
        table,
        index,
        level,
    })
}
