//! Tests of the tables, on memory whose walkers and TLBs are as unkind as the manual allows.

mod accessed;
mod change;
mod descriptor;
mod geometry;
mod lookup;
#[cfg(not(miri))]
mod loss;
mod map;
mod memory;
mod merge;
mod model;
mod note;
mod pool;
mod protect;
mod random;
mod speculate;
mod unmap;

use super::{Attrs, Change, Geometry, Leaf, MemoryKind, Pool, Span, Stage2, UnmapError};
use crate::addr::{Ipa, Pfn, Size, VmId};
use memory::{FIRST, Mem};

const RWX: Attrs = Attrs {
    kind: MemoryKind::Normal,
    write: true,
    execute: true,
};
const RO: Attrs = Attrs {
    kind: MemoryKind::Normal,
    write: false,
    execute: true,
};
const DEVICE: Attrs = Attrs {
    kind: MemoryKind::Device,
    write: true,
    execute: false,
};

const VM: VmId = VmId(7);
const G: u64 = 1 << 30;
const M2: u64 = 2 << 20;
const K4: u64 = 4096;

/// One place.
fn one(ipa: Ipa, size: Size) -> Span {
    let count = 1;
    Span { ipa, size, count }
}

/// To these attributes.
fn to(attrs: Attrs) -> impl Fn(Leaf) -> Option<Change> + Copy {
    move |leaf| {
        Some(if leaf.attrs == attrs {
            Change::Keep
        } else {
            Change::Attrs(attrs)
        })
    }
}

fn age(leaf: Leaf) -> Option<Change> {
    Some(if leaf.accessed {
        Change::Age
    } else {
        Change::Keep
    })
}

/// The changes of one leaf.
impl Stage2 {
    fn can_protect(
        &self,
        mem: &Mem,
        pool_len: u64,
        ipa: Ipa,
        size: Size,
        attrs: Attrs,
    ) -> Result<(), UnmapError> {
        self.can_change(mem, pool_len, one(ipa, size), to(attrs))
    }

    /// Ages what is there, of whatever size; `None`: nothing is.
    fn take_accessed(&mut self, mem: &Mem, ipa: Ipa, size: Size) -> Option<bool> {
        let mut found = false;
        let aged = self.change(mem, &mut Pool::new(), one(ipa, size), |leaf| {
            found = true;
            age(leaf)
        });
        found.then_some(aged > 0)
    }
}

fn ipa(address: u64) -> Ipa {
    Ipa::page(address).unwrap()
}

fn leaf(frame: u64, size: Size, attrs: Attrs) -> Leaf {
    Leaf {
        frame: Pfn(frame),
        size,
        attrs,
        accessed: true,
    }
}

/// One table with its memory and pool. The methods check, commit, and let the memory assert that
/// nothing stale is left.
struct Fixture {
    mem: Mem,
    pool: Pool,
    table: Stage2,
}

impl Fixture {
    /// A table of this width, with so many pages in the pool; the frames of the memory that are
    /// in neither hold rubbish.
    fn new(bits: u8, pages: u64) -> Self {
        let geometry = Geometry::new(bits).unwrap();
        let mem = Mem::new(16 + pages as usize);
        let table = Stage2::new(VM, Pfn(FIRST), geometry);
        mem.add_root(VM, FIRST, geometry.root_frames(), geometry.start_level());
        let mut pool = Pool::new();
        for n in (0..pages).rev() {
            pool.push(&mem, Pfn(FIRST + 16 + n));
        }
        Fixture { mem, pool, table }
    }

    fn probing(mut self, probes: &[u64]) -> Self {
        self.mem.probe(probes);
        self
    }

    fn map(&mut self, at: u64, frame: u64, size: Size, attrs: Attrs) {
        let len = self.pool.len();
        assert_eq!(
            self.table
                .can_map(&self.mem, len, ipa(at), Pfn(frame), size),
            Ok(())
        );
        self.table
            .map(&self.mem, &mut self.pool, ipa(at), Pfn(frame), size, attrs);
        self.mem.check();
    }

    fn identity(&mut self, at: u64, size: Size) {
        self.map(at, at / K4, size, RWX);
    }

    /// Maps the 512 pages of 2 MiB.
    fn fill(&mut self, at: u64, frame: u64) {
        for n in 0..512 {
            let (ipa, frame) = (ipa(at + n * K4), Pfn(frame + n));
            self.table
                .map(&self.mem, &mut self.pool, ipa, frame, Size::Page, RWX);
        }
        self.mem.check();
    }

    fn unmap(&mut self, at: u64, size: Size) -> Leaf {
        let seen = self
            .table
            .can_unmap(&self.mem, self.pool.len(), ipa(at), size)
            .unwrap();
        let leaf = self.table.unmap(&self.mem, &mut self.pool, ipa(at), size);
        assert_eq!(seen, leaf);
        self.mem.check();
        leaf
    }

    fn protect(&mut self, at: u64, size: Size, attrs: Attrs) {
        let len = self.pool.len();
        assert_eq!(
            self.table.can_protect(&self.mem, len, ipa(at), size, attrs),
            Ok(())
        );
        self.table
            .change(&self.mem, &mut self.pool, one(ipa(at), size), to(attrs));
        self.mem.check();
    }

    fn merge(&mut self, at: u64) -> bool {
        let merged = self.table.merge(&self.mem, &mut self.pool, ipa(at));
        self.mem.check();
        merged
    }

    fn leaves(&self) -> std::vec::Vec<(u64, Leaf)> {
        let mut leaves = std::vec::Vec::new();
        let mut at = ipa(0);
        while let Some((first, leaf)) = self.table.next_leaf(&self.mem, at) {
            leaves.push((first.as_u64(), leaf));
            at = Ipa::containing(first.as_u64() + leaf.size.bytes());
        }
        leaves
    }
}
