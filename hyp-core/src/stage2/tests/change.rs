//! Ranges: one invalidation, however many leaves.

use super::{DEVICE, Fixture, G, K4, M2, RO, RWX, VM, age, ipa, leaf, to};
use crate::addr::Size;
use crate::machine::TlbScope;
use crate::stage2::{Change, Leaf, Span, UnmapError};
use std::vec::Vec;

fn span(at: u64, size: Size, count: u64) -> Span {
    let ipa = ipa(at);
    Span { ipa, size, count }
}

fn unmap(_: Leaf) -> Option<Change> {
    Some(Change::Unmap)
}

fn change(f: &mut Fixture, span: Span, change: impl Fn(Leaf) -> Option<Change> + Copy) -> u64 {
    let can = f.table.can_change(&f.mem, f.pool.len(), span, change);
    assert_eq!(can, Ok(()));
    f.mem.invalidations.borrow_mut().clear();
    let changed = f.table.change(&f.mem, &mut f.pool, span, change);
    f.mem.check();
    changed
}

#[test]
fn pages_of_two_tables_go_with_one_invalidation_and_take_the_tables_along() {
    // The last two pages of the first GiB and the first two of the next: no two tables in common.
    let mut f = Fixture::new(48, 8).probing(&[G - 2 * K4, G - K4, G, G + K4]);
    for at in [G - 2 * K4, G - K4, G, G + K4] {
        f.identity(at, Size::Page);
    }
    let tables = f.pool.len();
    assert_eq!(change(&mut f, span(G - 2 * K4, Size::Page, 4), unmap), 4);
    assert_eq!(*f.mem.invalidations.borrow(), [(VM, TlbScope::All)]);
    assert!(f.leaves().is_empty());
    assert_eq!(f.pool.len(), tables + 5);
}

#[test]
fn as_many_tables_go_as_a_span_can_empty() {
    // At the border of two level 1 tables: three of each side.
    let border = 512 * G;
    let mut f = Fixture::new(48, 8).probing(&[border - K4, border]);
    f.identity(border - K4, Size::Page);
    f.identity(border, Size::Page);
    assert_eq!(f.pool.len(), 2);
    assert_eq!(
        change(&mut f, span(border - 256 * K4, Size::Page, 512), unmap),
        2
    );
    assert_eq!(f.pool.len(), 8);
}

#[test]
fn a_single_leaf_of_a_range_is_invalidated_alone() {
    let mut f = Fixture::new(36, 2).probing(&[M2 + K4]);
    f.identity(M2 + K4, Size::Page);
    f.identity(M2 + 2 * K4, Size::Page);
    let scope = TlbScope::Leaf(ipa(M2 + K4), Size::Page);
    assert_eq!(change(&mut f, span(M2, Size::Page, 2), to(RO)), 1);
    assert_eq!(*f.mem.invalidations.borrow(), [(VM, scope)]);
    assert_eq!(change(&mut f, span(M2, Size::Page, 2), to(RO)), 0);
    assert!(f.mem.invalidations.borrow().is_empty());
    assert_eq!(f.leaves()[1].1.attrs, RWX, "what lies behind stays");
}

#[test]
fn a_block_inside_goes_as_a_whole_and_one_at_an_end_is_split() {
    let mut f = Fixture::new(36, 4).probing(&[M2, 2 * M2, 2 * M2 + K4, 3 * M2 - K4]);
    f.identity(M2, Size::Block2M);
    f.identity(2 * M2, Size::Block2M);
    let whole = span(M2, Size::Page, 512);
    assert_eq!(change(&mut f, whole, to(RO)), 1);
    assert_eq!(f.leaves()[0], (M2, leaf(512, Size::Block2M, RO)));
    // Two pages of the next block too.
    assert_eq!(
        change(&mut f, span(M2 + 2 * K4, Size::Page, 512), to(RO)),
        2
    );
    let leaves = f.leaves();
    assert_eq!(leaves.len(), 513);
    let read_only = leaves.iter().filter(|(_, leaf)| leaf.attrs == RO);
    let read_only: Vec<u64> = read_only.map(|(at, _)| *at).collect();
    assert_eq!(read_only, [M2, 2 * M2, 2 * M2 + K4]);
}

#[test]
fn blocks_are_counted_as_leaves_and_aged_whole() {
    let mut f = Fixture::new(36, 4).probing(&[M2, 3 * M2]);
    f.identity(M2, Size::Block2M);
    f.identity(3 * M2, Size::Block2M);
    assert_eq!(change(&mut f, span(2 * M2 - K4, Size::Page, 1), age), 1);
    assert!(!f.leaves()[0].1.accessed);
    assert_eq!(change(&mut f, span(0, Size::Block2M, 512), age), 1);
    assert_eq!(change(&mut f, span(0, Size::Block2M, 512), unmap), 2);
}

#[test]
fn what_is_passed_by_is_a_hole() {
    let mut f = Fixture::new(36, 4).probing(&[M2, M2 + K4]);
    f.map(M2, 1, Size::Page, DEVICE);
    f.identity(M2 + K4, Size::Page);
    let normal = |leaf: Leaf| to(RO)(leaf).filter(|_| leaf.attrs != DEVICE);
    let can = |count| {
        let span = span(M2, Size::Page, count);
        f.table.can_change(&f.mem, 0, span, normal)
    };
    assert_eq!(can(1), Err(UnmapError::NotMapped));
    assert_eq!(can(2), Ok(()));
    assert_eq!(change(&mut f, span(M2, Size::Page, 2), normal), 1);
    assert_eq!(f.leaves()[0].1.attrs, DEVICE);
}

#[test]
fn refusals() {
    let mut f = Fixture::new(36, 4);
    f.identity(M2, Size::Block2M);
    f.identity(2 * M2, Size::Block2M);
    f.identity(3 * M2, Size::Page);
    let end = 1 << 36;
    let can = |at, size, count, pool| {
        let span = span(at, size, count);
        f.table.can_change(&f.mem, pool, span, unmap)
    };
    assert_eq!(can(K4, Size::Block2M, 2, 4), Err(UnmapError::Misaligned));
    assert_eq!(can(end - K4, Size::Page, 2, 4), Err(UnmapError::OutOfRange));
    assert_eq!(can(end - 2 * K4, Size::Page, 2, 4), Ok(()));
    assert_eq!(
        can(end - M2, Size::Block2M, 512, 4),
        Err(UnmapError::OutOfRange)
    );
    assert_eq!(
        can((1 << 52) - K4, Size::Page, 512, 4),
        Err(UnmapError::OutOfRange)
    );
    assert_eq!(can(M2, Size::Block2M, 3, 4), Err(UnmapError::Mixed));
    assert_eq!(can(4 * M2, Size::Page, 1, 4), Err(UnmapError::NotMapped));
    assert_eq!(can(4 * M2, Size::Page, 2, 4), Ok(()));
    // Parts of two blocks.
    let parts = |pool| can(2 * M2 - K4, Size::Page, 2, pool);
    assert_eq!(parts(0), Err(UnmapError::NoTables(2)));
    assert_eq!(parts(1), Err(UnmapError::NoTables(1)));
    assert_eq!(parts(2), Ok(()));
}
