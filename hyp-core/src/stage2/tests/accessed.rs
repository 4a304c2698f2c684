//! The access flag.

use super::{Fixture, G, K4, M2, VM, ipa};
use crate::addr::Size;
use crate::machine::TlbScope;

fn take(f: &mut Fixture, at: u64, size: Size) -> Option<bool> {
    f.mem.invalidations.borrow_mut().clear();
    let taken = f.table.take_accessed(&f.mem, ipa(at), size);
    f.mem.check();
    taken
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn taken_once_and_set_again() {
    for size in [Size::Page, Size::Block2M, Size::Block1G] {
        let mut f = Fixture::new(36, 2).probing(&[G]);
        f.identity(G, size);
        assert_eq!(take(&mut f, G, size), Some(true));
        assert_eq!(
            *f.mem.invalidations.borrow(),
            [(VM, TlbScope::Leaf(ipa(G), size))]
        );
        assert_eq!(take(&mut f, G, size), Some(false));
        assert!(f.mem.invalidations.borrow().is_empty());
        assert!(f.table.set_accessed(&f.mem, ipa(G)));
        f.mem.check();
        assert!(f.leaves()[0].1.accessed);
        assert_eq!(take(&mut f, G, size), Some(true));
    }
}

#[test]
fn part_of_a_leaf_is_the_leaf() {
    let mut f = Fixture::new(36, 2).probing(&[G]);
    f.identity(G, Size::Block1G);
    assert_eq!(take(&mut f, G + M2, Size::Page), Some(true));
    let scope = TlbScope::Leaf(ipa(G), Size::Block1G);
    assert_eq!(*f.mem.invalidations.borrow(), [(VM, scope)]);
    assert_eq!(take(&mut f, 2 * G - K4, Size::Page), Some(false));
    assert!(f.table.set_accessed(&f.mem, ipa(2 * G - K4)));
    assert_eq!(take(&mut f, G, Size::Block2M), Some(true));
}

#[test]
fn a_range_of_leaves_ends_where_it_ends() {
    let mut f = Fixture::new(36, 4).probing(&[M2, M2 + K4, 2 * M2]);
    f.identity(M2 - K4, Size::Page);
    f.identity(M2, Size::Page);
    f.identity(M2 + K4, Size::Page);
    f.identity(2 * M2, Size::Block2M);
    assert_eq!(take(&mut f, M2, Size::Block2M), Some(true));
    assert_eq!(*f.mem.invalidations.borrow(), [(VM, TlbScope::All)]);
    let flags = f.leaves().into_iter().map(|(_, leaf)| leaf.accessed);
    assert!(flags.eq([true, false, false, true]));
    f.table.set_accessed(&f.mem, ipa(M2 + K4));
    assert_eq!(take(&mut f, M2, Size::Block2M), Some(true));
    let scope = TlbScope::Leaf(ipa(M2 + K4), Size::Page);
    assert_eq!(*f.mem.invalidations.borrow(), [(VM, scope)]);
    assert_eq!(take(&mut f, M2, Size::Block2M), Some(false));
}

#[test]
fn holes_have_no_flag() {
    let mut f = Fixture::new(36, 2);
    f.identity(M2, Size::Page);
    for (at, size) in [
        (0, Size::Block2M),
        (0, Size::Page),
        (2 * M2, Size::Page),
        (1 << 36, Size::Page),
    ] {
        assert_eq!(take(&mut f, at, size), None);
    }
    for at in [0, M2 + K4, G, 1 << 36] {
        assert!(!f.table.set_accessed(&f.mem, ipa(at)));
    }
    assert!(f.table.set_accessed(&f.mem, ipa(M2)));
}
