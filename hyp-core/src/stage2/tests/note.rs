//! Notes on holes, and the end of a table.

use super::{Fixture, G, K4, M2, VM, ipa};
use crate::addr::{Pfn, Size};
use crate::machine::TlbScope;
use crate::stage2::{Lookup, MapError, Note};

fn noted(note: Note) -> Lookup {
    Lookup::Invalid {
        size: Size::Page,
        note,
    }
}

fn set(f: &mut Fixture, at: u64, note: Note) {
    assert_eq!(
        f.table.can_note(&f.mem, f.pool.len(), ipa(at), note),
        Ok(())
    );
    f.table.set_note(&f.mem, &mut f.pool, ipa(at), note);
    f.mem.check();
}

#[test]
fn set_change_and_clear() {
    let mut f = Fixture::new(48, 3).probing(&[G, G + K4]);
    set(&mut f, G, Note(1));
    assert_eq!(f.table.lookup(&f.mem, ipa(G)), noted(Note(1)));
    assert_eq!(f.table.lookup(&f.mem, ipa(G + K4)), noted(Note::NONE));
    assert_eq!(f.pool.len(), 0);
    set(&mut f, G, Note(255));
    assert_eq!(f.table.lookup(&f.mem, ipa(G)), noted(Note(255)));
    set(&mut f, G + K4, Note(2));
    assert!(f.mem.invalidations.borrow().is_empty());
    set(&mut f, G, Note::NONE);
    assert!(f.mem.invalidations.borrow().is_empty());
    assert_eq!(f.pool.len(), 0);
    set(&mut f, G + K4, Note::NONE);
    assert_eq!(f.pool.len(), 3);
    let scope = TlbScope::Leaf(ipa(G + K4), Size::Page);
    assert_eq!(*f.mem.invalidations.borrow(), [(VM, scope)]);
}

#[test]
fn clearing_nothing_needs_nothing() {
    let mut f = Fixture::new(36, 2);
    let none = f.table.can_note(&f.mem, 0, ipa(0), Note::NONE);
    assert_eq!(none, Ok(()));
    set(&mut f, 0, Note::NONE);
    f.identity(K4, Size::Page);
    set(&mut f, 0, Note::NONE);
    assert_eq!(f.leaves().len(), 1);
    f.identity(2 * M2, Size::Block2M);
    set(&mut f, M2, Note::NONE);
    assert_eq!(f.leaves().len(), 2);
    assert_eq!(f.pool.len(), 0);
}

#[test]
fn a_note_and_a_leaf_exclude_each_other() {
    let mut f = Fixture::new(36, 4);
    set(&mut f, K4, Note(1));
    f.identity(G, Size::Block1G);
    f.identity(2 * K4, Size::Page);
    let can_map = |at, size| f.table.can_map(&f.mem, 9, ipa(at), Pfn(0), size);
    assert_eq!(can_map(K4, Size::Page), Err(MapError::Occupied));
    assert_eq!(can_map(0, Size::Page), Ok(()));
    assert_eq!(can_map(0, Size::Block2M), Err(MapError::Occupied));
    assert_eq!(can_map(0, Size::Block1G), Err(MapError::Occupied));
    for note in [Note::NONE, Note(1)] {
        let can_note = |at| f.table.can_note(&f.mem, 9, ipa(at), note);
        assert_eq!(can_note(2 * K4), Err(MapError::Occupied));
        assert_eq!(can_note(G + K4), Err(MapError::Occupied));
        assert_eq!(can_note(1 << 36), Err(MapError::OutOfRange));
        assert_eq!(can_note((1 << 36) - K4), Ok(()));
    }
    let can_note = |pool| f.table.can_note(&f.mem, pool, ipa(4 * G), Note(1));
    assert_eq!(can_note(0), Err(MapError::NoTables(2)));
    assert_eq!(can_note(1), Err(MapError::NoTables(1)));
    assert_eq!(can_note(2), Ok(()));
}

#[test]
#[should_panic(expected = "set_note without can_note")]
fn noting_a_mapped_page_is_a_bug_of_the_callers() {
    let mut f = Fixture::new(36, 2);
    f.identity(0, Size::Page);
    f.table.set_note(&f.mem, &mut f.pool, ipa(0), Note(1));
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn tables_are_freed_one_at_a_time() {
    let places = [0, K4, M2 - K4, M2, 3 * G, (1 << 43) - K4];
    let mut f = Fixture::new(43, 8).probing(&places);
    for at in places {
        set(&mut f, at, Note(3));
    }
    assert_eq!(f.pool.len(), 1);
    for left in [2, 4, 6, 8] {
        assert!(f.table.free_tables(&f.mem, &mut f.pool));
        f.mem.check();
        assert_eq!(f.pool.len(), left);
    }
    assert!(!f.table.free_tables(&f.mem, &mut f.pool));
    assert_eq!(f.mem.invalidations.borrow().len(), 4);
}

#[test]
#[should_panic(expected = "freed under a leaf")]
fn freeing_under_a_page_is_a_bug_of_the_callers() {
    let mut f = Fixture::new(36, 2);
    set(&mut f, 0, Note(1));
    f.identity(9 * K4, Size::Page);
    f.table.free_tables(&f.mem, &mut f.pool);
}

#[test]
#[should_panic(expected = "freed under a leaf")]
fn freeing_under_a_block_is_a_bug_of_the_callers() {
    let mut f = Fixture::new(36, 2);
    f.identity(0, Size::Block1G);
    f.table.free_tables(&f.mem, &mut f.pool);
}
