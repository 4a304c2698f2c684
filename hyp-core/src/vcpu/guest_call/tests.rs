use super::*;
use crate::abi::smccc::trng as numbers;

const PROTECTED: Caller = Caller {
    protected: true,
    entropy: true,
};

fn call(regs: [u64; 4]) -> Action {
    decide(0, regs, PROTECTED, |ipa| ipa < 0x1_0000_0000)
}

fn value(x0: u64) -> Action {
    Action::Return([x0, 0, 0, 0])
}

const INVALID: u64 = -3_i64 as u64;

#[test]
fn discovery() {
    assert_eq!(call([0x8000_0000, 0, 0, 0]), value(0x1_0002));
    for (function, there) in [
        (0x8000_0000, true),
        (0x8000_0001, true),
        (0x8000_0002, false),
        (0x8000_8000, false),
        (0x8000_7fff, false),
        (0x8000_3fff, false),
    ] {
        let expected = if there {
            value(0)
        } else {
            Action::NotSupported
        };
        assert_eq!(call([0x8000_0001, function, 0, 0]), expected);
    }
    let uid = Action::Return([0xb66f_b428, 0xe911_c52e, 0x564b_caa9, 0x743a_004d]);
    assert_eq!(call([0x8600_ff01, 0, 0, 0]), uid);
    assert_eq!(call([0x8600_0000, 0, 0, 0]), value(0b10_1001_1101));
}

#[test]
fn item_30_a_normal_vms_calls_are_the_hosts_and_a_protected_ones_are_not() {
    let normal = Caller {
        protected: false,
        entropy: true,
    };
    for id in [
        0x8400_0000,
        0x8400_0008,
        0x8600_ff01,
        0xc600_0003,
        0x8000_0000,
        0x1234,
    ] {
        for immediate in [0, 1] {
            assert_eq!(
                decide(immediate, [id, 0, 0, 0], normal, |_| true),
                Action::ToHost
            );
        }
        assert_ne!(call([id, 0, 0, 0]), Action::ToHost);
    }
}

#[test]
fn a_reserved_immediate_is_no_call() {
    assert_eq!(
        decide(1, [0x8400_0000, 0, 0, 0], PROTECTED, |_| true),
        Action::NotSupported
    );
}

#[test]
fn unknown_functions_are_not_supported() {
    for id in [
        0,
        0x8400_0005,
        0x8600_0001,
        0xc600_0005,
        0xc600_0100,
        0x8100_0000,
        0x8_1000,
    ] {
        assert_eq!(call([id, 0, 0, 0]), Action::NotSupported, "{id:#x}");
    }
}

#[test]
fn the_number_is_the_low_word_of_x0() {
    assert_eq!(call([0xffff_ffff_8400_0000, 0, 0, 0]), value(0x1_0001));
}

#[test]
fn arguments_of_32_bit_functions_are_w_registers() {
    let high = 0xffff_ffff_0000_0000;
    let on = call([0x8400_0003, high | 1, high | 0x1000, high | 7]);
    assert_eq!(
        on,
        Action::CpuOn {
            target: VcpuId(1),
            entry: 0x1000,
            context: 7
        }
    );
    let on = call([0xc400_0003, 1, 0x1000, high | 7]);
    assert_eq!(
        on,
        Action::CpuOn {
            target: VcpuId(1),
            entry: 0x1000,
            context: high | 7
        }
    );
    let invalid = value(-2_i64 as u64);
    assert_eq!(call([0xc400_0003, high | 1, 0x1000, 0]), invalid);
}

#[test]
fn an_entry_outside_memory_is_refused() {
    let refused = value(-9_i64 as u64);
    assert_eq!(call([0xc400_0003, 0, 0x1_0000_0000, 0]), refused);
}

#[test]
fn meminfo_wants_zeros() {
    assert_eq!(call([0xc600_0002, 0, 0, 0]), value(4096));
    for ones in 1..8_u64 {
        let regs = [0xc600_0002, ones & 1, ones >> 1 & 1, ones >> 2];
        assert_eq!(call(regs), value(INVALID));
    }
}

#[test]
fn sharing_takes_one_page() {
    let page = |ipa| match Ipa::page(ipa) {
        Ok(page) => page,
        Err(error) => panic!("{error:?}"),
    };
    let ipa = 0xf_ffff_ffff_f000;
    for (id, action) in [
        (0xc600_0003, Action::Share(page(ipa))),
        (0xc600_0004, Action::Unshare(page(ipa))),
        (0xc600_0007, Action::MmioGuard(page(ipa))),
        (0xc600_0009, Action::Relinquish(page(ipa))),
    ] {
        assert_eq!(call([id, ipa, 0, 0]), action);
        for regs in [
            [id, ipa + 1, 0, 0],
            [id, ipa + 0x800, 0, 0],
            [id, 1 << 52, 0, 0],
            [id, ipa, 1, 0],
            [id, ipa, 0, 1],
            [id, ipa, 1, 1],
        ] {
            assert_eq!(call(regs), value(INVALID));
        }
        // There is no 32-bit form.
        assert_eq!(call([id & !(1 << 30), ipa, 0, 0]), Action::NotSupported);
    }
    assert_eq!(KVM_INVALID, INVALID);
}

#[test]
fn randomness_is_there_when_the_cpu_has_it() {
    let random = [u64::from(numbers::RND64), 100, 0, 0];
    assert_eq!(
        call(random),
        Action::Random {
            bits: 100,
            wide: true
        }
    );
    let dry = Caller {
        entropy: false,
        ..PROTECTED
    };
    for id in [
        numbers::VERSION,
        numbers::FEATURES,
        numbers::GET_UUID,
        numbers::RND,
    ] {
        let regs = [u64::from(id), 10, 0, 0];
        assert_eq!(decide(0, regs, dry, |_| true), Action::NotSupported);
    }
}

#[test]
fn power_goes_through() {
    assert_eq!(call([0x8400_0008, 0, 0, 0]), Action::SystemOff);
    assert_eq!(call([0x8400_0002, 0, 0, 0]), Action::CpuOff);
}
