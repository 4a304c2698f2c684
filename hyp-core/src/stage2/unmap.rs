//! Removing translations, whole leaves or parts of larger ones.
//!
//! One invalidation by address covers the leaf and every table descriptor on the walk to it, so
//! tables that become empty are unlinked before it and reused after it (DDI 0487 D8.17, TLB
//! maintenance: by IPA, not last level only).

use super::descriptor::{Entry, Leaf, Note};
use super::walk::{Slot, Walk};
use super::{Pool, Stage2};
use crate::addr::{Ipa, Pfn, Size};
use crate::machine::{TableMemory, TlbScope};

/// Why a range cannot be unmapped or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnmapError {
    /// The address is not aligned to the size.
    Misaligned,
    /// The address lies beyond the geometry.
    OutOfRange,
    /// The range is a hole.
    NotMapped,
    /// The range has a table: smaller leaves, holes and notes, in whatever mixture.
    Mixed,
    /// A larger leaf has to be split, and the pool lacks this many pages.
    NoTables(u64),
}

impl Stage2 {
    /// Can the range be unmapped: is it one leaf, or part of a larger one that the pool's
    /// `pool_len` pages allow to split? Says what it translates to now.
    ///
    /// # Errors
    /// [`UnmapError`]; nothing changed.
    pub fn can_unmap(
        &self,
        mem: &impl TableMemory,
        pool_len: u64,
        ipa: Ipa,
        size: Size,
    ) -> Result<Leaf, UnmapError> {
        let (walk, leaf) = self.plan_part(mem, ipa, size)?;
        enough_to_split(walk.end, size, pool_len)?;
        Ok(leaf.part(ipa.page_number() % leaf.size.frames(), size))
    }

    /// Unmaps it and says what it translated to. On return no TLB holds it.
    ///
    /// # Panics
    /// If [`Stage2::can_unmap`] would have refused: a bug of the caller's.
    pub fn unmap(&mut self, mem: &impl TableMemory, pool: &mut Pool, ipa: Ipa, size: Size) -> Leaf {
        let part = self
            .can_unmap(mem, pool.len(), ipa, size)
            .expect("unmap without can_unmap");
        let walk = self.walk(mem, ipa, size);
        if walk.end.level == size.level() {
            walk.end.write(mem, 0);
            let empty = unlink_empty(mem, &walk);
            mem.tlb_invalidate(self.vm, TlbScope::Leaf(ipa, size));
            empty
                .into_iter()
                .flatten()
                .for_each(|table| pool.push(mem, table));
        } else {
            self.carve(mem, pool, walk.end, ipa, size, 0);
        }
        part
    }

    /// The walk to the leaf that is the range or contains it, and that leaf.
    fn plan_part(
        &self,
        mem: &impl TableMemory,
        ipa: Ipa,
        size: Size,
    ) -> Result<(Walk, Leaf), UnmapError> {
        if !ipa.is_aligned(size) {
            return Err(UnmapError::Misaligned);
        }
        if !self.geometry.contains(ipa, size) {
            return Err(UnmapError::OutOfRange);
        }
        let walk = self.walk(mem, ipa, size);
        match walk.entry {
            Entry::Leaf(leaf) => Ok((walk, leaf)),
            Entry::Table(_) => Err(UnmapError::Mixed),
            Entry::Invalid(_) => Err(UnmapError::NotMapped),
        }
    }

    /// Gives back one table page, and those above it that thereby become empty. Returns whether
    /// it found one; call until it does not. For the end of a VM: all leaves are unmapped, and
    /// only notes keep tables other than the root.
    ///
    /// # Panics
    /// If it meets a leaf: a bug of the caller's.
    pub fn free_tables(&mut self, mem: &impl TableMemory, pool: &mut Pool) -> bool {
        let used = |entry| entry != Entry::Invalid(Note::NONE);
        let Some((ipa, walk)) = self.find(mem, Ipa::containing(0), u64::MAX, used) else {
            return false;
        };
        for slot in core::iter::once(walk.end).chain(walk.end.others()) {
            assert!(
                matches!(slot.read(mem), Entry::Invalid(_)),
                "freed under a leaf: {ipa:?}"
            );
            slot.write(mem, 0);
        }
        self.release_empty(mem, pool, ipa, &walk);
        true
    }

    /// Unlinks the tables on the walk that just became empty of notes, and returns them.
    pub(super) fn release_empty(
        &self,
        mem: &impl TableMemory,
        pool: &mut Pool,
        ipa: Ipa,
        walk: &Walk,
    ) {
        let empty = unlink_empty(mem, walk);
        if empty != NO_TABLES {
            mem.tlb_invalidate(self.vm, TlbScope::Leaf(ipa, Size::Page));
        }
        empty
            .into_iter()
            .flatten()
            .for_each(|table| pool.push(mem, table));
    }
}

const NO_TABLES: [Option<Pfn>; 3] = [None; 3];

/// Does the pool hold the tables for a leaf of `size` below the larger one at `slot`?
fn enough_to_split(slot: Slot, size: Size, pool_len: u64) -> Result<(), UnmapError> {
    match slot.missing_tables(size, pool_len) {
        0 => Ok(()),
        missing => Err(UnmapError::NoTables(missing)),
    }
}

/// Unlinks the tables that the end of the walk, now zero, leaves empty, from the lowest up. They
/// are not to be touched before an invalidation of the walk.
pub(super) fn unlink_empty(mem: &impl TableMemory, walk: &Walk) -> [Option<Pfn>; 3] {
    let mut empty = NO_TABLES;
    let mut slot = walk.end;
    for place in &mut empty {
        let Some(above) = walk.above(slot) else { break };
        let free = |slot: Slot| slot.read(mem) == Entry::Invalid(Note::NONE);
        if !slot.others().all(free) {
            break;
        }
        above.write(mem, 0);
        *place = Some(slot.table);
        slot = above;
    }
    empty
}
