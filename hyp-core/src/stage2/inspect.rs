//! A walk over a whole table, for checks of what it says.

use super::descriptor::{Entry, Leaf};
use super::walk::{ENTRIES, Slot, shift};
use super::{Pool, Stage2};
use crate::addr::{Ipa, Pfn};
use crate::machine::TableMemory;

/// What a walk over a table meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// A table page, before what is in it. The root's pages come first.
    Table(Pfn),
    /// A leaf at this address.
    Leaf(Ipa, Leaf),
}

impl Stage2 {
    /// Shows `look` every table page and every leaf, in ascending order, until it fails. A page
    /// that it refuses is not looked into.
    ///
    /// # Errors
    /// The first error of `look`'s.
    pub fn visit<E>(
        &self,
        mem: &impl TableMemory,
        look: &mut impl FnMut(Seen) -> Result<(), E>,
    ) -> Result<(), E> {
        let level = self.geometry.start_level();
        for n in 0..self.geometry.root_frames() {
            visit_table(mem, self.root.add(n), level, n << 9 << shift(level), look)?;
        }
        Ok(())
    }
}

fn visit_table<E>(
    mem: &impl TableMemory,
    table: Pfn,
    level: u8,
    first: u64,
    look: &mut impl FnMut(Seen) -> Result<(), E>,
) -> Result<(), E> {
    look(Seen::Table(table))?;
    for index in 0..ENTRIES {
        let slot = Slot {
            table,
            index,
            level,
        };
        let ipa = first + ((index as u64) << shift(level));
        match slot.read(mem) {
            Entry::Invalid(_) => {}
            Entry::Leaf(leaf) => look(Seen::Leaf(Ipa::containing(ipa), leaf))?,
            // Level 3 has no tables: this ends.
            Entry::Table(next) => visit_table(mem, next, level + 1, ipa, look)?,
        }
    }
    Ok(())
}

impl Pool {
    /// Shows `look` every free frame until it fails. A frame that it refuses is not followed.
    ///
    /// # Errors
    /// The first error of `look`'s.
    pub fn visit<E>(
        &self,
        mem: &impl TableMemory,
        mut look: impl FnMut(Pfn) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut frame = self.first();
        for _ in 0..self.len() {
            look(frame)?;
            frame = self.after(mem, frame);
        }
        Ok(())
    }
}
