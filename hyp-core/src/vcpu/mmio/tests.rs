use super::*;
use crate::vcpu::esr::{DataAbort, Esr};

const EL1H: u64 = 5;

fn abort(iss: u64) -> DataAbort {
    Esr::new(0x24 << 26 | iss | 7).data_abort()
}

const ISV: u64 = 1 << 24;

fn access(size: u8) -> Access {
    Access {
        ipa: 0x1000,
        size,
        write: false,
        rt: 0,
        sign_extend: false,
        wide: true,
        big_endian: false,
    }
}

#[test]
fn item_29_the_trapped_syndrome_is_what_counts() {
    let iss = ISV | 2 << 22 | 1 << 21 | 9 << 16 | 1 << 15 | 1 << 6;
    let expected = Access {
        ipa: 0x9010,
        size: 4,
        write: true,
        rt: 9,
        sign_extend: true,
        wide: true,
        big_endian: false,
    };
    assert_eq!(Access::new(&abort(iss), 0x9010, EL1H, 0), Some(expected));
    let load = Access::new(&abort(ISV), 0x9010, EL1H, 0);
    assert_eq!(
        load,
        Some(Access {
            wide: false,
            ipa: 0x9010,
            ..access(1)
        })
    );
}

#[test]
fn item_29_no_syndrome_cache_operation_or_walk_is_no_access() {
    let try_iss = |iss| Access::new(&abort(iss), 0x9010, EL1H, 0);
    assert!(try_iss(ISV).is_some());
    assert_eq!(try_iss(0), None);
    assert_eq!(try_iss(ISV | 1 << 8), None);
    assert_eq!(try_iss(ISV | 1 << 7), None);
    assert_eq!(Access::new(&abort(ISV), 0x9010, 0x10, 0), None, "AArch32");
}

#[test]
fn an_access_stays_in_its_page() {
    for (sas, size) in [(0, 1), (1, 2), (2, 4), (3_u64, 8_u64)] {
        let fits = |offset| Access::new(&abort(ISV | sas << 22), 0x9000 + offset, EL1H, 0);
        assert!(fits(0x1000 - size).is_some());
        assert_eq!(fits(0x1000 - size + 1).is_none(), size > 1);
        assert!(fits(0).is_some());
        assert_eq!(fits(0xfff).is_some(), size == 1);
    }
}

#[test]
fn endianness_is_that_of_the_level() {
    let big = |pstate, sctlr| Access::new(&abort(ISV), 0, pstate, sctlr).map(|a| a.big_endian);
    assert_eq!(big(EL1H, 0), Some(false));
    assert_eq!(big(0, 0), Some(false));
    for (pstate, own, other) in [
        (EL1H, 1 << 25, 1 << 24),
        (4, 1 << 25, 1 << 24),
        (0, 1 << 24, 1 << 25),
    ] {
        assert_eq!(big(pstate, own), Some(true));
        assert_eq!(big(pstate, !own), Some(false));
        assert_eq!(big(pstate, other), Some(false));
    }
}

#[test]
fn a_store_shows_only_the_bytes_it_stores() {
    let register = 0x8877_6655_4433_2211;
    let cases = [
        (1, 0x11, 0x11),
        (2, 0x2211, 0x1122),
        (4, 0x4433_2211, 0x1122_3344),
        (8, register, 0x1122_3344_5566_7788),
    ];
    for (size, little, big) in cases {
        let store = Access {
            write: true,
            ..access(size)
        };
        let expected = Exit {
            reason: exit::MMIO,
            ipa: 0x1000,
            size: size.into(),
            write: 1,
            value: little,
            ..Exit::default()
        };
        assert_eq!(store.exit(register), expected);
        let store = Access {
            big_endian: true,
            ..store
        };
        assert_eq!(
            store.exit(register),
            Exit {
                value: big,
                ..expected
            }
        );
        let load = access(size);
        assert_eq!(
            load.exit(register),
            Exit {
                write: 0,
                value: 0,
                ..expected
            }
        );
    }
}

#[test]
fn item_28_the_hosts_value_is_cut_and_extended() {
    let value = 0xffee_ddcc_bbaa_9988;
    // size, zero-extended, sign-extended to 64 bits, to 32 bits
    let cases = [
        (1, 0x88, 0xffff_ffff_ffff_ff88, 0xffff_ff88),
        (2, 0x9988, 0xffff_ffff_ffff_9988, 0xffff_9988),
        (4, 0xbbaa_9988, 0xffff_ffff_bbaa_9988, 0xbbaa_9988),
        (8, value, value, 0xbbaa_9988),
    ];
    for (size, zero, sign, sign32) in cases {
        let load = access(size);
        assert_eq!(load.loaded(value), zero);
        assert_eq!(
            Access {
                wide: false,
                ..load
            }
            .loaded(value),
            zero & 0xffff_ffff
        );
        let signed = Access {
            sign_extend: true,
            ..load
        };
        assert_eq!(signed.loaded(value), sign);
        assert_eq!(
            Access {
                wide: false,
                ..signed
            }
            .loaded(value),
            sign32
        );
        assert_eq!(signed.loaded(1), 1);
    }
}

#[test]
fn a_big_endian_guest_reads_bytes_in_its_order() {
    let load = Access {
        big_endian: true,
        ..access(4)
    };
    assert_eq!(load.loaded(0xffff_ffff_4433_2211), 0x1122_3344);
    let signed = Access {
        sign_extend: true,
        ..load
    };
    assert_eq!(signed.loaded(0x80), 0xffff_ffff_8000_0000);
}
