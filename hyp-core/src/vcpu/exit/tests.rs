use super::*;
use std::vec::Vec;

/// Everything set, so that what passes shows.
fn full(reason: u64, write: u64) -> Exit {
    Exit {
        reason,
        ipa: u64::MAX,
        size: u64::MAX,
        write,
        value: u64::MAX,
        arg1: u64::MAX,
        arg2: u64::MAX,
        arg3: u64::MAX,
        esr: u64::MAX,
    }
}

#[test]
fn every_reason_has_one_row_in_order() {
    for (n, row) in DISCLOSURE.iter().enumerate() {
        assert_eq!(row.reason, n as u64);
        assert!(!row.name.is_empty() && !row.what.is_empty());
    }
    assert_eq!(DISCLOSURE.len() as u64, exit::RELINQUISH + 1);
}

/// The promise, written out a second time: reason, ipa, size, write, value, arg1, esr.
const SHOWN: [[u64; 7]; 13] = [
    [exit::IRQ, 0, 0, 0, 0, 0, 0],
    [exit::WAIT, 0, 1, 0, 0, 0, 0],
    [exit::MMIO, u64::MAX, 15, 1, u64::MAX, 0, 0],
    [exit::MEMORY, 0xffff_ffff_ffff_f000, 0, 1, 0, 0, 0],
    [exit::CPU_ON, 0, 0, 0, 0, 0xff, 0],
    [exit::CPU_OFF, 0, 0, 0, 0, 0, 0],
    [exit::SYSTEM_OFF, 0, 0, 0, 0, 0, 0],
    [exit::SYSTEM_RESET, 0, 0, 0, 0, 0, 0],
    [exit::SYSREG, 0, 0, 1, u64::MAX, 0, 0xffff_fc1f],
    [exit::CALL, 0, 0, 0, 0, 0, 0],
    [exit::POOL, 0, 0, 0, 0, 0, 0],
    [exit::SERROR, 0, 0, 0, 0, 0, 0],
    [exit::RELINQUISH, 0xffff_ffff_ffff_f000, 0, 0, 0, 0, 0],
];

#[test]
fn a_protected_exit_shows_its_row_and_no_more() {
    for [reason, ipa, size, write, value, arg1, esr] in SHOWN {
        let expected = Exit {
            reason,
            ipa,
            size,
            write,
            value,
            arg1,
            arg2: 0,
            arg3: 0,
            esr,
        };
        assert_eq!(filter(&full(reason, 1), true), expected, "reason {reason}");
        // What the guest reads is not shown, nor the register's old contents.
        let read = Exit {
            write: 0,
            value: 0,
            ..expected
        };
        assert_eq!(filter(&full(reason, 0), true), read, "reason {reason}");
        assert_eq!(filter(&full(reason, 2), true), read, "reason {reason}");
    }
}

#[test]
fn an_unknown_reason_shows_nothing() {
    let out = full(99, 1);
    let nothing = Exit {
        reason: 99,
        ..Exit::default()
    };
    assert_eq!(filter(&out, true), nothing);
}

#[test]
fn a_normal_vms_host_sees_all() {
    for row in DISCLOSURE {
        assert_eq!(filter(&full(row.reason, 0), false), full(row.reason, 0));
    }
}

#[test]
fn the_manual_prints_the_fields_that_pass() {
    let names = |reason: u64| DISCLOSURE[reason as usize].fields().collect::<Vec<_>>();
    assert_eq!(names(exit::MMIO), ["ipa", "size", "write", "value"]);
    assert_eq!(names(exit::MEMORY), ["ipa", "write"]);
    assert_eq!(names(exit::CPU_ON), ["arg1"]);
    assert_eq!(names(exit::SYSREG), ["write", "value", "esr"]);
    assert_eq!(names(exit::WAIT), ["size"]);
    assert!(names(exit::IRQ).is_empty());
}
