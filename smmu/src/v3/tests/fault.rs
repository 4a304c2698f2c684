use super::super::{Lost, SetError, Ste, StreamId, Vmid};
use super::model::Blocked;
use super::{DEVICE, ROOT_A, ROOT_B, SEEDS, map, separated, stage2};

const PROBE: u64 = 0x4000_0000;

#[test]
fn a_refused_invalidation_is_replaced_by_the_widest() {
    for seed in SEEDS {
        let (hw, mut smmu) = separated(seed);
        assert_eq!(hw.dma(DEVICE, PROBE, true), Ok(PROBE));
        map(&hw, ROOT_A, PROBE, None, false);
        hw.faults(|faults| faults.illegal = Some((0x2a, u32::MAX)));
        smmu.forget(&hw, Vmid::HOST, PROBE, 1).unwrap();
        smmu.sync(&hw).unwrap();
        assert_eq!(
            hw.dma(DEVICE, PROBE, true),
            Err(Blocked(0x10)),
            "seed {seed}"
        );
        assert!(!smmu.is_lost());
    }
}

#[test]
fn a_refused_change_of_an_entry_is_completed_by_the_widest() {
    for seed in SEEDS {
        let (hw, mut smmu) = separated(seed);
        assert_eq!(hw.dma(DEVICE, PROBE, true), Ok(PROBE));
        hw.faults(|faults| faults.illegal = Some((0x03, u32::MAX)));
        smmu.set(&hw, StreamId(DEVICE), &Ste::Invalid).unwrap();
        assert_eq!(hw.dma(DEVICE, PROBE, true), Err(Blocked(4)));
    }
}

#[test]
fn refusing_the_widest_too_loses_the_smmu() {
    let (hw, mut smmu) = separated(1);
    hw.faults(|faults| faults.illegal = Some((0x30, u32::MAX)));
    smmu.forget(&hw, Vmid::HOST, PROBE, 1).unwrap();
    smmu.sync(&hw).unwrap();
    hw.faults(|faults| faults.illegal = Some((0x04, u32::MAX)));
    smmu.separate(&hw, StreamId(0x208), 0x60_0000).unwrap_err();
    assert!(smmu.is_lost());
}

/// The lost SMMU says so to every later caller, and lets nothing new pass if it still hears.
#[test]
fn a_lost_smmu_aborts_and_stays_lost() {
    for seed in SEEDS {
        let (hw, mut smmu) = separated(seed);
        hw.faults(|faults| faults.sync_hangs = true);
        map(&hw, ROOT_A, PROBE, None, false);
        smmu.forget(&hw, Vmid::HOST, PROBE, 1).unwrap();
        assert_eq!(smmu.sync(&hw), Err(Lost));
        assert_eq!(hw.dma(DEVICE, PROBE, true), Err(Blocked(0)));
        hw.faults(|faults| faults.sync_hangs = false);
        let device = StreamId(DEVICE);
        assert_eq!(smmu.sync(&hw), Err(Lost));
        assert_eq!(smmu.forget(&hw, Vmid::HOST, 0, 1), Err(Lost));
        assert_eq!(smmu.retire(&hw, Vmid(1)), Err(Lost));
        assert_eq!(smmu.set(&hw, device, &Ste::Invalid), Err(SetError::Lost));
        assert_eq!(smmu.separate(&hw, device, 0), Err(SetError::Lost));
    }
}

/// Whichever of the three steps fails, the stream never has the new entry and an answer `Ok`.
#[test]
fn a_sync_that_hangs_in_the_middle_of_a_change_is_told() {
    for seed in SEEDS {
        let (hw, mut smmu) = separated(seed);
        map(&hw, ROOT_B, PROBE, Some(0x9000_0000), true);
        hw.faults(|faults| faults.sync_hangs = true);
        let set = smmu.set(&hw, StreamId(DEVICE), &stage2(Vmid(5), ROOT_B));
        assert_eq!(set, Err(SetError::Lost));
        assert_eq!(hw.dma(DEVICE, PROBE, true), Err(Blocked(0)));
    }
}

#[test]
fn an_smmu_that_hears_nothing_is_lost_all_the_same() {
    let (hw, mut smmu) = separated(1);
    hw.faults(|faults| {
        faults.queue_stops = true;
        faults.enables_hang = true;
    });
    smmu.forget(&hw, Vmid::HOST, PROBE, 1).unwrap();
    assert_eq!(smmu.sync(&hw), Err(Lost));
    assert!(smmu.is_lost());
}

#[test]
fn service_failure_loses_the_smmu() {
    let (hw, mut smmu) = separated(1);
    hw.0.borrow_mut().raise(8);
    assert!(smmu.errors(&hw).service_failure());
    assert_eq!(smmu.sync(&hw), Err(Lost));
}
