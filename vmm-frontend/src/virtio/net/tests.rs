use super::super::testing::{DATA, Driver, NO_EVENT_IDX};
use super::super::{Counts, device};
use super::*;
use std::os::unix::net::UnixDatagram;

const MAC: [u8; 6] = [2, 0, 0, 1, 2, 3];

/// A card whose wire is a socket.
fn card(without: u64) -> (Driver, UnixDatagram) {
    let (near, far) = UnixDatagram::pair().unwrap();
    for end in [&near, &far] {
        end.set_nonblocking(true).unwrap();
    }
    let tap = Tap::from_file(std::os::fd::OwnedFd::from(near).into());
    (Driver::running(Net::new(tap, MAC), without), far)
}

fn counts(driver: &Driver) -> Counts {
    device(&driver.device).counters().now()
}

#[test]
fn the_driver_reads_its_address() {
    let (mut driver, _) = card(0);
    assert_eq!(driver.get(0x100), 0x0100_0002);
    assert_eq!(driver.get(0x104), 0x0302);
    assert_eq!(driver.get(8), 1);
    assert_eq!(driver.offered() & feature::MRG_RXBUF, 0);
}

#[test]
fn packets_are_sent_with_their_header() {
    let (mut driver, wire) = card(0);
    let header: Vec<u8> = (0..12).collect();
    driver.put(DATA, &header);
    driver.put(DATA + 0x1000, b"packet");
    driver.chain(1, 0, &[(DATA, 12, false), (DATA + 0x1000, 6, false)]);
    driver.chain(1, 2, &[(DATA, 20, false)]);
    driver.kick(1);
    assert_eq!(driver.used(1), [(0, 0), (2, 0)]);
    let mut packet = [0; 100];
    assert_eq!(wire.recv(&mut packet).unwrap(), 18);
    assert_eq!(packet[..18], [&header, &b"packet"[..]].concat());
    assert_eq!(wire.recv(&mut packet).unwrap(), 20);
    assert_eq!(
        (counts(&driver).requests, counts(&driver).from_guest),
        (2, 38)
    );
    assert_eq!(driver.interrupts(), 1);
}

#[test]
fn packets_are_received_when_there_are_buffers_and_wait_otherwise() {
    for without in [0, NO_EVENT_IDX] {
        let (mut driver, wire) = card(without);
        wire.send(&[7; 30]).unwrap();
        driver.run(Ready::Source(0));
        assert_eq!(driver.used(0), []);
        driver.chain(0, 0, &[(DATA, 11, true), (DATA + 0x100, 1500, true)]);
        driver.chain(0, 4, &[(DATA + 0x1000, 1500, true)]);
        driver.kick(0);
        assert_eq!(driver.used(0), [(0, 30)]);
        assert_eq!(driver.bytes(DATA, 12), [[7; 11].as_slice(), &[0]].concat());
        assert_eq!(driver.bytes(DATA + 0x100, 19), [7; 19]);
        assert_eq!(driver.interrupts(), 1);
        // The second buffer is still the device's.
        wire.send(&[8; 20]).unwrap();
        driver.run(Ready::Source(0));
        assert_eq!(driver.used(0), [(4, 20)]);
        assert_eq!(counts(&driver).to_guest, 50);
    }
}

#[test]
fn the_number_of_buffers_is_one_where_the_tap_writes_none() {
    let (mut driver, wire) = card(0);
    // Shorter than a tap's packets: what the device wrote before stays.
    wire.send(&[9; 10]).unwrap();
    driver.chain(0, 0, &[(DATA, 11, true), (DATA + 0x100, 5, true)]);
    driver.kick(0);
    assert_eq!(driver.used(0), [(0, 10)]);
    assert_eq!(driver.bytes(DATA + 10, 1), [1]);
    assert_eq!(driver.bytes(DATA + 0x100, 1), [0]);
}

#[test]
fn bad_packets_and_buffers_are_dropped_and_counted() {
    let (mut driver, wire) = card(0);
    let far = (u64::MAX - 100, 50, true);
    wire.send(&[7; 30]).unwrap();
    driver.chain(0, 0, &[far]);
    driver.chain(0, 1, &[(DATA, 100, true)]);
    driver.kick(0);
    assert_eq!(driver.used(0), [(0, 0), (1, 30)]);
    for (head, parts) in [
        (&[(far.0, far.1, false)][..]),
        &[(DATA, 11, false)],
        &[(DATA, PACKET as u32 + 1, false)],
        &[(DATA, 50, true)],
        &[(DATA, 0, false)],
    ]
    .into_iter()
    .enumerate()
    {
        driver.chain(1, head as u16, parts);
    }
    driver.kick(1);
    assert_eq!(driver.used(1).len(), 5);
    assert_eq!(counts(&driver).errors, 6);
    assert!(wire.recv(&mut [0; 10]).is_err(), "nothing was sent");
    assert!(!driver.broken());
}

#[test]
fn a_flood_is_received_in_turns() {
    let (mut driver, wire) = card(0);
    let mut received = 0;
    let mut sent = 0;
    while received < 2000 {
        while sent < received + 16 && wire.send(&[1; 64]).is_ok() {
            sent += 1;
        }
        for head in 0..16 {
            driver.chain(0, head, &[(DATA, 100, true)]);
        }
        driver.kick(0);
        received += driver.used(0).len();
    }
}

#[test]
fn a_reset_card_leaves_packets_on_the_wire() {
    let (mut driver, wire) = card(0);
    driver.chain(0, 0, &[(DATA, 100, true)]);
    driver.set(super::super::mmio::regs::STATUS, 0);
    wire.send(&[7; 30]).unwrap();
    driver.run(Ready::Source(0));
    driver.run(Ready::Again);
    assert_eq!(driver.used(0), []);
    driver.start(0);
    driver.chain(0, 0, &[(DATA, 100, true)]);
    driver.run(Ready::Again);
    assert_eq!(driver.used(0), [(0, 30)]);
}

#[test]
fn names_that_no_interface_has_are_told() {
    for name in ["", "a-name-too-long-for-it", "a/b", "tap%d", "tap 0"] {
        let error = Tap::open(name).unwrap_err().to_string();
        assert!(error.contains("no name"), "{error}");
    }
}
