//! Adding translations: a hole becomes a leaf.
//!
//! An invalid descriptor may become valid without an invalidation, since no TLB holds a
//! translation fault (DDI 0487 D8.16); the new one only has to be made visible.

use super::descriptor::{Attrs, Entry, Leaf, Note};
use super::walk::Slot;
use super::{Pool, Stage2};
use crate::addr::{Ipa, Pfn, Size};
use crate::machine::TableMemory;

/// Why a page or block cannot be mapped, or a note not set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// The address or the frame is not aligned to the size.
    Misaligned,
    /// The address or the frame lies beyond the geometry.
    OutOfRange,
    /// Something is mapped or noted in the range.
    Occupied,
    /// The pool lacks this many pages.
    NoTables(u64),
}

impl Stage2 {
    /// Can `size` from `frame` be mapped at `ipa`, with a pool of `pool_len` pages?
    ///
    /// # Errors
    /// [`MapError`]; nothing changed.
    pub fn can_map(
        &self,
        mem: &impl TableMemory,
        pool_len: u64,
        ipa: Ipa,
        frame: Pfn,
        size: Size,
    ) -> Result<(), MapError> {
        self.plan_map(mem, pool_len, ipa, frame, size).map(drop)
    }

    /// Maps it.
    ///
    /// # Panics
    /// If [`Stage2::can_map`] would have refused: a bug of the caller's.
    pub fn map(
        &mut self,
        mem: &impl TableMemory,
        pool: &mut Pool,
        ipa: Ipa,
        frame: Pfn,
        size: Size,
        attrs: Attrs,
    ) {
        let plan = self.plan_map(mem, pool.len(), ipa, frame, size);
        let slot = plan.expect("map without can_map");
        let leaf = Leaf {
            frame,
            size,
            attrs,
            accessed: true,
        };
        install(mem, pool, slot, ipa, size, leaf.encode());
    }

    fn plan_map(
        &self,
        mem: &impl TableMemory,
        pool_len: u64,
        ipa: Ipa,
        frame: Pfn,
        size: Size,
    ) -> Result<Slot, MapError> {
        if !ipa.is_aligned(size) || !frame.0.is_multiple_of(size.frames()) {
            return Err(MapError::Misaligned);
        }
        if !self.geometry.contains_frames(frame, size) {
            return Err(MapError::OutOfRange);
        }
        let (slot, note) = self.plan_hole(mem, pool_len, ipa, size)?;
        if note == Note::NONE {
            Ok(slot)
        } else {
            Err(MapError::Occupied)
        }
    }

    /// The invalid descriptor in whose place a leaf of `size` can come, and its note.
    pub(super) fn plan_hole(
        &self,
        mem: &impl TableMemory,
        pool_len: u64,
        ipa: Ipa,
        size: Size,
    ) -> Result<(Slot, Note), MapError> {
        if !self.geometry.contains(ipa, size) {
            return Err(MapError::OutOfRange);
        }
        let walk = self.walk(mem, ipa, size);
        let Entry::Invalid(note) = walk.entry else {
            return Err(MapError::Occupied);
        };
        match walk.end.missing_tables(size, pool_len) {
            0 => Ok((walk.end, note)),
            missing => Err(MapError::NoTables(missing)),
        }
    }
}

/// Writes the descriptor `raw` of a `size` at `ipa`, below the invalid descriptor `slot`.
pub(super) fn install(
    mem: &impl TableMemory,
    pool: &mut Pool,
    slot: Slot,
    ipa: Ipa,
    size: Size,
    raw: u64,
) {
    let mut entry = raw;
    // From the leaf up, so that each table is complete before it is linked.
    for level in (slot.level + 1..=size.level()).rev() {
        let table = pool.pop(mem).expect("table page was counted");
        Slot::of(table, ipa, level).write(mem, entry);
        entry = Entry::table(table);
    }
    slot.write(mem, entry);
    // DDI 0487 D8.17.1: a new valid descriptor is seen after DSB and ISB.
    mem.publish();
}
