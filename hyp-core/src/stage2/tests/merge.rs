//! Joining leaves.

use super::{Fixture, G, K4, M2, RO, RWX, VM, ipa, leaf};
use crate::addr::Size;
use crate::machine::TlbScope;

fn full(frame: u64) -> Fixture {
    let mut f = Fixture::new(36, 2).probing(&[M2, M2 + K4, M2 + 7 * K4, 2 * M2 - K4]);
    f.fill(M2, frame);
    f
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn pages_to_a_block_from_any_of_them() {
    for at in [M2, M2 + K4, M2 + 300 * K4, 2 * M2 - K4] {
        let mut f = full(1024);
        let writes = f.mem.live_writes.get();
        assert!(f.merge(at));
        assert_eq!(f.leaves(), [(M2, leaf(1024, Size::Block2M, RWX))]);
        assert_eq!(f.pool.len(), 1);
        assert_eq!(f.mem.live_writes.get() - writes, 2);
        assert_eq!(*f.mem.invalidations.borrow(), [(VM, TlbScope::All)]);
        assert!(!f.merge(at));
    }
}

#[test]
fn pages_and_blocks_to_a_gibibyte() {
    for bits in [36, 44] {
        let mut f = Fixture::new(bits, 3).probing(&[0, K4, M2, 5 * M2 + 5 * K4, G - K4]);
        let free = f.pool.len();
        f.identity(0, Size::Block1G);
        let with_leaf = f.pool.len();
        assert!(free >= with_leaf);
        f.unmap(5 * M2 + 5 * K4, Size::Page);
        f.identity(5 * M2 + 5 * K4, Size::Page);
        f.mem.invalidations.borrow_mut().clear();
        assert!(f.merge(5 * M2 + 9 * K4));
        assert_eq!(f.leaves(), [(0, leaf(0, Size::Block1G, RWX))]);
        assert_eq!(f.pool.len(), with_leaf);
        assert_eq!(f.mem.invalidations.borrow().len(), 2);
    }
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn not_when_one_is_missing_or_different() {
    for at in [M2, M2 + K4, M2 + 7 * K4, 2 * M2 - K4] {
        let frame = 512 + (at - M2) / K4;
        let mut f = full(512);
        f.unmap(at, Size::Page);
        assert!(!f.merge(M2 + 100 * K4), "missing");
        f.map(at, frame, Size::Page, RO);
        assert!(!f.merge(M2 + 100 * K4), "attributes");
        f.unmap(at, Size::Page);
        f.map(at, frame + 512, Size::Page, RWX);
        assert!(!f.merge(M2 + 100 * K4), "frame");
        assert!(!f.merge(at));
        f.unmap(at, Size::Page);
        f.map(at, frame, Size::Page, RWX);
        assert!(f.merge(M2 + 100 * K4));
    }
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn not_when_the_frames_are_not_aligned() {
    let mut f = full(512 + 1);
    assert!(!f.merge(M2));
    let mut f = full(256);
    assert!(!f.merge(M2 + 256 * K4));
    assert_eq!(f.leaves().len(), 512);
}

#[test]
fn a_table_is_no_leaf_for_its_neighbours() {
    let mut f = Fixture::new(36, 2);
    f.identity(0, Size::Block1G);
    f.unmap(M2, Size::Page);
    assert!(!f.merge(0));
    assert!(!f.merge(G - M2));
}

#[test]
fn nothing_to_merge() {
    let mut f = Fixture::new(48, 3);
    assert!(!f.merge(0));
    assert!(!f.merge(1 << 48));
    f.identity(0, Size::Block1G);
    assert!(!f.merge(0));
    let mut f = Fixture::new(36, 3);
    f.identity(0, Size::Block1G);
    f.identity(4 * G, Size::Page);
    f.identity(5 * G, Size::Block2M);
    assert!(!f.merge(0) && !f.merge(4 * G) && !f.merge(5 * G) && !f.merge(6 * G));
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn gibibytes_do_not_merge() {
    let mut f = Fixture::new(48, 1);
    (0..512).for_each(|n| f.identity(n * G, Size::Block1G));
    assert!(!f.merge(0));
    assert_eq!(f.leaves().len(), 512);
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn accessed_if_any_was() {
    let mut f = full(512);
    f.table.take_accessed(&f.mem, ipa(M2), Size::Block2M);
    f.table.set_accessed(&f.mem, ipa(M2 + 9 * K4));
    assert!(f.merge(M2));
    assert!(f.leaves()[0].1.accessed);
    let mut f = full(512);
    f.table.take_accessed(&f.mem, ipa(M2), Size::Block2M);
    assert!(f.merge(M2));
    assert!(!f.leaves()[0].1.accessed);
    let mut f = full(512);
    f.table.take_accessed(&f.mem, ipa(M2), Size::Block2M);
    f.table.set_accessed(&f.mem, ipa(M2));
    assert!(f.merge(M2));
    assert!(f.leaves()[0].1.accessed);
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn filling_a_table_costs_little() {
    let orders: [fn(u64) -> u64; 2] = [|n| n, |n| 511 - n];
    for order in orders {
        let mut f = Fixture::new(36, 2);
        f.mem.reads.set(0);
        for n in 0..511 {
            let at = order(n) * K4;
            f.identity(at, Size::Page);
            assert!(!f.merge(at));
        }
        assert!(f.mem.reads.get() < 511 * 12, "{}", f.mem.reads.get());
    }
}
