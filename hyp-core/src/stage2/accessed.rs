//! The access flag: which leaves were used since it was last cleared.
//!
//! A leaf with the flag clear is not cached in TLBs (DDI 0487 D8.5, the access flag), so setting
//! it needs no invalidation, and clearing it needs one, without which no access would set it
//! again. Where hardware sets the flag beside us (`VTCR_EL2.HA`), an update between our read and
//! our write can be lost; it says no more than the access before it did.

use super::Stage2;
use super::descriptor::{Entry, Leaf};
use crate::addr::{Ipa, Size};
use crate::machine::{TableMemory, TlbScope};

impl Stage2 {
    /// Clears the access flag of every leaf in the range, or of the larger leaf that contains
    /// it. Says whether one was set; `None` if nothing is mapped there.
    pub fn take_accessed(&mut self, mem: &impl TableMemory, ipa: Ipa, size: Size) -> Option<bool> {
        let end = ipa.as_u64() + size.bytes();
        let (mut found, mut stale) = (false, None);
        let mut at = ipa;
        while let Some((first, slot, leaf)) = self.next_slot(mem, at)
            && first.as_u64() < end
        {
            found = true;
            if leaf.accessed {
                slot.write(
                    mem,
                    Leaf {
                        accessed: false,
                        ..leaf
                    }
                    .encode(),
                );
                // More than one: all of the VMID's, for the reason given at `merge`.
                stale = Some(match stale {
                    None => TlbScope::Leaf(first, leaf.size),
                    Some(_) => TlbScope::All,
                });
            }
            at = Ipa::containing(first.as_u64() + leaf.size.bytes());
        }
        if let Some(scope) = stale {
            mem.tlb_invalidate(self.vm, scope);
        }
        found.then_some(stale.is_some())
    }

    /// Sets the access flag of the leaf around `ipa`: the answer to an access flag fault.
    /// Returns whether there is a leaf.
    pub fn set_accessed(&mut self, mem: &impl TableMemory, ipa: Ipa) -> bool {
        if !self.geometry.contains(ipa, Size::Page) {
            return false;
        }
        let walk = self.walk(mem, ipa, Size::Page);
        let Entry::Leaf(leaf) = walk.entry else {
            return false;
        };
        walk.end.write(
            mem,
            Leaf {
                accessed: true,
                ..leaf
            }
            .encode(),
        );
        mem.publish();
        true
    }
}
