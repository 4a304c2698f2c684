use super::*;

const NOT_SUPPORTED: Option<Action> = Some(Action::NotSupported);

fn call(id: u32, a1: u64) -> Option<Action> {
    decide(id, Args([a1, 0, 0]))
}

fn value(x0: u64) -> Option<Action> {
    Some(Action::Return([x0, 0, 0, 0]))
}

#[test]
fn version_features_and_uuid() {
    assert_eq!(call(0x8400_0050, 0), value(0x1_0000));
    for id in [
        0x8400_0050,
        0x8400_0051,
        0x8400_0052,
        0x8400_0053,
        0xc400_0053,
    ] {
        assert_eq!(call(0x8400_0051, id), value(0));
    }
    for id in [0x8400_0054, 0xc400_0050, 0] {
        assert_eq!(call(0x8400_0051, id), NOT_SUPPORTED);
    }
    let words = UUID.map(u64::from);
    assert_eq!(call(0x8400_0052, 0), Some(Action::Return(words)));
    // The first word may not look like an error (DEN0098 3.3).
    assert!(words[0] < 0x8000_0000);
    assert_eq!(call(0x8400_0054, 0), None);
    assert_eq!(call(0xc400_0050, 0), None);
}

#[test]
fn requests_are_bounded() {
    let invalid = value(-2_i64 as u64);
    for (id, limit, wide) in [(0x8400_0053, 96, false), (0xc400_0053, 192, true)] {
        assert_eq!(call(id, 0), invalid);
        for bits in 1..=limit {
            assert_eq!(
                call(id, bits),
                Some(Action::Random {
                    bits: bits as u8,
                    wide
                })
            );
        }
        assert_eq!(call(id, limit + 1), invalid);
        assert_eq!(call(id, 256 + 1), invalid);
        assert_eq!(call(id, u64::MAX), invalid);
    }
}

/// All ones from the source: what comes out counts the bits.
#[test]
fn exactly_the_requested_bits_are_random() {
    for bits in 1..=192_u8 {
        let mut left = u32::from(bits);
        let mut words = [0_u64; 3];
        for word in &mut words {
            let here = left.min(64);
            *word = if here == 0 {
                0
            } else {
                u64::MAX >> (64 - here)
            };
            left -= here;
        }
        let [low, middle, high] = words;
        let mut asked = 0;
        let wide = answer(bits, true, || {
            asked += 1;
            Some(u64::MAX)
        });
        assert_eq!(wide, [0, high, middle, low], "{bits}");
        assert_eq!(asked, u32::from(bits).div_ceil(64), "{bits}");
        if bits <= 96 {
            let narrow = answer(bits, false, || Some(u64::MAX));
            assert_eq!(narrow, [0, middle, low >> 32, low & 0xffff_ffff], "{bits}");
        }
    }
}

#[test]
fn words_come_from_the_source_in_order() {
    let mut next = 0;
    let mut source = || {
        next += 1;
        Some(0x1111_2222_0000_0000 + next)
    };
    let expected = [
        0,
        0x1111_2222_0000_0003,
        0x1111_2222_0000_0002,
        0x1111_2222_0000_0001,
    ];
    assert_eq!(answer(192, true, &mut source), expected);
    let expected = [0, 0x1111_2222, 0x1111_2222, 4];
    assert_eq!(answer(96, false, &mut source), expected);
}

#[test]
fn a_dry_source_gives_nothing() {
    for wide in [false, true] {
        let mut words = [Some(5), None].into_iter().flatten();
        let none = [-3_i64 as u64, 0, 0, 0];
        assert_eq!(answer(65, wide, || words.next()), none);
    }
}
