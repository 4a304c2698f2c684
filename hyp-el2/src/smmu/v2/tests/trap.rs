use super::*;

/// All that a syndrome can say of a load, against what the architecture makes of it.
#[test]
fn every_kind_of_load_gets_what_is_there() {
    let unit = unit();
    let there = load(&unit, 0x20, 4).1;
    assert!(there >> 24 != 0 && there >> 32 == 0, "stage 2, matching");
    // What the host wrote is only read back: 64 bits, the upper half negative.
    store(&unit, bank(2, 0x20), 8, 0x8765_4321_0fed_c000);
    for offset in [0x20, bank(2, 0x20), bank(2, 0x24)] {
        let value = match offset {
            0x20 => there,
            _ if offset & 4 == 0 => 0x8765_4321_0fed_c000,
            _ => 0x8765_4321,
        };
        for (size, rt, signed, wide) in kinds() {
            let insn = Insn {
                offset,
                size,
                write: false,
                rt,
                signed,
                wide,
            };
            let mut x = [0x5555; 31];
            let outcome = unit.access(&insn.trap(), &mut x);
            let granted = size == 2 || size == 3 && offset == bank(2, 0x20);
            assert_eq!(outcome == Outcome::Done, granted, "{insn:x?}");
            let expected = match (granted, size, signed, wide) {
                (false, ..) => 0,
                (_, 3, ..) if wide => value,
                (_, 2, true, true) => value as i32 as u64,
                _ => value as u32 as u64,
            };
            for (n, register) in x.into_iter().enumerate() {
                let own = n as u64 == rt;
                assert_eq!(
                    register,
                    if own { expected } else { 0x5555 },
                    "{insn:x?} {n}"
                );
            }
        }
    }
}

fn kinds() -> impl Iterator<Item = (u64, u64, bool, bool)> {
    let both = [false, true];
    (0..4).flat_map(move |size| {
        [0, 9, 30, 31].into_iter().flat_map(move |rt| {
            both.into_iter()
                .flat_map(move |signed| both.map(move |wide| (size, rt, signed, wide)))
        })
    })
}

/// All that a syndrome can say of a store: only its own bytes count, and register 31 is zero.
#[test]
fn every_kind_of_store_writes_its_bytes_and_no_more() {
    let root = |unit: &Unit<Model>| load(unit, bank(2, 0x20), 8).1;
    for (size, rt, signed, wide) in kinds() {
        for upper in [false, true] {
            let unit = unit();
            store(&unit, bank(2, 0x20), 8, 0x1111_1111_2222_2222);
            let insn = Insn {
                offset: bank(2, if upper { 0x24 } else { 0x20 }),
                size,
                write: true,
                rt,
                signed,
                wide,
            };
            let mut x = [0x5555; 31];
            let value = if rt == 31 { 0 } else { 0x8765_4321_0fed_c000 };
            if let Some(register) = x.get_mut(rt as usize) {
                *register = value;
            }
            let before = x;
            let writes = unit.hw.writes();
            let outcome = unit.access(&insn.trap(), &mut x);
            assert_eq!(x, before, "{insn:x?}");
            let expected = match (size, upper) {
                (3, false) => value,
                (2, false) => 0x1111_1111_0000_0000 | value & 0xffff_ffff,
                (2, true) => 0x2222_2222 | value << 32,
                _ => {
                    let known = ["neither 4 bytes", "not aligned"];
                    let why = why(outcome);
                    assert!(known.iter().any(|known| why.starts_with(known)), "{why}");
                    0x1111_1111_2222_2222
                }
            };
            assert_eq!(root(&unit), expected, "{insn:x?}");
            assert_eq!(unit.hw.writes(), writes, "nothing of it is the hardware's");
        }
    }
}

/// EL0 and EL1 have a bit each; the SMMU's registers are little endian.
#[test]
fn bytes_are_in_the_order_of_who_accesses() {
    let unit = unit();
    let insn = Insn {
        offset: bank(2, 0x20),
        size: 2,
        write: true,
        rt: 0,
        signed: false,
        wide: false,
    };
    for (pstate, sctlr, big) in [
        (EL1H, 1 << 25, true),
        (EL1H, 1 << 24, false),
        (0, 1 << 24, true),
        (0, 1 << 25, false),
    ] {
        let trap = Trap {
            pstate,
            sctlr,
            ..insn.trap()
        };
        let mut x = [0; 31];
        x[0] = 0x1234_5678;
        assert_eq!(unit.access(&trap, &mut x), Outcome::Done);
        let seen = load(&unit, bank(2, 0x20), 4).1;
        assert_eq!(seen, if big { 0x7856_3412 } else { 0x1234_5678 });
    }
}

#[test]
fn what_says_nothing_of_itself_takes_an_abort_and_changes_nothing() {
    let unit = unit();
    let plain = Insn {
        offset: smr(0),
        size: 2,
        write: true,
        rt: 0,
        signed: false,
        wide: false,
    };
    let writes = unit.hw.writes();
    let esr = |flip: u64| Trap {
        esr: Esr::new(plain.esr() ^ flip),
        ..plain.trap()
    };
    let aarch32 = Trap {
        pstate: 0x10,
        ..plain.trap()
    };
    let crossing = Trap {
        ipa: BASE + 0xffe,
        ..plain.trap()
    };
    // ISV, cache maintenance, a walk of the host's own tables.
    for trap in [esr(1 << 24), esr(1 << 8), esr(1 << 7), aarch32, crossing] {
        let mut x = [1 << 31; 31];
        assert_eq!(unit.access(&trap, &mut x), Outcome::Unclear);
        assert_eq!(x, [1 << 31; 31]);
        let mut x = [1 << 31; 31];
        assert_eq!(WINDOW.access(&trap, &mut x), Outcome::Unclear);
    }
    assert_eq!(unit.hw.writes(), writes);
    assert_eq!(load(&unit, smr(0), 4), (Outcome::Done, 0));
}

#[test]
fn a_refusal_says_what_where_and_why() {
    let unit = unit();
    let expected = |why, offset, write| Outcome::Refused(Refused { why, offset, write });
    assert_eq!(
        store(&unit, 0x400, 4, 1),
        expected("of the secure state", 0x400, true)
    );
    let nothing = "no register that a host needs";
    assert_eq!(
        load(&unit, 0x2000, 4),
        (expected(nothing, 0x2000, false), 0)
    );
}

/// The registers of an SMMU that Ward does not drive read as zero, and take nothing.
#[test]
fn an_smmu_that_is_not_driven_is_closed() {
    assert!(WINDOW.contains(BASE) && WINDOW.contains(BASE + BYTES - 1));
    assert!(!WINDOW.contains(BASE - 1) && !WINDOW.contains(BASE + BYTES));
    for (size, rt, signed, wide) in kinds() {
        for write in [false, true] {
            let insn = Insn {
                offset: 0x20,
                size,
                write,
                rt,
                signed,
                wide,
            };
            let mut x = [0x5555; 31];
            let outcome = WINDOW.access(&insn.trap(), &mut x);
            assert_eq!(why(outcome), "Ward does not drive this SMMU");
            let zeros = x.iter().filter(|register| **register == 0).count();
            assert_eq!(zeros, usize::from(!write && rt < 31));
        }
    }
}
