use super::*;

fn list(count: u8, cells: usize) -> Vec<u8> {
    (0..count).flat_map(|n| vec![n; 4 * cells]).collect()
}

fn keep(interrupts: &[u8], names: Option<&[u8]>) -> Option<Vec<u8>> {
    let mut out = [0; MAX];
    kept(interrupts, names, &mut out).map(|len| out[..len].to_vec())
}

#[test]
fn the_first_two_of_four_or_five_stay() {
    for (count, cells) in [(4, 3), (5, 3), (4, 4), (5, 4)] {
        assert_eq!(
            keep(&list(count, cells), None),
            Some(list(2, cells)),
            "{count} of {cells}"
        );
    }
}

#[test]
fn names_decide_where_there_are_some() {
    let names = b"virt\0phys\0hyp-phys\0";
    assert_eq!(keep(&list(3, 3), Some(names)), Some(vec![1; 12]));
    let mut out = [0; MAX];
    let len = kept_names(names, &mut out);
    assert_eq!(&out[..len], b"phys\0");
}

#[test]
fn what_is_not_understood_is_left_alone() {
    assert_eq!(keep(&list(3, 3), None), None);
    assert_eq!(keep(&[], None), None);
    assert_eq!(keep(&[], Some(b"phys\0")), None);
    assert_eq!(keep(&list(3, 3), Some(b"phys\0virt\0")), None);
}
