//! Tables whose shape is made once: every page has its place at level 3 from then on, and only
//! the descriptors of that level change.
//!
//! Devices walk such a table. An access of theirs that meets a descriptor which is invalid for
//! a moment is lost, not done again, so nothing here is ever split, merged, linked or unlinked
//! (rules 1, 3 and 4 of [`stage2`](super) are about tables that are): a change takes no table page
//! and frees none, and cannot fail. Invalidation is the caller's, once for many changes.

use super::descriptor::{Attrs, Leaf};
use super::map::{MapError, install};
use super::walk::{ENTRIES, Slot};
use super::{Pool, Stage2};
use crate::addr::{Ipa, Pfn, Size};
use crate::machine::TableMemory;

impl Stage2 {
    /// Makes the tables for `pages` pages from `first` on, which then translate nothing.
    ///
    /// # Errors
    /// [`MapError`]; some tables may have been made.
    pub fn add_tables(
        &mut self,
        mem: &impl TableMemory,
        pool: &mut Pool,
        first: Ipa,
        pages: u64,
    ) -> Result<(), MapError> {
        let mut at = first.page_number();
        let end = at + pages;
        while at < end {
            let ipa = Ipa::containing(at << crate::addr::PAGE_SHIFT);
            let (slot, _) = self.plan_hole(mem, pool.len(), ipa, Size::Page)?;
            if slot.level < Size::Page.level() {
                install(mem, pool, slot, ipa, Size::Page, 0);
            }
            at = (at / ENTRIES as u64 + 1) * ENTRIES as u64;
        }
        Ok(())
    }

    /// Maps each page of the range to the frame of its number, or (`None`) to nothing. Neither
    /// published nor invalidated.
    ///
    /// # Panics
    /// If a page has no table ([`Stage2::add_tables`]): a bug of the caller's.
    pub fn set_identity(
        &mut self,
        mem: &impl TableMemory,
        first: Pfn,
        frames: u64,
        attrs: Option<Attrs>,
    ) {
        let mut left = first.0..first.0 + frames;
        while !left.is_empty() {
            let Slot {
                table,
                index,
                level,
            } = self
                .walk(mem, Ipa::identity(Pfn(left.start)), Size::Page)
                .end;
            assert!(level == Size::Page.level(), "no table for {first:?}");
            for (index, frame) in (index..ENTRIES).zip(&mut left) {
                let raw = attrs.map_or(0, |attrs| {
                    let leaf = Leaf {
                        frame: Pfn(frame),
                        size: Size::Page,
                        attrs,
                        accessed: true,
                    };
                    leaf.encode()
                });
                mem.write_entry(table, index, raw);
            }
        }
    }
}
