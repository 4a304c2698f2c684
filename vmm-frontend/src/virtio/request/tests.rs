//! The corpus of chains that a driver must not send, against a device that has memory to lose.

use super::super::rng::Entropy;
use super::super::testing::{DATA, Desc, Driver, INDIRECT, NEXT, RAM, RAM_SIZE, RAM2, WRITE};
use super::*;

const W: u16 = WRITE;

/// Puts `chain` in a fresh device's queue and returns what it used, or `None` if it gave up.
fn send(head: u16, chain: &[Desc], table: &[Desc]) -> Option<Vec<(u32, u32)>> {
    let mut driver = Driver::running(Entropy::new(), 0);
    for (index, &desc) in chain.iter().enumerate() {
        driver.describe(Driver::rings(0)[0], index as u16, desc);
    }
    for (index, &desc) in table.iter().enumerate() {
        driver.describe(DATA, index as u16, desc);
    }
    driver.offer(0, head);
    driver.kick(0);
    if driver.broken() {
        assert_eq!(driver.used(0), []);
        assert_eq!(driver.get(super::super::mmio::regs::INTERRUPT_STATUS), 2);
        return None;
    }
    Some(driver.used(0))
}

const BUFFER: u64 = DATA + 0x1000;

#[test]
fn good_chains_are_filled() {
    for (chain, filled) in [
        (&[(BUFFER, 10, W, 0)][..], 10),
        // Across pieces of one descriptor each, and the order as the chain says.
        (&[(BUFFER, 1, W | NEXT, 5), (0, 0, 0, 0)], 0),
        (&[(BUFFER, 1, W | NEXT, 1), (BUFFER + 9, 2, W, 0)], 3),
        (&[(BUFFER, 1, NEXT, 1), (BUFFER + 9, 2, W, 0)], 2),
        // Nothing to fill is nothing wrong.
        (&[(BUFFER, 0, W, 0)], 0),
        (&[(BUFFER, 0, W | NEXT, 1), (BUFFER, 5, W, 0)], 5),
        (&[(RAM + RAM_SIZE - 1, 1, W, 0)], 1),
    ] {
        assert_eq!(send(0, chain, &[]), Some(vec![(0, filled)]), "{chain:x?}");
    }
    let table = [(BUFFER, 7, W | NEXT, 2), (0, 0, 0, 0), (BUFFER, 3, W, 0)];
    let indirect = [(DATA, 48, INDIRECT, 0)];
    assert_eq!(send(0, &indirect, &table), Some(vec![(0, 10)]));
}

#[test]
fn bad_chains_come_back_untouched() {
    let far = RAM + RAM_SIZE;
    for chain in [
        // Loops: on itself, of two.
        &[(BUFFER, 8, W | NEXT, 0)][..],
        &[(BUFFER, 8, W | NEXT, 1), (BUFFER, 8, W | NEXT, 0)],
        // Leaves the table.
        &[(BUFFER, 8, W | NEXT, 16)],
        &[(BUFFER, 8, W | NEXT, 0xffff)],
        // Outside of memory: all, a part, in the hole, at the end of addresses.
        &[(0, 8, W, 0)],
        &[(far - 4, 8, W, 0)],
        &[(far, 8, W, 0)],
        &[(RAM2 + RAM_SIZE, 1, W, 0)],
        &[(RAM2 - 1, 8, W, 0)],
        &[(u64::MAX, 1, W, 0)],
        &[(u64::MAX - 3, 8, W, 0)],
        &[(BUFFER, u32::MAX, W, 0)],
        // The second one is bad: the first is not filled either.
        &[(BUFFER, 8, W | NEXT, 1), (far, 8, W, 0)],
        // Read after written.
        &[(BUFFER, 8, W | NEXT, 1), (BUFFER, 8, 0, 0)],
        // Indirect tables: empty, odd, huge, outside.
        &[(DATA, 0, INDIRECT, 0)],
        &[(DATA, 17, INDIRECT, 0)],
        &[(DATA, 0x20_0000, INDIRECT, 0)],
        &[(DATA, u32::MAX, INDIRECT, 0)],
        &[(far, 16, INDIRECT, 0)],
        &[(u64::MAX - 7, 32, INDIRECT, 0)],
    ] {
        let used = send(0, chain, &[(BUFFER, 8, W | NEXT, 0)]);
        assert_eq!(used, Some(vec![(0, 0)]), "{chain:x?}");
    }
    // Tables in tables, and loops in them.
    for table in [(DATA, 16, INDIRECT, 0), (BUFFER, 8, W | NEXT, 0)] {
        let used = send(0, &[(DATA, 16, INDIRECT, 0)], &[table]);
        assert_eq!(used, Some(vec![(0, 0)]), "{table:x?}");
    }
}

#[test]
fn a_head_outside_of_the_table_stops_the_device() {
    for head in [16, 17, 0x7fff, 0xffff] {
        assert_eq!(send(head, &[(BUFFER, 8, W, 0)], &[]), None);
    }
}

#[test]
fn a_chain_is_bounded_in_descriptors_and_bytes() {
    let mut driver = Driver::running(Entropy::new(), 0);
    let fill = |driver: &Driver, count: u32, len: u32| {
        for index in 0..count as u16 {
            let next = if u32::from(index) + 1 < count {
                NEXT
            } else {
                0
            };
            driver.describe(DATA, index, (RAM, len, W | next, index + 1));
        }
        driver.describe(Driver::rings(0)[0], 0, (DATA, count * 16, INDIRECT, 0));
    };
    let most = MOST_PIECES as u32;
    // RAM's first page holds nothing of the test's.
    for (count, len, filled) in [
        (most, 1, most),
        (most + 1, 1, 0),
        (20_000, 0, 0),
        (33, 0x20_0000, 0),
    ] {
        fill(&driver, count, len);
        driver.offer(0, 0);
        driver.kick(0);
        assert_eq!(driver.used(0), [(0, filled)], "{count} of {len}");
    }
    // Nor does it help that they are empty but the last.
    for (count, filled) in [(most, 8), (most + 1, 0)] {
        fill(&driver, count, 0);
        driver.describe(DATA, count as u16 - 1, (RAM, 8, W, 0));
        driver.offer(0, 0);
        driver.kick(0);
        assert_eq!(driver.used(0), [(0, filled)], "{count}");
    }
}

#[test]
fn more_requests_than_the_ring_has_stop_the_device() {
    for index in [17, 18, 0x8000, 0xffff] {
        let mut driver = Driver::running(Entropy::new(), 0);
        driver.describe(Driver::rings(0)[0], 0, (BUFFER, 8, W, 0));
        driver.write::<u16>(Driver::rings(0)[1] + 2, index);
        driver.kick(0);
        assert!(driver.broken(), "{index}");
        // Nor does it go on by itself.
        driver.write::<u16>(Driver::rings(0)[1] + 2, 1);
        driver.kick(0);
        assert_eq!(driver.used(0), []);
    }
}

#[test]
fn pieces_are_taken_put_and_cut_across_their_borders() {
    let memory = super::super::testing::memory();
    let mut pieces = Pieces::default();
    for (address, len) in [(0, 3), (10, 1), (20, 0), (30, 6)] {
        let address = vm_memory::GuestAddress(DATA + address);
        let slice = memory.get_slice(address, len).unwrap();
        slice.copy_from(&vec![address.0 as u8; len]);
        pieces.push(slice).unwrap();
    }
    assert_eq!(pieces.len(), 10);
    let last = pieces.split_last().unwrap();
    last.copy_from(&[9u8]);
    assert_eq!(pieces.take(), Some([0, 0, 0, 10, 30]));
    assert_eq!(pieces.take::<5>(), None);
    assert_eq!(pieces.len(), 4);
    assert_eq!(pieces.put(&[1, 2, 3, 4, 5, 6]), 4);
    assert_eq!((pieces.put(&[1]), pieces.len()), (0, 0));
    assert!(pieces.split_last().is_none());
    let mut end = [0u8; 6];
    let address = vm_memory::GuestAddress(DATA + 30);
    memory.get_slice(address, 6).unwrap().copy_to(&mut end[..]);
    assert_eq!(end, [30, 1, 2, 3, 4, 9]);
}
