use super::super::{Command, Vmid, invalidate};
use super::model::Blocked;
use super::{DEVICE, ROOT_A, SEEDS, map, running};
use std::vec::Vec;

const PROBE: u64 = 0x4000_0000;

fn commands(with_range: bool, ipa: u64, pages: u64) -> Vec<Command> {
    let mut all = Vec::new();
    invalidate::range(with_range, Vmid(3), ipa, pages, |command| {
        all.push(command);
        Ok::<(), ()>(())
    })
    .unwrap();
    all
}

/// Start and pages of what a command forgets; `None` for all.
fn covered(command: Command) -> Option<(u64, u64)> {
    let Command([first, second]) = command;
    match (first as u8, second >> 10 & 3) {
        (0x28, _) => None,
        (0x2a, 0) => Some((second, 1)),
        (0x2a, _) => {
            let (num, scale) = (first >> 12 & 31, first >> 20 & 63);
            assert!(scale < 32, "reserved");
            assert_ne!((num, scale), (0, 0), "reserved");
            Some((second & !0xfff, (num + 1) << scale))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn ranges_cover_exactly_what_was_asked_for() {
    for with_range in [false, true] {
        for pages in (1..=70).chain([511, 512, 513, 1000, 262_143, 262_144, 1 << 28, 1 << 36]) {
            let all = commands(with_range, 0x1234_5000, pages);
            let mut at = 0x1234_5000;
            for command in &all {
                match covered(*command) {
                    Some((start, count)) => {
                        assert_eq!(start, at, "{pages} pages");
                        at += count << 12;
                    }
                    None => at += pages << 12,
                }
            }
            assert_eq!(
                at,
                0x1234_5000 + (pages << 12),
                "{pages} pages, {with_range}"
            );
            assert!(
                all.len() <= if with_range { 7 } else { 64 },
                "{}",
                all.len()
            );
        }
    }
    assert_eq!(commands(true, 0, 512).len(), 1, "a block is one command");
    assert_eq!(commands(false, 0, 65), [Command::all_of(Vmid(3))]);
    assert_eq!(commands(true, 0, 0), []);
}

#[test]
fn a_translation_stays_until_the_sync_and_is_gone_after_it() {
    for seed in SEEDS {
        for ranged in [super::model::RIL, 0] {
            let hw = super::Model::new(seed);
            hw.set(0xc, ranged);
            map(&hw, ROOT_A, PROBE, Some(PROBE), true);
            let all = super::stage2(Vmid::HOST, ROOT_A);
            let mut smmu = super::Smmu::start(&hw, &super::place(), &all).unwrap();
            assert_eq!(hw.dma(DEVICE, PROBE, true), Ok(PROBE));
            map(&hw, ROOT_A, PROBE, None, false);
            assert_eq!(hw.dma(DEVICE, PROBE, true), Ok(PROBE), "the model keeps it");
            smmu.forget(&hw, Vmid::HOST, PROBE, 3).unwrap();
            hw.idle(40);
            assert_eq!(
                hw.dma(DEVICE, PROBE, true),
                Ok(PROBE),
                "consumed is not complete"
            );
            smmu.sync(&hw).unwrap();
            assert_eq!(
                hw.dma(DEVICE, PROBE, true),
                Err(Blocked(0x10)),
                "seed {seed}"
            );
        }
    }
}

#[test]
fn the_way_to_a_table_is_forgotten_with_its_pages() {
    for seed in SEEDS {
        let (hw, mut smmu) = running(seed);
        assert_eq!(hw.dma(DEVICE, PROBE, true), Ok(PROBE));
        // The whole table under the address goes, as the last page of it does.
        super::Hardware::store(&hw, ROOT_A + (PROBE >> 30) * 8, 0);
        super::Hardware::order(&hw);
        smmu.forget(&hw, Vmid::HOST, PROBE, 1).unwrap();
        smmu.sync(&hw).unwrap();
        assert_eq!(hw.dma(DEVICE, PROBE, true), Err(Blocked(0x10)));
    }
}

#[test]
fn another_vmid_keeps_its_translations() {
    let (hw, mut smmu) = running(4);
    assert_eq!(hw.dma(DEVICE, PROBE, true), Ok(PROBE));
    map(&hw, ROOT_A, PROBE, None, false);
    smmu.forget_all(&hw, Vmid(1)).unwrap();
    smmu.sync(&hw).unwrap();
    assert_eq!(
        hw.dma(DEVICE, PROBE, true),
        Ok(PROBE),
        "stale, and not asked for"
    );
    smmu.forget_all(&hw, Vmid::HOST).unwrap();
    smmu.sync(&hw).unwrap();
    assert_eq!(hw.dma(DEVICE, PROBE, true), Err(Blocked(0x10)));
}

#[test]
fn many_ranges_need_one_sync() {
    let (hw, mut smmu) = running(5);
    let before = hw.get(0x98);
    for n in 0..10 {
        smmu.forget(&hw, Vmid::HOST, n << 21, 512).unwrap();
    }
    smmu.sync(&hw).unwrap();
    assert_eq!(hw.get(0x98).wrapping_sub(before) & 31, 11);
}
