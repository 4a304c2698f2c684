//! The free list.

use super::memory::{FIRST, Mem};
use super::{Fixture, ipa};
use crate::addr::{Pfn, Size};
use crate::stage2::Pool;

#[test]
fn last_in_first_out_all_zero() {
    let mem = Mem::new(4);
    let mut pool = Pool::default();
    assert!(pool.is_empty());
    assert_eq!((pool.len(), pool.pop(&mem)), (0, None));
    for n in [2, 0, 3] {
        pool.push(&mem, Pfn(FIRST + n));
    }
    assert!(!pool.is_empty());
    for (n, left) in [(3, 2), (0, 1), (2, 0)] {
        assert_eq!(pool.pop(&mem), Some(Pfn(FIRST + n)));
        assert_eq!(pool.len(), left);
        assert!(mem.is_zero(Pfn(FIRST + n), 0));
    }
    assert_eq!(pool.pop(&mem), None);
    assert_eq!(pool.len(), 0);
    pool.push(&mem, Pfn(FIRST + 1));
    assert_eq!(pool.len(), 1);
}

#[test]
fn only_the_first_word_of_a_free_page_is_used() {
    let mem = Mem::new(2);
    let mut pool = Pool::new();
    pool.push(&mem, Pfn(FIRST));
    pool.push(&mem, Pfn(FIRST + 1));
    assert_eq!(mem.raw(Pfn(FIRST + 1), 0), FIRST << 12);
    assert!(mem.is_zero(Pfn(FIRST), 1) && mem.is_zero(Pfn(FIRST + 1), 1));
}

#[test]
fn tables_come_back_zeroed() {
    let mut f = Fixture::new(48, 3);
    f.identity(0, Size::Page);
    assert!(f.pool.is_empty());
    f.unmap(0, Size::Page);
    assert_eq!(f.pool.len(), 3);
    while let Some(frame) = f.pool.pop(&f.mem) {
        assert!(f.mem.is_zero(frame, 0));
    }
    assert_eq!(f.table.next_leaf(&f.mem, ipa(0)), None);
}
