use super::*;
use crate::addr::VcpuId;

const WIDE: u32 = 1 << 30;
const RAM: u64 = 0x8000_0000;

fn call(id: u32, args: [u64; 3]) -> Option<Action> {
    decide(id, Args(args), |ipa| (RAM..RAM + 0x1000).contains(&ipa))
}

fn value(x0: u64) -> Option<Action> {
    Some(Action::Return([x0, 0, 0, 0]))
}

const INVALID: u64 = -2_i64 as u64;
const INVALID_ADDRESS: u64 = -9_i64 as u64;

#[test]
fn plain_functions() {
    assert_eq!(call(0x8400_0000, [0; 3]), value(0x1_0001));
    assert_eq!(call(0x8400_0001, [1 << 16, RAM, 0]), Some(Action::Suspend));
    assert_eq!(call(0xc400_0001, [0; 3]), Some(Action::Suspend));
    assert_eq!(call(0x8400_0002, [0; 3]), Some(Action::CpuOff));
    assert_eq!(call(0x8400_0006, [0; 3]), value(2));
    assert_eq!(call(0x8400_0008, [0; 3]), Some(Action::SystemOff));
    assert_eq!(call(0x8400_0009, [0; 3]), Some(Action::SystemReset));
}

#[test]
fn cpu_on_takes_a_target_and_an_entry_in_memory() {
    let target = VcpuId(0x21);
    for id in [0x8400_0003, 0xc400_0003] {
        let on = |target, entry| call(id, [target, entry, 77]);
        let expected = Some(Action::CpuOn {
            target,
            entry: RAM + 4,
            context: 77,
        });
        assert_eq!(on(0x201, RAM + 4), expected);
        assert_eq!(on(0x1_0201, RAM), value(INVALID));
        assert_eq!(on(0x210, RAM), value(INVALID));
        for off in 1..4 {
            assert_eq!(on(0x201, RAM + off), value(INVALID_ADDRESS));
        }
        assert_eq!(on(0x201, RAM + 0x1000), value(INVALID_ADDRESS));
    }
    let high = |entry| decide(0xc400_0003, Args([0, entry, 0]), |_| true);
    assert_eq!(high(1 << 52), value(INVALID_ADDRESS));
    assert!(matches!(high((1 << 52) - 4), Some(Action::CpuOn { .. })));
}

#[test]
fn affinity_info_knows_level_0() {
    for id in [0x8400_0004, 0xc400_0004] {
        assert_eq!(call(id, [0x3, 0, 0]), Some(Action::AffinityInfo(VcpuId(3))));
        assert_eq!(call(id, [0x3, 1, 0]), value(INVALID));
        assert_eq!(call(id, [1 << 16, 0, 0]), value(INVALID));
    }
}

#[test]
fn reset2_has_the_architectural_type_only() {
    for id in [0x8400_0012, 0xc400_0012] {
        assert_eq!(call(id, [0, 9, 0]), Some(Action::SystemReset));
        assert_eq!(call(id, [1, 0, 0]), value(INVALID));
        assert_eq!(call(id, [1 << 31, 0, 0]), value(INVALID));
        // The type is a 32-bit argument in both forms.
        assert_eq!(call(id, [1 << 32, 0, 0]), Some(Action::SystemReset));
    }
}

#[test]
fn features_agree_with_what_is_answered() {
    for number in 0..0x40_u32 {
        for id in [0x8400_0000 | number, 0xc400_0000 | number] {
            let there = call(id, [0; 3]).is_some();
            let feature = call(0x8400_000a, [id.into(), 0, 0]);
            let expected = if there {
                value(0)
            } else {
                Some(Action::NotSupported)
            };
            assert_eq!(feature, expected, "{id:#x}");
        }
    }
    assert_eq!(
        call(0x8400_000a, [0x8000_0000, 0, 0]),
        value(0),
        "SMCCC_VERSION"
    );
    assert_eq!(
        call(0x8400_000a, [0x8000_0001, 0, 0]),
        Some(Action::NotSupported)
    );
}

#[test]
fn exactly_the_published_functions_are_there() {
    let there = [0, 1, 2, 3, 4, 6, 8, 9, 10, 0x12];
    let there_wide = [1, 3, 4, 0x12];
    for number in 0..0x40_u32 {
        let id = 0x8400_0000 | number;
        assert_eq!(
            call(id, [0; 3]).is_some(),
            there.contains(&number),
            "{id:#x}"
        );
        let wide = call(id | WIDE, [0; 3]).is_some();
        assert_eq!(wide, there_wide.contains(&number), "{id:#x} wide");
    }
}
