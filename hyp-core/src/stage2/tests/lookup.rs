//! Reading the tables.

use super::{Fixture, G, K4, M2, RWX, VM, ipa, leaf};
use crate::addr::{Pfn, Size};
use crate::machine::Stage2Root;
use crate::stage2::walk::Slot;
use crate::stage2::{Geometry, Lookup, Note, Stage2};
use std::vec::Vec;

fn hole(size: Size) -> Lookup {
    Lookup::Invalid {
        size,
        note: Note::NONE,
    }
}

#[test]
fn holes_have_the_size_of_their_level() {
    for bits in [36, 48] {
        let mut f = Fixture::new(bits, 3);
        assert_eq!(f.table.lookup(&f.mem, ipa(0)), hole(Size::Block1G));
        f.identity(G + M2 + K4, Size::Page);
        let look = |at| f.table.lookup(&f.mem, ipa(at));
        assert_eq!(look(G - K4), hole(Size::Block1G));
        assert_eq!(look(G), hole(Size::Block2M));
        assert_eq!(look(G + M2), hole(Size::Page));
        let leaf = leaf((G + M2 + K4) / K4, Size::Page, RWX);
        assert_eq!(
            look(G + M2 + K4),
            Lookup::Leaf {
                ipa: ipa(G + M2 + K4),
                leaf
            }
        );
        assert_eq!(look(2 * G), hole(Size::Block1G));
    }
}

#[test]
fn a_leaf_is_found_from_anywhere_in_it() {
    let mut f = Fixture::new(40, 1);
    f.map(5 * M2, 3 * 512, Size::Block2M, RWX);
    let found = Lookup::Leaf {
        ipa: ipa(5 * M2),
        leaf: leaf(3 * 512, Size::Block2M, RWX),
    };
    for at in [5 * M2, 5 * M2 + K4, 6 * M2 - K4] {
        assert_eq!(f.table.lookup(&f.mem, ipa(at)), found);
    }
    assert_eq!(f.table.lookup(&f.mem, ipa(6 * M2)), hole(Size::Block2M));
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn beyond_the_width_is_nothing() {
    for bits in [32, 39, 40, 43, 44, 48] {
        let mut f = Fixture::new(bits, 3);
        let last = (1 << bits) - K4;
        f.identity(last, Size::Page);
        let leaf = leaf(last / K4, Size::Page, RWX);
        assert_eq!(
            f.table.lookup(&f.mem, ipa(last)),
            Lookup::Leaf {
                ipa: ipa(last),
                leaf
            }
        );
        assert_eq!(f.table.lookup(&f.mem, ipa(1 << bits)), hole(Size::Block1G));
        assert_eq!(f.table.next_leaf(&f.mem, ipa(0)), Some((ipa(last), leaf)));
        assert_eq!(f.table.next_leaf(&f.mem, ipa(1 << bits)), None);
    }
}

#[test]
fn next_leaf_in_order_from_within() {
    let mut f = Fixture::new(36, 3);
    f.identity(4 * G, Size::Block1G);
    f.identity(2 * M2, Size::Block2M);
    f.identity(7 * G + K4, Size::Page);
    let starts = f.leaves().into_iter().map(|(at, leaf)| (at, leaf.size));
    let expected = [
        (2 * M2, Size::Block2M),
        (4 * G, Size::Block1G),
        (7 * G + K4, Size::Page),
    ];
    assert!(starts.eq(expected));
    let next = |at| {
        f.table
            .next_leaf(&f.mem, ipa(at))
            .map(|(at, _)| at.as_u64())
    };
    assert_eq!(next(3 * M2 - K4), Some(2 * M2));
    assert_eq!(next(3 * M2), Some(4 * G));
    assert_eq!(next(5 * G - K4), Some(4 * G));
    assert_eq!(next(5 * G), Some(7 * G + K4));
    assert_eq!(next(7 * G + 2 * K4), None);
}

#[test]
fn the_others_of_a_table_neighbours_first() {
    for index in [0, 1, 300, 511] {
        let table = Pfn(5);
        let level = 2;
        let slot = Slot {
            table,
            index,
            level,
        };
        let others: Vec<_> = slot.others().collect();
        assert_eq!(others.len(), 511);
        assert!(
            others
                .iter()
                .all(|slot| (slot.table, slot.level) == (table, level))
        );
        let mut indices: Vec<_> = others.iter().map(|slot| slot.index).collect();
        assert_eq!(indices[..2], [(index + 511) % 512, (index + 1) % 512]);
        indices.push(index);
        indices.sort();
        assert!(indices.into_iter().eq(0..512));
    }
}

#[test]
fn holes_are_skipped_by_level() {
    let f = Fixture::new(48, 0);
    f.mem.reads.set(0);
    assert_eq!(f.table.next_leaf(&f.mem, ipa(0)), None);
    assert_eq!(f.mem.reads.get(), 512);
}

#[test]
fn root_says_what_vttbr_needs() {
    let f = Fixture::new(40, 0);
    assert_eq!(
        f.table.root(),
        Stage2Root {
            vm: VM,
            root: Pfn(super::FIRST)
        }
    );
    assert_eq!(f.table.geometry(), Geometry::new(40).unwrap());
}

#[test]
#[should_panic]
fn a_root_must_be_aligned_to_its_size() {
    Stage2::new(VM, Pfn(8), Geometry::new(43).unwrap());
}
