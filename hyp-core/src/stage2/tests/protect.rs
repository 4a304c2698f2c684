//! Changing attributes.

use super::{Fixture, G, K4, M2, RO, RWX, VM, ipa, leaf};
use crate::addr::Size;
use crate::machine::TlbScope;
use crate::stage2::{Attrs, UnmapError};

const XN: Attrs = Attrs {
    execute: false,
    ..RWX
};

#[test]
fn permissions_change_in_place() {
    for size in [Size::Page, Size::Block2M, Size::Block1G] {
        let mut f = Fixture::new(36, 2).probing(&[G]);
        f.identity(G, size);
        for attrs in [RO, RWX, XN] {
            let writes = f.mem.live_writes.get();
            f.mem.invalidations.borrow_mut().clear();
            f.protect(G, size, attrs);
            assert_eq!(f.leaves(), [(G, leaf(G / K4, size, attrs))]);
            assert_eq!(f.mem.live_writes.get() - writes, 1);
            assert_eq!(
                *f.mem.invalidations.borrow(),
                [(VM, TlbScope::Leaf(ipa(G), size))]
            );
        }
    }
}

#[test]
fn a_part_of_a_block_is_split_off() {
    let mut f = Fixture::new(36, 2).probing(&[M2, M2 + K4, 2 * M2 - K4]);
    f.identity(M2, Size::Block2M);
    let writes = f.mem.live_writes.get();
    f.protect(M2 + K4, Size::Page, RO);
    assert_eq!(f.mem.live_writes.get() - writes, 2);
    let leaves = f.leaves();
    assert_eq!(leaves.len(), 512);
    for (first, leaf) in leaves {
        assert_eq!(leaf.frame.0, first / K4);
        assert_eq!(leaf.attrs, if first == M2 + K4 { RO } else { RWX });
    }
}

#[test]
fn what_it_has_already_needs_no_split() {
    let mut f = Fixture::new(36, 2);
    f.identity(G, Size::Block1G);
    let writes = f.mem.live_writes.get();
    assert_eq!(
        f.table.can_protect(&f.mem, 0, ipa(G), Size::Page, RWX),
        Ok(())
    );
    f.protect(G, Size::Page, RWX);
    assert_eq!(f.mem.live_writes.get(), writes);
    assert_eq!(f.leaves().len(), 1);
    assert!(f.mem.invalidations.borrow().is_empty());
}

#[test]
fn the_access_flag_stays() {
    let mut f = Fixture::new(36, 2);
    f.identity(0, Size::Page);
    f.table.take_accessed(&f.mem, ipa(0), Size::Page);
    f.protect(0, Size::Page, RO);
    assert!(!f.leaves()[0].1.accessed);
    f.table.set_accessed(&f.mem, ipa(0));
    f.protect(0, Size::Page, RWX);
    assert!(f.leaves()[0].1.accessed);
}

#[test]
fn refusals() {
    let mut f = Fixture::new(36, 2);
    f.identity(0, Size::Page);
    f.identity(G, Size::Block1G);
    let can = |at, size, pool| f.table.can_protect(&f.mem, pool, ipa(at), size, RO);
    assert_eq!(can(K4, Size::Block2M, 3), Err(UnmapError::Misaligned));
    assert_eq!(can(1 << 36, Size::Page, 3), Err(UnmapError::OutOfRange));
    assert_eq!(can(K4, Size::Page, 3), Err(UnmapError::NotMapped));
    assert_eq!(can(0, Size::Block2M, 3), Err(UnmapError::Mixed));
    assert_eq!(can(G, Size::Page, 2), Err(UnmapError::Mixed));
    f.identity(M2, Size::Block2M);
    let can = |at, size, pool| f.table.can_protect(&f.mem, pool, ipa(at), size, RO);
    assert_eq!(can(M2, Size::Page, 0), Err(UnmapError::NoTables(1)));
    assert_eq!(can(M2, Size::Page, 1), Ok(()));
    assert_eq!(can(G, Size::Block1G, 0), Ok(()));
}
