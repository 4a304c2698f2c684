//! The access flag: which leaves were used since it was last cleared.
//!
//! A leaf with the flag clear is not cached in TLBs (DDI 0487 D8.5, the access flag), so setting
//! it needs no invalidation, and clearing it ([`Change::Age`](super::Change)) needs one, without
//! which no access would set it again. Where hardware sets the flag beside us (`VTCR_EL2.HA`), an
//! update between our read and our write can be lost; it says no more than the access before it
//! did.

use super::Stage2;
use super::descriptor::{Entry, Leaf};
use crate::addr::{Ipa, Size};
use crate::machine::TableMemory;

impl Stage2 {
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
