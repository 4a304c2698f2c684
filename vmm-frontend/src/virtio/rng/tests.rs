use super::super::testing::{DATA, Driver, NO_EVENT_IDX};
use super::*;

#[test]
fn a_request_is_filled_with_random_bytes() {
    for without in [0, NO_EVENT_IDX] {
        let mut driver = Driver::running(Entropy::new(), without);
        driver.chain(0, 0, &[(DATA, 40, true), (DATA + 0x1000, 24, true)]);
        driver.kick(0);
        assert_eq!(driver.used(0), [(0, 64)]);
        assert_ne!(driver.bytes(DATA, 40), [0; 40]);
        assert_eq!(driver.bytes(DATA + 40, 8), [0; 8]);
        assert_ne!(driver.bytes(DATA + 0x1000, 24), [0; 24]);
        assert_eq!(driver.interrupts(), 1);
        let counts = driver.device.lock().unwrap().counters().now();
        assert_eq!(
            (counts.requests, counts.to_guest, counts.errors),
            (1, 64, 0)
        );
    }
}

#[test]
fn a_large_request_gets_a_part_and_a_reading_one_nothing() {
    let mut driver = Driver::running(Entropy::new(), 0);
    driver.chain(0, 0, &[(DATA, 0x8_0000, true)]);
    driver.chain(0, 1, &[(DATA, 16, false)]);
    driver.kick(0);
    assert_eq!(driver.used(0), [(0, MOST as u32), (1, 0)]);
    assert_eq!(driver.bytes(DATA + MOST as u64, 16), [0; 16]);
}

#[test]
fn a_reset_device_does_nothing() {
    let mut driver = Driver::running(Entropy::new(), 0);
    driver.set(super::super::mmio::regs::STATUS, 0);
    driver.chain(0, 0, &[(DATA, 16, true)]);
    driver.kick(0);
    assert_eq!(driver.used(0), []);
    driver.start(0);
    driver.chain(0, 3, &[(DATA, 16, true)]);
    driver.kick(0);
    assert_eq!(driver.used(0), [(3, 16)]);
}
