//! Changing what a leaf allows, and splitting leaves.

use super::descriptor::{Attrs, Entry, Leaf};
use super::unmap::{UnmapError, enough_to_split};
use super::walk::{ENTRIES, Slot};
use super::{Pool, Stage2};
use crate::addr::{Ipa, Size};
use crate::machine::{TableMemory, TlbScope};

impl Stage2 {
    /// Can the attributes of the range be changed: is it one leaf, or part of a larger one that
    /// has them already or that the pool's `pool_len` pages allow to split?
    ///
    /// # Errors
    /// [`UnmapError`]; nothing changed.
    pub fn can_protect(
        &self,
        mem: &impl TableMemory,
        pool_len: u64,
        ipa: Ipa,
        size: Size,
        attrs: Attrs,
    ) -> Result<(), UnmapError> {
        let (walk, leaf) = self.plan_part(mem, ipa, size)?;
        if leaf.attrs == attrs {
            return Ok(());
        }
        enough_to_split(walk.end, size, pool_len)
    }

    /// Changes them. On return no TLB holds the old ones.
    ///
    /// # Panics
    /// If [`Stage2::can_protect`] would have refused: a bug of the caller's.
    pub fn protect(
        &mut self,
        mem: &impl TableMemory,
        pool: &mut Pool,
        ipa: Ipa,
        size: Size,
        attrs: Attrs,
    ) {
        self.can_protect(mem, pool.len(), ipa, size, attrs)
            .expect("protect without can_protect");
        let (walk, leaf) = self
            .plan_part(mem, ipa, size)
            .expect("can_protect saw a leaf");
        if leaf.attrs == attrs {
            return;
        }
        let part = leaf.part(ipa.page_number() % leaf.size.frames(), size);
        let raw = Leaf { attrs, ..part }.encode();
        if walk.end.level < size.level() {
            self.carve(mem, pool, walk.end, ipa, size, raw);
        } else if leaf.attrs.kind == attrs.kind {
            // Permissions alone need no break-before-make (DDI 0487 D8.17.1).
            walk.end.write(mem, raw);
            mem.tlb_invalidate(self.vm, TlbScope::Leaf(ipa, size));
        } else {
            self.replace(mem, walk.end, TlbScope::Leaf(ipa, size), raw);
        }
    }

    /// Break before make: the descriptor at `slot`, of which `scope` is all that TLBs can hold,
    /// becomes `raw`.
    pub(super) fn replace(&self, mem: &impl TableMemory, slot: Slot, scope: TlbScope, raw: u64) {
        slot.write(mem, 0);
        mem.tlb_invalidate(self.vm, scope);
        slot.write(mem, raw);
        mem.publish();
    }

    /// Splits the leaf at `slot`, larger than `size`, so that the part at `ipa` gets the
    /// descriptor `raw` (which may be invalid) and all other parts stay what they were.
    ///
    /// One break-before-make, however many levels the new tables have: they are built unlinked.
    pub(super) fn carve(
        &self,
        mem: &impl TableMemory,
        pool: &mut Pool,
        slot: Slot,
        ipa: Ipa,
        size: Size,
        raw: u64,
    ) {
        let Entry::Leaf(leaf) = slot.read(mem) else {
            unreachable!("the caller saw a leaf at {slot:?}");
        };
        let mut entry = raw;
        for level in (slot.level + 1..=size.level()).rev() {
            let table = pool.pop(mem).expect("table page was counted");
            let target = Slot::of(table, ipa, level);
            target.write(mem, entry);
            // Where in the leaf this table begins.
            let part = target.size();
            let within = ipa.page_number() % leaf.size.frames() / part.frames();
            let first = within / ENTRIES as u64 * ENTRIES as u64;
            for other in target.others() {
                let part = leaf.part((first + other.index as u64) * part.frames(), part);
                other.write(mem, part.encode());
            }
            entry = Entry::table(table);
        }
        self.replace(mem, slot, TlbScope::Leaf(slot.first(ipa), leaf.size), entry);
    }
}
