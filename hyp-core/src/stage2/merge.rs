//! Joining 512 leaves of one table into one leaf of the next size.

use super::descriptor::{Entry, Leaf};
use super::walk::{ENTRIES, Slot};
use super::{Pool, Stage2};
use crate::addr::{Ipa, Pfn, Size};
use crate::machine::{TableMemory, TlbScope};

impl Stage2 {
    /// Joins the leaf at `ipa` with the others of its table where they are contiguous, aligned
    /// and alike, and the result with its own neighbours; says whether it did. Cheap when not:
    /// next to a hole it reads one or two descriptors beyond the walk.
    ///
    /// The 512 pages may each stand in TLBs, and an invalidation by address removes only one.
    /// All of the VMID's go instead: one broadcast against 512, each of which every CPU has to
    /// answer (Linux draws the line at 512 too, `MAX_DVM_OPS`).
    pub fn merge(&mut self, mem: &impl TableMemory, pool: &mut Pool, ipa: Ipa) -> bool {
        let mut merged = false;
        while let Some((slot, table, block)) = self.plan_merge(mem, ipa) {
            self.replace(mem, slot, TlbScope::All, block.encode());
            pool.push(mem, table);
            merged = true;
        }
        merged
    }

    /// The descriptor of the table around `ipa`, the table, and the leaf that can take its place.
    fn plan_merge(&self, mem: &impl TableMemory, ipa: Ipa) -> Option<(Slot, Pfn, Leaf)> {
        if !self.geometry.contains(ipa, Size::Page) {
            return None;
        }
        let walk = self.walk(mem, ipa, Size::Page);
        let Entry::Leaf(leaf) = walk.entry else {
            return None;
        };
        let above = walk.above(walk.end)?;
        // Level 0 has no blocks.
        if leaf.size == Size::Block1G {
            return None;
        }
        // Aligned: leaves stand in the block in the order of their place in the table.
        let number = leaf.frame.0 / leaf.size.frames();
        if number % ENTRIES as u64 != walk.end.index as u64 {
            return None;
        }
        let first = Pfn(leaf.frame.0 - walk.end.index as u64 * leaf.size.frames());
        let mut accessed = leaf.accessed;
        for other in walk.end.others() {
            let Entry::Leaf(next) = other.read(mem) else {
                return None;
            };
            let frame = first.add(other.index as u64 * leaf.size.frames());
            if next.frame != frame || next.attrs != leaf.attrs {
                return None;
            }
            // A page that was accessed must not look as if it had not been.
            accessed |= next.accessed;
        }
        let block = Leaf {
            frame: first,
            size: above.size(),
            attrs: leaf.attrs,
            accessed,
        };
        Some((above, walk.end.table, block))
    }
}
