use super::*;

#[test]
fn every_call_is_found_by_its_number_and_nothing_else_is() {
    let mut found = 0;
    for number in 0..0x1000 {
        let id = u64::from(FUNCTION_BASE) + number;
        let row = CALLS.iter().find(|info| info.call as u64 == number);
        assert_eq!(Call::from_function_id(id), row.map(|info| info.call));
        found += usize::from(row.is_some());
    }
    assert_eq!(found, CALLS.len());
    assert_eq!(Call::from_function_id(u64::from(FUNCTION_BASE) - 1), None);
    assert_eq!(
        Call::from_function_id(u64::from(FUNCTION_BASE) | 1 << 32),
        None
    );
    assert_eq!(Call::from_function_id(u64::MAX), None);
}

#[test]
fn rows_are_in_order_and_named_once() {
    for pair in CALLS.windows(2) {
        assert!((pair[0].call as u32) < pair[1].call as u32);
    }
    for (n, a) in CALLS.iter().enumerate() {
        assert!(CALLS[..n].iter().all(|b| a.name != b.name), "{}", a.name);
        assert!(a.args.len() <= 6 && a.results.len() <= 7);
    }
}
