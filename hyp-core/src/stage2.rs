//! Stage-2 translation tables, of the host and of VMs alike: one implementation.
//!
//! The tables are those of DDI 0487 D8.3 with the 4 KiB granule; leaves are 4 KiB, 2 MiB and
//! 1 GiB. A [`Stage2`] is changed by one CPU at a time (`&mut`, under the caller's lock) while the
//! walkers of all CPUs read it. The rules, which hold for every walker at every moment:
//!
//! 1. *Break before make* (DDI 0487 D8.17.1). A valid descriptor becomes another valid one only
//!    through: invalid, invalidated in every TLB, new one. Excepted are changes of permissions
//!    and of the access flag alone; these are written in place and then invalidated.
//! 2. A table is complete before a descriptor points to it, and its page goes back to the
//!    [`Pool`] only after the invalidation of the walk that led to it.
//! 3. Every method returns with its invalidations complete: no TLB holds what the table no
//!    longer says.
//! 4. A table that is not the root holds at least one leaf, table or note; the last one to go
//!    takes the table with it. So a table under a block's address always means *occupied*.
//! 5. The valid bit decides. Frame 0 is a frame, and a [`Note`] is not a translation.
//!
//! While a leaf is being split, merged or changed in kind, a CPU may take a translation fault on
//! it. The caller takes the lock, looks up, finds the leaf, and lets the access be done again.
//!
//! Each change has two halves: `can_…` looks and refuses, the other commits and cannot fail if
//! the look under the same lock said yes with the pool's length.
//!
//! Start reading at [`descriptor`](self) (what an entry says), then `walk`, `map`, `unmap`.

use crate::addr::{Ipa, Pfn, Size, VmId};
use crate::machine::{Stage2Root, TableMemory};

mod accessed;
mod change;
mod descriptor;
mod devices;
mod geometry;
mod identity;
#[cfg(feature = "inspect")]
mod inspect;
mod map;
mod merge;
mod note;
mod pool;
mod split;
mod unmap;
mod walk;

#[cfg(test)]
mod tests;

pub use change::{Change, Span};
pub use descriptor::{Attrs, Leaf, MemoryKind, Note};
pub use geometry::Geometry;
#[cfg(feature = "inspect")]
pub use inspect::Seen;
pub use map::MapError;
pub use pool::Pool;
pub use unmap::UnmapError;

use descriptor::Entry;

/// The translation table of the host or of one VM.
#[derive(Debug)]
pub struct Stage2 {
    /// Whose translations these are: the VMID of every invalidation.
    pub vm: VmId,
    root: Pfn,
    geometry: Geometry,
}

/// What a table says about an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// It is translated.
    Leaf {
        /// The leaf's first address.
        ipa: Ipa,
        /// The leaf.
        leaf: Leaf,
    },
    /// It is not.
    Invalid {
        /// The aligned region of this size around the address is a hole (1 GiB stands for
        /// larger holes too). A leaf of this size needs no more tables than one for the page.
        size: Size,
        /// The page's note; only a hole of one page can have one.
        note: Note,
    },
}

impl Stage2 {
    /// An empty table. The [`Geometry::root_frames`] frames from `root` are the caller's gift:
    /// zeroed, and unreachable for anyone else.
    ///
    /// # Panics
    /// If `root` is not aligned to the size of the root table, as `VTTBR_EL2.BADDR` demands.
    pub fn new(vm: VmId, root: Pfn, geometry: Geometry) -> Self {
        assert!(root.0.is_multiple_of(geometry.root_frames()));
        Stage2 { vm, root, geometry }
    }

    /// What `VTTBR_EL2` needs to know.
    pub const fn root(&self) -> Stage2Root {
        Stage2Root {
            vm: self.vm,
            root: self.root,
        }
    }

    /// The shape of the table.
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// What the table says about the page at `ipa`. Beyond the geometry there is nothing.
    pub fn lookup(&self, mem: &impl TableMemory, ipa: Ipa) -> Lookup {
        if !self.geometry.contains(ipa, Size::Page) {
            return Lookup::Invalid {
                size: Size::Block1G,
                note: Note::NONE,
            };
        }
        let walk = self.walk(mem, ipa, Size::Page);
        match walk.entry {
            Entry::Leaf(leaf) => Lookup::Leaf {
                ipa: walk.end.first(ipa),
                leaf,
            },
            Entry::Invalid(note) => Lookup::Invalid {
                size: walk.end.size(),
                note,
            },
            Entry::Table(_) => unreachable!("a walk to level 3 ends at a table"),
        }
    }

    /// The frame behind the page at `ipa`: in a block the page's own, not the block's first
    /// (kcore item 12).
    pub fn frame_of(&self, mem: &impl TableMemory, ipa: Ipa) -> Option<Pfn> {
        match self.lookup(mem, ipa) {
            Lookup::Leaf { ipa: first, leaf } => {
                Some(leaf.frame.add(ipa.page_number() - first.page_number()))
            }
            Lookup::Invalid { .. } => None,
        }
    }

    /// The first leaf that ends beyond `from`: the one around it, else the next above.
    pub fn next_leaf(&self, mem: &impl TableMemory, from: Ipa) -> Option<(Ipa, Leaf)> {
        let is_leaf = |entry| matches!(entry, Entry::Leaf(_));
        let (ipa, walk) = self.find(mem, from, u64::MAX, is_leaf)?;
        match walk.entry {
            Entry::Leaf(leaf) => Some((ipa, leaf)),
            _ => None,
        }
    }
}
