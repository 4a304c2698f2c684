//! Putting one valid descriptor in the place of another, and splitting leaves so.

use super::descriptor::Entry;
use super::walk::{ENTRIES, Slot};
use super::{Pool, Stage2};
use crate::addr::{Ipa, Size};
use crate::machine::{TableMemory, TlbScope};

impl Stage2 {
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
