//! One test for each attack on the registers that is known. The model calls everything a hole
//! that is not Ward's own setting.

use super::*;

/// After an attack: all is as the scene set it, for every stream.
fn holds(hw: &Model) {
    for stream in 0..0x8000 {
        let expected = match stream {
            0x10 => Effect::Table(root(0)),
            0x21 => Effect::Table(root(1)),
            _ => Effect::Ended,
        };
        assert_eq!(hw.effect(stream), expected, "stream {stream:#x}");
    }
}

#[test]
fn item_53_the_host_cannot_let_everything_pass() {
    let (hw, mut smmu) = scene();
    for bytes in [4, 8] {
        for value in [1, u64::MAX, 0, 1 << 31 | 8] {
            write(&mut smmu, &hw, 0, bytes, value);
            holds(&hw);
            let seen = read(&mut smmu, &hw, 0, 4).value();
            assert_eq!(
                seen & (1 | 1 << 10 | 1 << 21),
                1 << 10 | 1 << 21,
                "{value:#x}"
            );
        }
    }
    write(&mut smmu, &hw, 0, 4, 0x36);
    assert_eq!(hw.get(0) & 0x3f, 0x36, "reports are the host's");
}

#[test]
fn item_53_no_group_leads_to_bypass() {
    let (hw, mut smmu) = scene();
    for group in [3, 5] {
        for kind in [1u64, 3] {
            write(&mut smmu, &hw, s2cr(group), 4, kind << 16);
            write(&mut smmu, &hw, smr(group), 4, 1 << 31 | 0x10);
            let effect = hw.effect(0x10);
            assert!(matches!(effect, Effect::Table(table) if table == HOST || table == root(0)));
        }
    }
    let without = Plan {
        default: None,
        ..plan()
    };
    let (hw, mut smmu) = started(without);
    let answer = write(&mut smmu, &hw, s2cr(0), 4, 1 << 16);
    assert_eq!(reason(answer), Some(Reason::Bypass));
    write(&mut smmu, &hw, smr(0), 4, 1 << 31);
    assert_eq!(hw.effect(0), Effect::Ended);
}

/// A stream of the host's in a VM's bank would write the VM's memory.
#[test]
fn item_53_no_stream_of_the_hosts_gets_a_vms_bank() {
    let (hw, mut smmu) = scene();
    assert_eq!(
        reason(write(&mut smmu, &hw, s2cr(3), 4, 1)),
        Some(Reason::Owner)
    );
    holds(&hw);
    // Before the bank is a VM's it is nobody's, and may be named.
    assert_eq!(write(&mut smmu, &hw, s2cr(3), 4, 2), Answer::Done);
    assert_eq!(hw.effect(0x10), Effect::Ended);
    smmu.assign(&hw, 2, Owner::Vm(8), &table(root(2))).unwrap();
    assert_eq!(hw.effect(0x10), Effect::Ended);
    smmu.release(&hw, 2).unwrap();
    smmu.assign(&hw, 2, Owner::Host, &table(root(2))).unwrap();
    assert_eq!(hw.effect(0x10), Effect::Table(root(2)));
}

/// A VM's stream in a bank of the host's would give the VM's data away.
#[test]
fn item_53_no_stream_of_a_vms_gets_a_bank_of_the_hosts() {
    let (hw, mut smmu) = scene();
    for matches in [0x21, 1 << 16 | 0x20, 0x7fff << 16] {
        let answer = write(&mut smmu, &hw, smr(5), 4, 1 << 31 | matches);
        assert_eq!(reason(answer), Some(Reason::Owner), "{matches:#x}");
        holds(&hw);
    }
}

/// The match was there before the stream was given.
#[test]
fn item_53_a_match_from_before_has_no_effect_on_a_vms_stream() {
    let (hw, mut smmu) = scene();
    write(&mut smmu, &hw, s2cr(5), 4, 0);
    assert_eq!(
        write(&mut smmu, &hw, smr(5), 4, 1 << 31 | 3 << 16 | 0x40),
        Answer::Done
    );
    assert_eq!(hw.effect(0x42), Effect::Table(root(0)));
    smmu.give(&hw, 0x42, 1).unwrap();
    assert_eq!(hw.effect(0x42), Effect::Table(root(1)));
    assert_eq!(hw.effect(0x41), Effect::Ended, "it shared the group");
    smmu.take(&hw, 0x42).unwrap();
    assert_eq!(hw.effect(0x42), Effect::Table(root(0)));
}

#[test]
fn item_53_groups_do_not_overlap() {
    let (hw, mut smmu) = scene();
    for matches in [0x10, 0x10 << 16, 0x1f << 16 | 0x1000_0000] {
        let answer = write(&mut smmu, &hw, smr(5), 4, 1 << 31 | matches);
        let covers = (0x10 ^ matches) & !(matches >> 16) & 0x7fff == 0;
        assert_eq!(
            reason(answer) == Some(Reason::Overlap),
            covers,
            "{matches:#x}"
        );
        assert_eq!(hw.effect(0x10), Effect::Table(root(0)));
        write(&mut smmu, &hw, smr(5), 4, 0);
    }
}

#[test]
fn item_53_groups_and_banks_that_are_wards_or_not_there_are_refused() {
    let (hw, mut smmu) = scene();
    let before = hw.writes();
    for group in 12..128 {
        for offset in [smr(group), s2cr(group)] {
            let answer = write(&mut smmu, &hw, offset, 4, 1 << 31 | 0x21);
            assert_eq!(reason(answer), Some(Reason::Beyond), "{group}");
        }
    }
    for n in 7..128 {
        for offset in [cbar(n), cba2r(n)] {
            assert_eq!(
                reason(write(&mut smmu, &hw, offset, 4, 1)),
                Some(Reason::Beyond)
            );
        }
        assert_eq!(
            reason(write(&mut smmu, &hw, s2cr(3), 4, n)),
            Some(Reason::Beyond)
        );
    }
    let default = write(&mut smmu, &hw, bank(7, 0x20), 8, EVIL);
    assert_eq!(reason(default), Some(Reason::Beyond));
    assert_eq!(
        reason(write(&mut smmu, &hw, bank(8, 0), 4, 0)),
        Some(Reason::Unknown)
    );
    assert_eq!(hw.writes(), before);
    holds(&hw);
}

/// From bank 0 on, whose register is the first of its page.
#[test]
fn item_53_a_bank_stays_of_stage_2_from_the_first_on() {
    let (hw, mut smmu) = scene();
    for n in [0, 2] {
        for value in [1 << 16, 2 << 16, 3 << 16, u64::MAX, 1 << 24] {
            let answer = write(&mut smmu, &hw, cbar(n), 4, value);
            assert_eq!(reason(answer), Some(Reason::Stage1), "{value:#x}");
        }
        assert_eq!(write(&mut smmu, &hw, cbar(n), 4, 0x77), Answer::Done);
        assert_eq!(read(&mut smmu, &hw, cbar(n), 4), Answer::Value(0x77));
        assert_eq!(
            u64::from(hw.get(cbar(n) as u32)),
            n + 1,
            "the VMID is Ward's"
        );
        assert_eq!(
            reason(write(&mut smmu, &hw, cba2r(n), 4, 0)),
            Some(Reason::Field)
        );
        assert_eq!(write(&mut smmu, &hw, cba2r(n), 4, 0x9_0001), Answer::Done);
    }
    holds(&hw);
}

#[test]
fn item_54_no_half_of_a_root_is_the_hosts() {
    let (hw, mut smmu) = scene();
    for n in [0, 2] {
        assert_eq!(write(&mut smmu, &hw, bank(n, 0x20), 8, EVIL), Answer::Done);
        assert_eq!(read(&mut smmu, &hw, bank(n, 0x20), 8), Answer::Value(EVIL));
        assert_eq!(
            write(&mut smmu, &hw, bank(n, 0x20), 4, 0x5555_5000),
            Answer::Done
        );
        assert_eq!(write(&mut smmu, &hw, bank(n, 0x24), 4, 0x6), Answer::Done);
        assert_eq!(
            read(&mut smmu, &hw, bank(n, 0x20), 8),
            Answer::Value(0x6_5555_5000)
        );
        assert_eq!(read(&mut smmu, &hw, bank(n, 0x24), 4), Answer::Value(6));
        assert_eq!(
            read(&mut smmu, &hw, bank(n, 0x20), 4),
            Answer::Value(0x5555_5000)
        );
        let ward = [root(0), 0, EMPTY][n as usize];
        let held = [hw.get(bank(n, 0x20) as u32), hw.get(bank(n, 0x24) as u32)];
        assert_eq!(held, [ward as u32, (ward >> 32) as u32]);
    }
    assert_eq!(
        reason(write(&mut smmu, &hw, bank(1, 0x20), 8, EVIL)),
        Some(Reason::Owner)
    );
    holds(&hw);
}

#[test]
fn a_bank_keeps_translating_with_wards_shape_and_never_stalls() {
    let (hw, mut smmu) = scene();
    for value in [0, u64::MAX, 1 << 7, 0x61] {
        assert_eq!(write(&mut smmu, &hw, bank(0, 0), 4, value), Answer::Done);
        assert_eq!(
            read(&mut smmu, &hw, bank(0, 0), 4),
            Answer::Value(value & 0xffff_ffff)
        );
        assert_eq!(
            u64::from(hw.get(0x1_0000)) & 0x40,
            value & 0x40,
            "its interrupt is its own"
        );
        assert_eq!(write(&mut smmu, &hw, bank(0, 0x30), 4, value), Answer::Done);
        holds(&hw);
    }
    assert_eq!(
        reason(write(&mut smmu, &hw, bank(0, 8), 4, 0)),
        Some(Reason::Stall)
    );
}

#[test]
fn stage_1_registers_and_translations_of_addresses_are_refused() {
    let (hw, mut smmu) = scene();
    let before = hw.writes();
    for at in [0x10, 0x28, 0x2c, 0x34, 0x38, 0x3c] {
        assert_eq!(
            reason(write(&mut smmu, &hw, bank(0, at), 4, 1)),
            Some(Reason::Stage1)
        );
    }
    for at in [0x800, 0x808, 0x50] {
        assert_eq!(
            reason(write(&mut smmu, &hw, bank(0, at), 4, 1)),
            Some(Reason::Oracle)
        );
        assert_eq!(
            reason(read(&mut smmu, &hw, bank(0, at), 4)),
            Some(Reason::Oracle)
        );
    }
    assert_eq!(
        reason(write(&mut smmu, &hw, 0x110, 4, 1)),
        Some(Reason::Oracle)
    );
    assert_eq!(hw.writes(), before);
}

/// The registers are there twice.
#[test]
fn the_aliases_of_the_secure_state_are_refused() {
    let (hw, mut smmu) = scene();
    let before = hw.writes();
    for offset in (0x400..0x800).step_by(4) {
        assert_eq!(
            reason(write(&mut smmu, &hw, offset, 4, 1)),
            Some(Reason::Secure)
        );
        assert_eq!(
            reason(read(&mut smmu, &hw, offset, 4)),
            Some(Reason::Secure)
        );
    }
    assert_eq!(hw.writes(), before);
    holds(&hw);
}

/// A VM's bank says where its device's memory is.
#[test]
fn a_vms_bank_is_neither_read_nor_written() {
    let (hw, mut smmu) = scene();
    hw.set(bank(1, 0x60) as u32, 0x1234_5000);
    hw.set(bank(1, 0x58) as u32, 2);
    hw.set(0x1404, 0x21);
    let before = hw.writes();
    for offset in (0..0x1000).step_by(4) {
        let answer = read(&mut smmu, &hw, bank(1, offset), 4);
        assert!(matches!(answer, Answer::Refused(_)), "{offset:#x}");
        let answer = write(&mut smmu, &hw, bank(1, offset), 4, u64::MAX);
        assert!(matches!(answer, Answer::Refused(_)), "{offset:#x}");
    }
    assert_eq!(reason(read(&mut smmu, &hw, 0x1404, 4)), Some(Reason::Owner));
    assert_eq!(hw.writes(), before);
    // And when it is nobody's again, nothing is left in it.
    smmu.take(&hw, 0x21).unwrap();
    smmu.release(&hw, 1).unwrap();
    for offset in [bank(1, 0x60), bank(1, 0x58), 0x1404] {
        assert_eq!(
            read(&mut smmu, &hw, offset, 4),
            Answer::Value(0),
            "{offset:#x}"
        );
    }
}

/// It frees a table without leave, or keeps the host from seeing its own faults.
#[test]
fn invalidations_of_the_hosts_reach_nothing_and_are_always_done() {
    let (hw, mut smmu) = scene();
    let before = hw.writes();
    for offset in [0x64, 0x68, 0x6c, 0x70, bank(0, 0x618), bank(0, 0x7f0)] {
        assert_eq!(write(&mut smmu, &hw, offset, 4, 2), Answer::Done);
    }
    assert_eq!(write(&mut smmu, &hw, bank(0, 0x630), 8, 2), Answer::Done);
    for offset in [0x74, bank(0, 0x7f4)] {
        assert_eq!(read(&mut smmu, &hw, offset, 4), Answer::Value(0));
    }
    assert_eq!(hw.writes(), before);
}

#[test]
fn faults_are_cleared_by_their_owner_and_never_forged() {
    let (hw, mut smmu) = scene();
    hw.set(0x48, 0x8000_0002);
    assert_eq!(write(&mut smmu, &hw, 0x48, 4, 2), Answer::Done);
    assert_eq!(hw.get(0x48), 0x8000_0000);
    hw.set(bank(0, 0x58) as u32, 6);
    assert_eq!(write(&mut smmu, &hw, bank(0, 0x58), 4, 2), Answer::Done);
    assert_eq!(read(&mut smmu, &hw, bank(0, 0x58), 4), Answer::Value(4));
    for offset in [
        0x4c,
        0x40,
        0x50,
        bank(0, 0x5c),
        bank(0, 0x60),
        bank(0, 0x68),
    ] {
        let answer = write(&mut smmu, &hw, offset, 4, 1);
        assert_eq!(reason(answer), Some(Reason::Forged), "{offset:#x}");
    }
}

#[test]
fn the_host_is_shown_what_it_may_use() {
    let (hw, mut smmu) = scene();
    let ids = [0x20, 0x24, 0x28, 0x2c, 0x3c].map(|at| read(&mut smmu, &hw, at, 4).value());
    assert_eq!(ids[0] & 0xff, 12, "groups");
    assert_eq!(
        ids[0] >> 24,
        0b0010_1110,
        "stage 2 alone, matching, 64-bit tables"
    );
    assert_eq!(ids[0] >> 9 & 15, 15);
    assert_eq!(
        (ids[1] & 0xff, ids[1] >> 16 & 0xff, ids[1] >> 28),
        (7, 2, 3)
    );
    assert_eq!((ids[2], ids[3], ids[4]), (0x1544, 0, 0x21));
    hw.set(0xff0, 0xd);
    assert_eq!(read(&mut smmu, &hw, 0xff0, 4), Answer::Value(0xd));
    let written = write(&mut smmu, &hw, 0xff0, 4, 0);
    assert_eq!(reason(written), Some(Reason::ReadOnly));
    assert_eq!(
        reason(write(&mut smmu, &hw, 0x20, 4, 0)),
        Some(Reason::ReadOnly)
    );
}

#[test]
fn a_lost_smmu_takes_no_write_that_would_route() {
    let (hw, mut smmu) = scene();
    hw.0.borrow_mut().sync_hangs = true;
    smmu.sync(&hw).unwrap_err();
    let before = hw.writes();
    assert_eq!(
        reason(write(&mut smmu, &hw, smr(4), 4, 1 << 31 | 9)),
        Some(Reason::Lost)
    );
    assert_eq!(
        reason(write(&mut smmu, &hw, s2cr(3), 4, 0)),
        Some(Reason::Lost)
    );
    assert_eq!(hw.writes(), before);
    holds(&hw);
}
