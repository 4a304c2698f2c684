//! What a host may try, as its instructions: the items of KCore's list that are about an SMMUv2,
//! and those about what a trapped access is.

use super::*;

/// Stream 0x10 is led to bypass, 0x20 to bank 0 with a table of the host's own; bank 1 is nobody's.
fn scene() -> Unit<Model> {
    let unit = unit();
    let table = own_table(4);
    unit.attach(0, Some(table)).unwrap();
    lead(&unit, 2, 0x10, None);
    lead(&unit, 3, 0x20, Some(0));
    holds(&unit);
    unit
}

fn holds(unit: &Unit<Model>) {
    for stream in 0..0x8000 {
        let expected = match stream {
            0x10 => Effect::Table(HOST),
            0x20 => Effect::Table(own_root(4)),
            _ => Effect::Ended,
        };
        assert_eq!(unit.hw.effect(stream), expected, "stream {stream:#x}");
    }
}

#[test]
fn item_53_nothing_that_a_host_stores_lets_a_stream_pass() {
    let unit = scene();
    // CLIENTPD, and without USFCFG.
    for value in [1, u64::MAX, 0] {
        store(&unit, 0, 4, value);
        holds(&unit);
        // The same register for the secure state.
        assert_eq!(why(store(&unit, 0x400, 4, value)), "of the secure state");
    }
    // A reserved type; sixteen bits of stream.
    for value in [3 << 16, 1 << 10] {
        assert!(!why(store(&unit, s2cr(3), 4, value)).is_empty());
        holds(&unit);
    }
}

/// From bank 0 on, up to the one that is Ward's, and beyond.
#[test]
fn item_53_a_bank_is_what_ward_made_it() {
    let unit = scene();
    for n in 0..7 {
        for kind in 1..4 {
            assert_eq!(
                why(store(&unit, 0x1000 + n * 4, 4, kind << 16)),
                "of stage 1"
            );
        }
    }
    for n in 7..128 {
        for offset in [0x1000, 0x1400, 0x1800] {
            let beyond = store(&unit, offset + n * 4, 4, 1);
            assert_eq!(why(beyond), "there are fewer groups or banks");
        }
        assert_eq!(
            why(store(&unit, s2cr(3), 4, n)),
            "there are fewer groups or banks"
        );
    }
    holds(&unit);
    // Nobody's bank may be named, and leads nowhere.
    assert_eq!(store(&unit, s2cr(3), 4, 1), Outcome::Done);
    assert_eq!(unit.hw.effect(0x20), Effect::Ended);
}

#[test]
fn item_53_no_two_groups_match_a_stream() {
    let unit = scene();
    let overlap = store(&unit, smr(9), 4, 1 << 31 | 0x3f << 16);
    assert_eq!(why(overlap), "another group matches one of the streams");
    holds(&unit);
    for group in 16..128 {
        let beyond = store(&unit, smr(group), 4, 1 << 31 | 0x77);
        assert_eq!(why(beyond), "there are fewer groups or banks");
    }
}

#[test]
fn item_54_no_half_of_a_root_is_the_hosts() {
    let unit = scene();
    for n in [0, 1] {
        assert_eq!(store(&unit, bank(n, 0x20), 8, EVIL), Outcome::Done);
        assert_eq!(store(&unit, bank(n, 0x24), 4, EVIL >> 32), Outcome::Done);
        assert_eq!(store(&unit, bank(n, 0x20), 4, EVIL), Outcome::Done);
        assert_eq!(load(&unit, bank(n, 0x20), 8), (Outcome::Done, EVIL));
        // Nor its shape, nor whether it translates.
        assert_eq!(store(&unit, bank(n, 0x30), 4, 0), Outcome::Done);
        assert_eq!(store(&unit, bank(n, 0), 4, 0), Outcome::Done);
        holds(&unit);
    }
    let wards = store(&unit, bank(7, 0x20), 8, EVIL);
    assert_eq!(why(wards), "there are fewer groups or banks");
    holds(&unit);
}

/// The bank is taken by a call, and its table stays Ward's, whatever the host then writes.
#[test]
fn items_43_and_51_a_bank_has_one_table_at_a_time() {
    let unit = scene();
    let attach = |bank, table| unit.attach(bank, Some(table));
    assert_eq!(attach(0, own_table(5)), Err(AttachError::NoRoom));
    for bank in [7, 8, 128, 256, u32::MAX] {
        assert_eq!(attach(bank, own_table(5)), Err(AttachError::NoStream));
    }
    let vm = DmaTable {
        domain: Domain::Vm(hyp_core::addr::VmId(3)),
        ..own_table(5)
    };
    assert_eq!(attach(1, vm), Err(AttachError::NoRoom), "not supported");
    holds(&unit);
}

/// A load to register 31 is lost, and a store of it is of zero; also what was refused.
#[test]
fn item_28_register_31_is_zero() {
    let unit = scene();
    let at_31 = |offset, write| Insn {
        offset,
        size: 2,
        write,
        rt: 31,
        signed: false,
        wide: false,
    };
    let mut x = [u64::MAX; 31];
    assert_eq!(unit.access(&at_31(0, false).trap(), &mut x), Outcome::Done);
    let refused = unit.access(&at_31(0x2000, false).trap(), &mut x);
    assert!(matches!(refused, Outcome::Refused(_)));
    assert_eq!(
        unit.access(&at_31(smr(2), true).trap(), &mut x),
        Outcome::Done
    );
    assert_eq!(x, [u64::MAX; 31]);
    assert_eq!(unit.hw.effect(0x10), Effect::Ended, "its match is 0");
}

/// Every byte of the window, by every size and in both directions: an answer, and no hole.
#[test]
fn item_59_every_access_is_answered_and_none_makes_a_hole() {
    let unit = scene();
    let mut outcomes = [0; 3];
    for value in [u64::MAX, 0x8001_0020_8001_0020] {
        for offset in 0..BYTES {
            for size in 0..4 {
                let seen = unit.hw.writes();
                for write in [false, true] {
                    let insn = Insn {
                        offset,
                        size,
                        write,
                        rt: 9,
                        signed: false,
                        wide: true,
                    };
                    let mut x = [value; 31];
                    let kind = match unit.access(&insn.trap(), &mut x) {
                        Outcome::Done => 0,
                        Outcome::Refused(_) => 1,
                        Outcome::Unclear => 2,
                    };
                    outcomes[kind] += 1;
                    let crosses = offset % 0x1000 + (1 << size) > 0x1000;
                    assert_eq!(kind == 2, crosses, "{insn:x?}");
                }
                if unit.hw.writes() != seen {
                    sound(&unit, &[0, 0x10, 0x20, 0x21, 0x7fff]);
                }
            }
        }
    }
    let all: Vec<u32> = (0..0x8000).collect();
    sound(&unit, &all);
    assert!(outcomes.iter().all(|count| *count > 100), "{outcomes:?}");
}

fn sound(unit: &Unit<Model>, streams: &[u32]) {
    for stream in streams {
        let effect = unit.hw.effect(*stream);
        let ours = [
            Effect::Ended,
            Effect::Table(HOST),
            Effect::Table(own_root(4)),
        ];
        assert!(ours.contains(&effect), "{stream:#x}: {effect:?}");
    }
}
