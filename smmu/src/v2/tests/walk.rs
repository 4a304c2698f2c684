//! The whole window: every offset, size and direction.

use super::super::table::{Each, Space, TABLE, find};
use super::*;

/// Streams that tell the settings apart: the host's, a VM's, nobody's, a neighbour.
const PROBES: [u32; 5] = [0x10, 0x21, 0, 0x20, 0x7fff];

/// Nothing that is written anywhere makes a hole, and every access is answered.
#[test]
fn no_access_of_any_offset_size_and_direction_makes_a_hole() {
    for value in [0, u64::MAX, 0x8001_0021_8001_0021] {
        let (hw, mut smmu) = scene();
        let mut seen = hw.writes();
        for offset in 0..smmu.shape().bytes() + 16 {
            for bytes in [1, 2, 4, 8] {
                read(&mut smmu, &hw, offset, bytes);
                assert_eq!(hw.writes(), seen, "a read of {offset:#x} writes");
                let answer = write(&mut smmu, &hw, offset, bytes, value);
                let changed = hw.writes() != seen;
                if matches!(answer, Answer::Refused(_)) {
                    assert!(!changed, "refused at {offset:#x}, and written");
                }
                if changed {
                    seen = hw.writes();
                    for stream in PROBES {
                        assert_ours(&hw, stream, offset, value);
                    }
                }
            }
        }
        for stream in 0..0x8000 {
            assert_ours(&hw, stream, u64::MAX, value);
        }
    }
}

fn assert_ours(hw: &Model, stream: u32, offset: u64, value: u64) {
    let effect = hw.effect(stream);
    let ours = match effect {
        Effect::Ended => stream != 0x21,
        Effect::Table(table) if stream == 0x21 => table == root(1),
        Effect::Table(table) => table == root(0) || table == HOST,
        Effect::Hole(_) => false,
    };
    assert!(
        ours,
        "{offset:#x} := {value:#x} makes {effect:?} of {stream:#x}"
    );
}

#[test]
fn sizes_and_alignments_that_no_register_has_are_refused() {
    let (hw, mut smmu) = scene();
    for offset in 0..smmu.shape().bytes() {
        for bytes in [0, 1, 2, 3, 5, 16, 255] {
            assert_eq!(
                reason(read(&mut smmu, &hw, offset, bytes)),
                Some(Reason::Size)
            );
        }
        for bytes in [4u8, 8] {
            let crooked = !offset.is_multiple_of(bytes.into());
            let answer = reason(read(&mut smmu, &hw, offset, bytes));
            assert_eq!(answer == Some(Reason::Unaligned), crooked, "{offset:#x}");
        }
    }
    for offset in [smmu.shape().bytes(), u64::MAX - 7, 1 << 32] {
        assert_eq!(
            reason(write(&mut smmu, &hw, offset, 8, 1)),
            Some(Reason::Unknown)
        );
    }
}

#[test]
fn each_offset_is_in_one_row_at_most_and_rows_are_sound() {
    for space in [Space::Global0, Space::Global1, Space::Bank] {
        for offset in 0..0x1000 {
            let rows = TABLE.iter().filter(|row| row.contains(space, offset));
            assert!(rows.count() <= 1, "{space:?} {offset:#x}");
        }
    }
    for row in TABLE {
        assert!(
            row.at.is_multiple_of(if row.wide { 8 } else { 4 }),
            "{}",
            row.text.name
        );
        assert!(row.at + row.bytes() <= 0x1000, "{}", row.text.name);
        assert!(!row.wide || row.each == Each::One, "{}", row.text.name);
        let other = TABLE
            .iter()
            .filter(|other| other.text.name == row.text.name && other.space == row.space);
        assert_eq!(other.count(), 1, "{}", row.text.name);
    }
}

/// Pages of 64 KiB: registers are in the first 4 KiB of each, the rest is nothing.
#[test]
fn larger_pages_hold_the_same_registers() {
    let hw = Model::new();
    let small = *started(plan()).1.shape();
    hw.set(0x24, hw.get(0x24) | 1 << 31);
    let large = super::super::Shape::read(&hw).unwrap();
    for page in 0..2 * u64::from(small.pages) {
        for offset in (0..0x1_0000).step_by(4) {
            let found = find(&large, page << 16 | offset);
            if offset < 0x1000 {
                assert_eq!(found, find(&small, page << 12 | offset));
            } else {
                assert_eq!(found, None, "{page} {offset:#x}");
            }
        }
    }
}

/// What Linux's driver writes when it probes, resets and attaches a device.
#[test]
fn a_stock_driver_gets_through_its_probe_reset_and_attach() {
    let (hw, mut smmu) = started(plan());
    let done = |smmu: &mut Smmu, offset, bytes, value| {
        assert_eq!(
            write(smmu, &hw, offset, bytes, value),
            Answer::Done,
            "{offset:#x}"
        );
    };
    for group in 0..12 {
        done(&mut smmu, s2cr(group), 4, 2 << 16);
        done(&mut smmu, smr(group), 4, 0);
    }
    for n in 0..7 {
        done(&mut smmu, bank(n, 0), 4, 0);
        done(&mut smmu, bank(n, 0x58), 4, 0xc000_01fe);
        done(&mut smmu, bank(n, 4), 4, 0);
    }
    for offset in [0x6c, 0x68, 0x70] {
        done(&mut smmu, offset, 4, 0);
    }
    done(&mut smmu, 0x10, 4, 0x500);
    done(&mut smmu, 0, 4, 0x20_1c36);
    // Which bits of a match there are.
    done(&mut smmu, smr(0), 4, 0x7fff);
    assert_eq!(read(&mut smmu, &hw, smr(0), 4), Answer::Value(0x7fff));
    done(&mut smmu, smr(0), 4, 0x7fff_0000);
    assert_eq!(read(&mut smmu, &hw, smr(0), 4), Answer::Value(0x7fff_0000));
    done(&mut smmu, smr(0), 4, 0);
    // The call that gives the bank, then the bank's registers, then the stream.
    smmu.assign(&hw, 0, Owner::Host, &table(root(0))).unwrap();
    done(&mut smmu, cba2r(0), 4, 1);
    done(&mut smmu, cbar(0), 4, 1);
    done(&mut smmu, bank(0, 0x30), 4, 0x8002_3558);
    done(&mut smmu, bank(0, 0x20), 8, EVIL);
    done(&mut smmu, bank(0, 0), 4, 0x67);
    done(&mut smmu, s2cr(0), 4, 0);
    done(&mut smmu, smr(0), 4, 1 << 31 | 0x10);
    assert_eq!(hw.effect(0x10), Effect::Table(root(0)));
    done(&mut smmu, bank(0, 0x638), 8, 0x123);
    done(&mut smmu, bank(0, 0x7f0), 4, 0);
    done(&mut smmu, s2cr(0), 4, 1 << 16);
    assert_eq!(hw.effect(0x10), Effect::Table(HOST), "the identity domain");
}
