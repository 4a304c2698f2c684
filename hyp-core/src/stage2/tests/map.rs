//! Adding translations.

use super::{DEVICE, Fixture, G, K4, M2, RWX, ipa, leaf};
use crate::addr::{Pfn, Size};
use crate::stage2::MapError;

#[test]
#[cfg_attr(miri, ignore = "long")]
fn each_size_at_the_first_and_last_place() {
    for bits in [32, 39, 43, 44, 48] {
        for size in [Size::Page, Size::Block2M, Size::Block1G] {
            for at in [0, (1 << bits) - size.bytes()] {
                let mut f = Fixture::new(bits, 3).probing(&[at, at + size.bytes() - K4]);
                f.map(at, 0, size, DEVICE);
                assert_eq!(f.leaves(), [(at, leaf(0, size, DEVICE))]);
                assert_eq!(f.mem.live_writes.get(), 1);
                assert!(f.mem.invalidations.borrow().is_empty());
            }
        }
    }
}

#[test]
fn refuses_misaligned() {
    let f = Fixture::new(36, 3);
    let can = |at, frame, size| f.table.can_map(&f.mem, 3, ipa(at), Pfn(frame), size);
    for size in [Size::Block2M, Size::Block1G] {
        assert_eq!(can(K4, 0, size), Err(MapError::Misaligned));
        assert_eq!(can(size.bytes() / 2, 0, size), Err(MapError::Misaligned));
        assert_eq!(can(0, 1, size), Err(MapError::Misaligned));
        assert_eq!(can(0, size.frames() / 2, size), Err(MapError::Misaligned));
        assert_eq!(can(size.bytes(), size.frames(), size), Ok(()));
    }
}

#[test]
fn refuses_what_is_out_of_range() {
    let f = Fixture::new(36, 3);
    for size in [Size::Page, Size::Block2M, Size::Block1G] {
        let can = |at, frame| f.table.can_map(&f.mem, 3, ipa(at), Pfn(frame), size);
        let end = 1u64 << 36;
        assert_eq!(can(end, 0), Err(MapError::OutOfRange));
        assert_eq!(can(0, end / K4), Err(MapError::OutOfRange));
        assert_eq!(can(end - size.bytes(), end / K4 - size.frames()), Ok(()));
    }
}

#[test]
fn refuses_what_is_occupied_by_larger_equal_or_smaller() {
    let mut f = Fixture::new(36, 4);
    f.identity(G, Size::Block1G);
    f.identity(2 * G + M2, Size::Block2M);
    f.identity(3 * G + M2 + K4, Size::Page);
    let can = |at, size| f.table.can_map(&f.mem, 3, ipa(at), Pfn(0), size);
    for (at, size) in [
        (G, Size::Block1G),
        (2 * G - M2, Size::Block2M),
        (2 * G - K4, Size::Page),
        (2 * G, Size::Block1G),
        (2 * G + M2, Size::Block2M),
        (2 * G + 2 * M2 - K4, Size::Page),
        (3 * G, Size::Block1G),
        (3 * G + M2, Size::Block2M),
        (3 * G + M2 + K4, Size::Page),
    ] {
        assert_eq!(can(at, size), Err(MapError::Occupied), "{at:x} {size:?}");
    }
    for (at, size) in [
        (4 * G, Size::Block1G),
        (2 * G, Size::Block2M),
        (2 * G + 2 * M2, Size::Block2M),
        (3 * G, Size::Block2M),
        (3 * G + M2, Size::Page),
        (3 * G + M2 + 2 * K4, Size::Page),
    ] {
        assert_eq!(can(at, size), Ok(()), "{at:x} {size:?}");
    }
}

#[test]
fn counts_the_tables_it_needs() {
    for (bits, deepest) in [(36, 2), (48, 3)] {
        let f = Fixture::new(bits, 3);
        let sizes = [Size::Block1G, Size::Block2M, Size::Page];
        for (needed, size) in (deepest - 2..).zip(sizes) {
            for pool in 0..=4 {
                let can = f.table.can_map(&f.mem, pool, ipa(0), Pfn(0), size);
                let missing = needed.max(pool) - pool;
                let expected = if missing == 0 {
                    Ok(())
                } else {
                    Err(MapError::NoTables(missing))
                };
                assert_eq!(can, expected, "{bits} {size:?} {pool}");
            }
        }
    }
}

#[test]
fn a_refusal_changes_nothing() {
    let mut f = Fixture::new(36, 1);
    f.identity(0, Size::Block2M);
    let before = f.leaves();
    let writes = f.mem.live_writes.get();
    assert!(
        f.table
            .can_map(&f.mem, 0, ipa(M2), Pfn(0), Size::Page)
            .is_err()
    );
    assert!(
        f.table
            .can_map(&f.mem, 0, ipa(0), Pfn(0), Size::Block2M)
            .is_err()
    );
    assert_eq!((f.leaves(), f.mem.live_writes.get()), (before, writes));
}

#[test]
#[should_panic(expected = "map without can_map")]
fn mapping_twice_is_a_bug_of_the_callers() {
    let mut f = Fixture::new(36, 1);
    f.identity(0, Size::Block2M);
    f.table
        .map(&f.mem, &mut f.pool, ipa(0), Pfn(0), Size::Block2M, RWX);
}

#[test]
fn tables_are_shared_by_neighbours() {
    let mut f = Fixture::new(48, 4);
    f.identity(0, Size::Page);
    assert_eq!(f.pool.len(), 1);
    f.identity(K4, Size::Page);
    f.identity(M2 - K4, Size::Page);
    f.identity(2 * M2, Size::Block2M);
    f.identity(511 * G, Size::Block1G);
    assert_eq!(f.pool.len(), 1);
    f.identity(M2, Size::Page);
    assert_eq!(f.pool.len(), 0);
}
