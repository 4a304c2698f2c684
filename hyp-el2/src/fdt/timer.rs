//! The virtual timer's interrupt: the one physical interrupt that a guest may deactivate.

use super::{value, walk};

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::standard::NodeStandard;

/// What it is on every board that keeps to the BSA (DEN0094): PPI 11.
pub(super) const USUAL: u16 = 27;

/// Its INTID, where the tree names one.
pub(super) fn interrupt(fdt: Fdt<'_>) -> Option<u16> {
    let known = ["arm,armv8-timer", "arm,armv7-timer"];
    let is_timer = |node: &FdtNode<'_>| known.iter().any(|name| node.is_compatible(name));
    let node = walk::find(fdt, &is_timer)?.node;
    number(value(&node, "interrupts")?, value(&node, "interrupt-names"))
}

/// The INTID of the timer "virt" of a node (binding `arm,arch_timer`): by its name, else the third
/// of four or five.
fn number(interrupts: &[u8], names: Option<&[u8]>) -> Option<u16> {
    let (at, count) = match names {
        Some(names) => {
            let names = || {
                names
                    .strip_suffix(b"\0")
                    .unwrap_or(names)
                    .split(|byte| *byte == 0)
            };
            (names().position(|name| name == b"virt")?, names().count())
        }
        // Specifiers of three or four cells.
        None if [48, 64].contains(&interrupts.len()) => (2, 4),
        None if [60, 80].contains(&interrupts.len()) => (2, 5),
        None => return None,
    };
    let size = interrupts.len() / count;
    match *interrupts.chunks(size.max(1)).nth(at)? {
        // Type 1: a PPI, INTIDs 16 to 31.
        [0, 0, 0, 1, 0, 0, 0, n @ 0..16, ..] => Some(16 + u16::from(n)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    fn list(ppis: &[u8], cells: usize) -> Vec<u8> {
        let entry = |n: &u8| {
            let mut entry = vec![0, 0, 0, 1, 0, 0, 0, *n];
            entry.resize(4 * cells, 0);
            entry
        };
        ppis.iter().flat_map(entry).collect()
    }

    #[test]
    fn it_is_the_third_or_the_one_with_the_name() {
        for cells in [3, 4] {
            assert_eq!(number(&list(&[13, 14, 11, 10], cells), None), Some(27));
            assert_eq!(number(&list(&[13, 14, 9, 10, 12], cells), None), Some(25));
        }
        let names = b"phys\0virt\0hyp-phys\0";
        assert_eq!(number(&list(&[14, 5, 10], 3), Some(names)), Some(21));
        assert_eq!(number(&list(&[14], 3), Some(b"phys\0")), None);
    }

    #[test]
    fn what_is_not_understood_is_none() {
        assert_eq!(number(&[], None), None);
        assert_eq!(number(&[], Some(b"virt\0")), None);
        assert_eq!(number(&list(&[13, 14, 11], 3), None), None);
        assert_eq!(number(&list(&[13, 14, 16, 10], 3), None), None, "no PPI");
        let mut shared = list(&[13, 14, 11, 10], 3);
        shared[2 * 12 + 3] = 0;
        assert_eq!(number(&shared, None), None);
    }
}
