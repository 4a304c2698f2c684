//! Removing translations.

use super::{DEVICE, Fixture, G, K4, M2, RO, RWX, VM, ipa, leaf};
use crate::addr::Size;
use crate::machine::TlbScope;
use crate::stage2::{Note, UnmapError};

#[test]
fn a_whole_leaf_and_its_tables() {
    for bits in [36, 48] {
        for size in [Size::Page, Size::Block2M, Size::Block1G] {
            let mut f = Fixture::new(bits, 3).probing(&[G, G + K4]);
            f.map(G, 0, size, DEVICE);
            assert_eq!(f.unmap(G, size), leaf(0, size, DEVICE));
            assert_eq!(f.pool.len(), 3);
            assert_eq!(
                *f.mem.invalidations.borrow(),
                [(VM, TlbScope::Leaf(ipa(G), size))]
            );
        }
    }
}

#[test]
fn a_table_stays_while_anything_is_in_it() {
    for other in [K4, 2 * K4, M2 - 2 * K4, M2 - K4] {
        let mut f = Fixture::new(36, 2).probing(&[0, other]);
        f.identity(0, Size::Page);
        f.identity(other, Size::Page);
        f.unmap(0, Size::Page);
        assert_eq!(f.pool.len(), 0);
        assert_eq!(f.leaves(), [(other, leaf(other / K4, Size::Page, RWX))]);
        f.unmap(other, Size::Page);
        assert_eq!(f.pool.len(), 2);
    }
}

#[test]
fn a_note_keeps_the_table() {
    let mut f = Fixture::new(36, 2).probing(&[0]);
    f.identity(0, Size::Page);
    f.table.set_note(&f.mem, &mut f.pool, ipa(7 * K4), Note(1));
    f.unmap(0, Size::Page);
    assert_eq!(f.pool.len(), 0);
}

#[test]
fn an_upper_table_stays_while_it_has_a_lower_one() {
    let mut f = Fixture::new(48, 6).probing(&[0, M2, G]);
    for at in [0, M2, G] {
        f.identity(at, Size::Page);
    }
    for (at, free) in [(0, 1), (M2, 3), (G, 6)] {
        f.unmap(at, Size::Page);
        assert_eq!(f.pool.len(), free);
    }
}

#[test]
fn one_page_out_of_a_block() {
    let mut f = Fixture::new(36, 2).probing(&[0, K4, 5 * K4, M2 - K4]);
    f.map(0, 1024, Size::Block2M, RO);
    assert_eq!(f.pool.len(), 1);
    let writes = f.mem.live_writes.get();
    assert_eq!(f.unmap(5 * K4, Size::Page), leaf(1024 + 5, Size::Page, RO));
    assert_eq!(f.mem.live_writes.get() - writes, 2);
    assert_eq!(f.pool.len(), 0);
    let expected = (0..512).filter(|&n| n != 5);
    let expected = expected.map(|n| (n * K4, leaf(1024 + n, Size::Page, RO)));
    assert!(f.leaves().into_iter().eq(expected));
    let scope = TlbScope::Leaf(ipa(0), Size::Block2M);
    assert_eq!(*f.mem.invalidations.borrow(), [(VM, scope)]);
}

#[test]
fn one_page_out_of_a_gibibyte() {
    let at = 3 * G + 17 * M2 + 511 * K4;
    let mut f = Fixture::new(36, 2).probing(&[3 * G, at, at - K4, at + K4, 4 * G - K4]);
    f.map(3 * G, 2 << 18, Size::Block1G, RWX);
    let writes = f.mem.live_writes.get();
    let frame = (2 << 18) + 17 * 512 + 511;
    assert_eq!(f.unmap(at, Size::Page), leaf(frame, Size::Page, RWX));
    assert_eq!(f.mem.live_writes.get() - writes, 2);
    assert_eq!(f.pool.len(), 0);
    let leaves = f.leaves();
    assert_eq!(leaves.len(), 511 + 511);
    for &(first, leaf) in &leaves {
        assert_eq!(leaf.frame.0 - (2 << 18), (first - 3 * G) / K4);
        let inner = (3 * G + 17 * M2..3 * G + 18 * M2).contains(&first);
        assert_eq!(leaf.size, if inner { Size::Page } else { Size::Block2M });
    }
    let scope = TlbScope::Leaf(ipa(3 * G), Size::Block1G);
    assert_eq!(*f.mem.invalidations.borrow(), [(VM, scope)]);
}

#[test]
fn a_block_out_of_a_gibibyte() {
    let mut f = Fixture::new(44, 2).probing(&[0, G - M2, G - K4]);
    f.identity(0, Size::Block1G);
    assert_eq!(
        f.unmap(G - M2, Size::Block2M),
        leaf(511 * 512, Size::Block2M, RWX)
    );
    assert_eq!(f.leaves().len(), 511);
    assert_eq!(f.pool.len(), 0);
}

#[test]
fn splitting_keeps_the_access_flag() {
    let mut f = Fixture::new(36, 2).probing(&[0, K4]);
    f.identity(0, Size::Block2M);
    f.table.take_accessed(&f.mem, ipa(0), Size::Block2M);
    assert!(!f.unmap(0, Size::Page).accessed);
    assert!(f.leaves().iter().all(|(_, leaf)| !leaf.accessed));
}

#[test]
fn refusals() {
    let mut f = Fixture::new(36, 3);
    f.identity(0, Size::Page);
    f.identity(G, Size::Block1G);
    f.identity(2 * M2, Size::Block2M);
    let can = |at, size, pool| f.table.can_unmap(&f.mem, pool, ipa(at), size).map(drop);
    assert_eq!(can(K4, Size::Block2M, 3), Err(UnmapError::Misaligned));
    assert_eq!(can(1 << 36, Size::Page, 3), Err(UnmapError::OutOfRange));
    assert_eq!(can(1 << 36, Size::Block1G, 3), Err(UnmapError::OutOfRange));
    assert_eq!(can(K4, Size::Page, 3), Err(UnmapError::NotMapped));
    assert_eq!(can(M2, Size::Page, 3), Err(UnmapError::NotMapped));
    assert_eq!(can(M2, Size::Block2M, 3), Err(UnmapError::NotMapped));
    assert_eq!(
        can((1 << 36) - G, Size::Block1G, 3),
        Err(UnmapError::NotMapped)
    );
    assert_eq!(can(0, Size::Block2M, 3), Err(UnmapError::Mixed));
    assert_eq!(can(0, Size::Block1G, 3), Err(UnmapError::Mixed));
    assert_eq!(can(G, Size::Page, 0), Err(UnmapError::NoTables(2)));
    assert_eq!(can(G, Size::Page, 1), Err(UnmapError::NoTables(1)));
    assert_eq!(can(G, Size::Page, 2), Ok(()));
    assert_eq!(can(G, Size::Block2M, 0), Err(UnmapError::NoTables(1)));
    assert_eq!(can(G, Size::Block2M, 1), Ok(()));
    assert_eq!(can(G, Size::Block1G, 0), Ok(()));
    assert_eq!(
        can(2 * M2 + K4, Size::Page, 0),
        Err(UnmapError::NoTables(1))
    );
}

#[test]
#[should_panic(expected = "unmap without can_unmap")]
fn unmapping_a_hole_is_a_bug_of_the_callers() {
    let mut f = Fixture::new(36, 1);
    f.table.unmap(&f.mem, &mut f.pool, ipa(0), Size::Page);
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn working_through_a_table_reads_little() {
    let orders: [fn(u64) -> u64; 2] = [|n| n, |n| 511 - n];
    for order in orders {
        let mut f = Fixture::new(36, 2);
        f.fill(0, 0);
        f.mem.reads.set(0);
        for n in 0..512 {
            f.table
                .unmap(&f.mem, &mut f.pool, ipa(order(n) * K4), Size::Page);
        }
        assert!(
            f.mem.reads.get() < 512 * 11 + 2 * 512,
            "{}",
            f.mem.reads.get()
        );
        assert_eq!(f.pool.len(), 2);
    }
}
