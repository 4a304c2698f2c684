use super::super::model::{IDR0, IDR1, IDR2};
use super::super::{BankError, Lost, StreamError, Unfit, abort_all};
use super::*;

const PAGE: u64 = 0x123;

#[test]
fn after_a_start_every_stream_is_ended_and_every_bank_is_empty() {
    let hw = Model::new();
    hw.0.borrow_mut().tlb = std::vec![(0, 1, EVIL), (255, PAGE, EVIL)];
    let smmu = start(&hw, plan()).unwrap();
    assert_eq!(hw.0.borrow().tlb, [], "what firmware left is forgotten");
    for stream in 0..0x8000 {
        assert_eq!(hw.effect(stream), Effect::Ended);
    }
    assert_eq!(hw.get(8), 0);
    for n in 0..8 {
        let expected = if n == 7 { HOST } else { EMPTY };
        hw.set(0x800, 1 << 31);
        hw.set(0xc00, n);
        assert_eq!(hw.effect(0), Effect::Table(expected), "bank {n}");
        assert_eq!(hw.get(0x1_0004 + n * 0x1000), 0, "prefetch is off");
    }
    assert!(!smmu.prefetches());
    let hw = Model::new();
    hw.0.borrow_mut().stuck = std::vec![0x10];
    let smmu = start(&hw, plan()).unwrap();
    assert!(smmu.prefetches(), "locked by firmware");
}

#[test]
fn an_smmu_that_does_not_do_what_it_is_told_is_no_smmu() {
    let hw = Model::new();
    hw.0.borrow_mut().stuck = std::vec![0];
    assert_eq!(start(&hw, plan()).unwrap_err(), StartError::NoAnswer);
    let hw = Model::new();
    hw.0.borrow_mut().sync_hangs = true;
    assert_eq!(start(&hw, plan()).unwrap_err(), StartError::NoAnswer);
    for (streams, ok) in [(15, true), (16, false), (33, false)] {
        let plan = Plan { streams, ..plan() };
        assert_eq!(start(&Model::new(), plan).is_ok(), ok);
    }
    let hw = Model::new();
    let mut smmu = Smmu::new(Shape::read(&hw).unwrap(), plan());
    let assigned = smmu.assign(&hw, 0, Owner::Host, &table(root(0)));
    assert_eq!(assigned, Err(BankError::Lost), "not started");
    assert_eq!((smmu.sync(&hw), hw.writes()), (Err(Lost), 0));
}

#[test]
fn what_ward_cannot_confine_is_refused() {
    let decode = Shape::decode;
    assert!(decode([IDR0, IDR1, IDR2]).is_ok());
    assert_eq!(
        decode([IDR0 & !(1 << 29), IDR1, IDR2]),
        Err(Unfit::NoStage2)
    );
    assert_eq!(decode([IDR0 & !(1 << 27), IDR1, IDR2]), Err(Unfit::Indexed));
    assert_eq!(decode([IDR0, IDR1, IDR2 & !(1 << 12)]), Err(Unfit::Tables));
    for sizes in [
        [IDR0 & !0xff, IDR1],
        [IDR0, IDR1 & !0xff],
        [IDR0 | 0xff, IDR1],
        [IDR0, 200],
        [IDR0, 17 | 3 << 28],
    ] {
        assert_eq!(
            decode([sizes[0], sizes[1], IDR2]),
            Err(Unfit::Sizes),
            "{sizes:x?}"
        );
    }
    for widths in [0x60, 0x06] {
        assert!(matches!(
            decode([IDR0, IDR1, 0x1000 | widths]),
            Err(Unfit::Reserved(_))
        ));
    }
    for (widths, bits) in [(0x54, 44), (0x45, 44), (0x25, 40), (0x50, 32)] {
        let shape = decode([IDR0, IDR1, 0x1000 | widths]).unwrap();
        assert_eq!(shape.output.bits(), bits, "{widths:#x}");
    }
    let large = decode([IDR0, IDR1 | 1 << 31, IDR2]).unwrap();
    assert_eq!((large.page_shift, large.bytes()), (16, 2 << 20));
}

/// Before Ward has memory for tables, and whether or not it can drive the SMMU later.
#[test]
fn the_first_thing_done_ends_every_stream_of_any_smmu() {
    for (idr0, indexed) in [
        (IDR0, false),
        (IDR0 & !(1 << 29), false),
        (IDR0 & !(1 << 27), true),
    ] {
        let hw = Model::new();
        // Numbers of groups instead of matches: eight.
        let idr0 = if indexed {
            idr0 & !0x1e00 | 3 << 9
        } else {
            idr0
        };
        hw.set(0x20, idr0);
        abort_all(&hw).unwrap();
        for n in 0..if indexed { 8 } else { 16 } {
            assert_eq!(hw.get(0xc00 + n * 4), 2 << 16, "{idr0:#x} {n}");
        }
        if indexed {
            assert_eq!(hw.get(0) & (1 | 1 << 10), 1 << 10);
            continue;
        }
        for stream in 0..0x8000 {
            assert_eq!(hw.effect(stream), Effect::Ended, "{idr0:#x}");
        }
    }
    for value in [0, u32::MAX] {
        let hw = Model::new();
        hw.set(0, value);
        hw.0.borrow_mut().stuck = std::vec![0];
        assert_eq!(abort_all(&hw), Err(StartError::NoAnswer), "{value:#x}");
    }
}

#[test]
fn banks_and_streams_have_one_owner_at_a_time() {
    let (hw, mut smmu) = scene();
    let table = table(root(0));
    let assign = |smmu: &mut Smmu, bank| smmu.assign(&hw, bank, Owner::Host, &table);
    assert_eq!(assign(&mut smmu, 0), Err(BankError::Taken));
    assert_eq!(assign(&mut smmu, 7), Err(BankError::NoBank), "Ward's own");
    assert_eq!(assign(&mut smmu, 200), Err(BankError::NoBank));
    assert_eq!(smmu.release(&hw, 3), Err(BankError::Free));
    assert_eq!(smmu.release(&hw, 1), Err(BankError::InUse));
    assert_eq!(smmu.give(&hw, 0x21, 1), Err(StreamError::Given));
    assert_eq!(smmu.give(&hw, 0x8000, 1), Err(StreamError::NoStream));
    assert_eq!(
        smmu.give(&hw, 0x22, 0),
        Err(StreamError::NoBank),
        "the host's"
    );
    assert_eq!(smmu.take(&hw, 0x22), Err(StreamError::NotGiven));
    for stream in 0x30..0x33 {
        smmu.give(&hw, stream, 1).unwrap();
    }
    assert_eq!(smmu.give(&hw, 0x33, 1), Err(StreamError::Full));
    smmu.take(&hw, 0x31).unwrap();
    smmu.give(&hw, 0x33, 1).unwrap();
    assert_eq!(hw.effect(0x31), Effect::Ended);
    assert_eq!(hw.effect(0x33), Effect::Table(root(1)));
}

#[test]
fn a_page_that_is_forgotten_is_gone_after_the_sync() {
    for pages in [1, 16, 17] {
        let (hw, mut smmu) = scene();
        hw.dma(0x10, PAGE);
        hw.dma(0x21, PAGE);
        smmu.forget(&hw, 0, (PAGE + 1 - pages) << 12, pages)
            .unwrap();
        assert_eq!(hw.0.borrow().tlb.len(), 2, "asked for is not done");
        smmu.sync(&hw).unwrap();
        assert_eq!(hw.0.borrow().tlb, [(2, PAGE, root(1))], "{pages} pages");
    }
    let (hw, mut smmu) = scene();
    assert_eq!(smmu.forget(&hw, 7, 0, 1), Ok(()), "the host's own");
    assert_eq!(smmu.forget(&hw, 8, 0, 1), Err(BankError::NoBank));
}

/// A CPU may reorder what it writes to memory and to registers, unless it is told not to.
#[test]
fn a_table_is_in_memory_before_the_smmu_hears_of_it() {
    let (hw, mut smmu) = scene();
    let table_written = || hw.0.borrow_mut().unordered = true;
    table_written();
    smmu.assign(&hw, 2, Owner::Host, &table(root(2))).unwrap();
    for pages in [1, 17] {
        table_written();
        smmu.forget(&hw, 2, 0, pages).unwrap();
    }
    table_written();
    smmu.sync(&hw).unwrap();
    table_written();
    smmu.release(&hw, 2).unwrap();
    assert!(!hw.0.borrow().unordered);
}

/// The VMID is the bank's: nothing of it may be left for the next one.
#[test]
fn a_bank_used_again_finds_nothing_of_the_last_owner() {
    let (hw, mut smmu) = scene();
    assert_eq!(hw.dma(0x10, PAGE), Effect::Table(root(0)));
    smmu.release(&hw, 0).unwrap();
    assert_eq!(hw.dma(0x10, PAGE), Effect::Ended);
    smmu.assign(&hw, 0, Owner::Host, &table(root(5))).unwrap();
    // The route is still what the host wishes.
    assert_eq!(hw.dma(0x10, PAGE), Effect::Table(root(5)));
}

/// The root's halves change one by one: nobody may walk meanwhile, nor leave what it found.
#[test]
fn what_is_under_way_ends_before_a_bank_changes() {
    let (hw, mut smmu) = scene();
    hw.begin(0x10, PAGE);
    smmu.release(&hw, 0).unwrap();
    let state = hw.0.borrow();
    assert!(state.flying.is_empty() && !state.walked.is_empty());
    let walked = state.walked.iter();
    let strange = walked.filter(|effect| **effect != Effect::Table(root(0)));
    assert_eq!(strange.count(), 0);
    assert_eq!(state.tlb, []);
}

#[test]
fn what_is_under_way_ends_before_a_stream_has_a_new_owner() {
    let (hw, mut smmu) = scene();
    hw.begin(0x10, PAGE);
    smmu.give(&hw, 0x10, 1).unwrap();
    assert_eq!(hw.0.borrow().flying, []);
    hw.begin(0x10, PAGE);
    smmu.take(&hw, 0x10).unwrap();
    assert_eq!(hw.0.borrow().flying, []);
}

/// DMA of streams that have nothing to do with a change is not stopped for a moment.
#[test]
fn a_change_leaves_other_groups_alone() {
    let (hw, mut smmu) = scene();
    let before = hw.writes();
    smmu.assign(&hw, 3, Owner::Vm(9), &table(root(3))).unwrap();
    assert_eq!(hw.effect(0x10), Effect::Table(root(0)));
    assert_eq!(
        hw.writes() - before,
        6,
        "the bank's registers and no group's"
    );
}

#[test]
fn a_lost_smmu_stays_lost_and_its_streams_their_owners() {
    let (hw, mut smmu) = scene();
    hw.0.borrow_mut().sync_hangs = true;
    assert_eq!(smmu.take(&hw, 0x21), Err(StreamError::Lost));
    assert!(smmu.is_lost() && smmu.is_given(0x21));
    assert_eq!(hw.effect(0x21), Effect::Ended);
    hw.0.borrow_mut().sync_hangs = false;
    assert_eq!(smmu.sync(&hw), Err(Lost));
    assert_eq!(smmu.release(&hw, 0), Err(BankError::Lost));
    assert_eq!(
        smmu.assign(&hw, 2, Owner::Host, &table(root(2))),
        Err(BankError::Lost)
    );
    assert_eq!(smmu.give(&hw, 0x30, 1), Err(StreamError::Lost));
    assert_eq!(smmu.forget(&hw, 0, 0, 1), Err(BankError::Lost));
    let (hw, mut smmu) = scene();
    hw.0.borrow_mut().sync_hangs = true;
    assert_eq!(smmu.release(&hw, 0), Err(BankError::Lost));
    assert_eq!(
        smmu.owner(0),
        Some(Owner::Host),
        "its table may still be walked"
    );
    assert_eq!(hw.effect(0x10), Effect::Ended);
}

#[test]
fn faults_of_vms_are_wards_to_read_and_the_hosts_are_not() {
    use std::string::ToString;
    let (hw, mut smmu) = scene();
    assert_eq!(smmu.fault(&hw, 1), None);
    for n in [0, 1, 7] {
        hw.set(bank(n, 0x58) as u32, 1 << 31 | 1 << 1);
        hw.set(bank(n, 0x60) as u32, 0x8123_4000);
        hw.set(bank(n, 0x64) as u32, 1);
        hw.set(bank(n, 0x68) as u32, 1 << 4);
        hw.set(0x1400 + n as u32 * 4, 0x21);
    }
    assert_eq!(smmu.fault(&hw, 0), None, "the host's");
    assert_eq!(smmu.fault(&hw, 8), None, "no bank");
    let line = smmu.fault(&hw, 1).unwrap().to_string();
    assert_eq!(
        line,
        "stream 0x0021 was refused a write at 0x181234000: nothing is mapped there"
    );
    assert_eq!(smmu.fault(&hw, 1), None, "told once");
    assert!(smmu.fault(&hw, 7).is_some(), "the host's bypass");
    hw.set(bank(1, 0x58) as u32, 1 << 30);
    assert!(smmu.fault(&hw, 1).unwrap().why.contains("does not know"));
}

/// Firmware ends some streams, with identifiers of 15 or of 16 bits, and lets others pass.
#[test]
fn a_stream_that_firmware_blocked_stays_blocked() {
    for (wide, unmatched) in [(false, false), (true, false), (false, true), (true, true)] {
        let hw = Model::new();
        hw.set(0, u32::from(!unmatched) << 10 | u32::from(wide) << 3);
        for n in 0..16 {
            // Groups 0 to 7 pass, the others fault; what is in none is ended, or passes too.
            let kind = if n < 8 { 1 << 16 } else { 2 << 16 };
            hw.set(0xc00 + n * 4, kind | u32::from(wide) << 10);
            hw.set(0x800 + n * 4, u32::from(!wide) << 31 | (0x100 + n));
        }
        assert_eq!(hw.effect(0x100), Effect::Hole("S2CR type"));
        let mut confined = std::vec![0x108, 0x10f];
        if !unmatched {
            confined.extend([0, 0x7fff]);
        }
        hw.0.borrow_mut().confined = confined;
        assert!(start(&hw, plan()).is_ok());
        assert_eq!(hw.get(0) & 0x8000_0009, 0);
        assert_eq!(hw.effect(0x100), Effect::Ended);
    }
}
