use super::*;

fn range(first: u64, frames: u64) -> Range {
    Range {
        first: Pfn(first),
        frames,
    }
}

fn list(ranges: &[(u64, u64)]) -> Ranges {
    let mut list = Ranges::new();
    for &(first, frames) in ranges {
        assert!(list.add(range(first, frames)));
    }
    list
}

#[test]
fn kept_in_order_and_joined() {
    let list = list(&[(100, 10), (10, 10), (50, 5), (20, 30), (110, 1)]);
    assert_eq!(list.as_slice(), &[range(10, 45), range(100, 11)]);
    assert_eq!(list.frames(), 56);
}

#[test]
fn refuses_overlap_empty_and_wrap() {
    let mut l = list(&[(10, 10)]);
    for bad in [
        range(10, 1),
        range(5, 6),
        range(19, 1),
        range(0, 100),
        range(12, 0),
        range(u64::MAX, 2),
        range(1 << 40, 1),
    ] {
        assert!(!l.add(bad), "{bad:?}");
    }
    assert!(l.add(range((1 << 40) - 1, 1)));
    assert_eq!(l.as_slice(), &[range(10, 10), range((1 << 40) - 1, 1)]);
}

#[test]
fn full_list_refuses_but_still_joins() {
    let mut l = Ranges::new();
    for i in 0..MAX_RANGES as u64 {
        assert!(l.add(range(i * 10, 5)));
    }
    assert!(!l.add(range(1000, 1)));
    assert!(l.add(range(5, 5)), "fills the gap between the first two");
    assert!(l.add(range(1000, 1)));
    assert_eq!(l.as_slice().len(), MAX_RANGES);
}

#[test]
fn index_counts_over_holes() {
    let l = list(&[(10, 10), (100, 5)]);
    assert_eq!(l.index_of(Pfn(9)), None);
    assert_eq!(l.index_of(Pfn(10)), Some(0));
    assert_eq!(l.index_of(Pfn(19)), Some(9));
    assert_eq!(l.index_of(Pfn(20)), None);
    assert_eq!(l.index_of(Pfn(100)), Some(10));
    assert_eq!(l.index_of(Pfn(104)), Some(14));
    assert_eq!(l.index_of(Pfn(105)), None);
}

#[test]
fn containment_and_overlap() {
    let l = list(&[(10, 10), (100, 5)]);
    assert!(l.contains_all(range(10, 10)));
    assert!(l.contains_all(range(19, 1)));
    assert!(!l.contains_all(range(19, 2)));
    assert!(!l.contains_all(range(9, 2)));
    assert!(!l.contains_all(range(15, u64::MAX)));
    assert!(l.overlaps(range(9, 2)) && l.overlaps(range(19, 1)) && l.overlaps(range(0, 1000)));
    assert!(!l.overlaps(range(9, 1)) && !l.overlaps(range(20, 80)) && !l.overlaps(range(105, 9)));
    assert!(l.overlaps(range(105, u64::MAX)), "wraps");
}

#[test]
fn joined_to_the_front_of_the_next() {
    let list = list(&[(20, 10), (15, 5), (1, 2)]);
    assert_eq!(list.as_slice(), &[range(1, 2), range(15, 15)]);
}
