//! What the driver is for: a frame leaves the host while its devices hammer it.

use super::super::{Ste, StreamId, Vmid};
use super::model::Blocked;
use super::{DEVICE, ROOT_A, ROOT_B, SEEDS, map, separated, stage2};

const FRAME: u64 = 0x4000_0000;

/// The order of `Memory::take`: descriptor, invalidation, sync, new owner.
#[test]
fn a_donated_frame_is_out_of_reach_when_the_call_returns() {
    for seed in SEEDS {
        let (hw, mut smmu) = separated(seed);
        hw.0.borrow_mut().watched = std::vec![(DEVICE, FRAME), (0x300, FRAME)];
        hw.idle(30);
        map(&hw, ROOT_A, FRAME, None, false);
        smmu.forget(&hw, Vmid::HOST, FRAME, 1).unwrap();
        smmu.sync(&hw).unwrap();
        for _ in 0..20 {
            hw.idle(5);
            for stream in [DEVICE, 0x300, 0] {
                let blocked = Err(Blocked(0x10));
                assert_eq!(hw.dma(stream, FRAME, true), blocked, "seed {seed}");
            }
        }
    }
}

/// A stream goes from a VM to the host; the VMID goes on to another VM with other frames.
#[test]
fn a_vmid_used_again_finds_nothing_of_the_last_owner() {
    for seed in SEEDS {
        let (hw, mut smmu) = separated(seed);
        let device = StreamId(DEVICE);
        map(&hw, ROOT_B, FRAME, Some(0x9000_0000), true);
        hw.0.borrow_mut().watched = std::vec![(DEVICE, FRAME)];
        smmu.set(&hw, device, &stage2(Vmid(5), ROOT_B)).unwrap();
        assert_eq!(hw.dma(DEVICE, FRAME, true), Ok(0x9000_0000));
        smmu.set(&hw, device, &Ste::Invalid).unwrap();
        let _retired = smmu.retire(&hw, Vmid(5)).unwrap();
        map(&hw, ROOT_B, FRAME, Some(0xa000_0000), true);
        smmu.set(&hw, device, &stage2(Vmid(5), ROOT_B)).unwrap();
        assert_eq!(hw.dma(DEVICE, FRAME, true), Ok(0xa000_0000), "seed {seed}");
    }
}

/// Without the entry's own invalidations the model shows the hole that they close.
#[test]
fn the_model_keeps_entries_that_nobody_invalidated() {
    let (hw, mut smmu) = separated(1);
    assert_eq!(hw.dma(DEVICE, FRAME, true), Ok(FRAME));
    // Behind the driver's back: the entry is zeroed, no command is sent.
    let at = super::PAGE + u64::from(DEVICE & 0xff) * 64;
    super::Hardware::store(&hw, at, 0);
    super::Hardware::order(&hw);
    assert_eq!(hw.dma(DEVICE, FRAME, true), Ok(FRAME));
    smmu.set(&hw, StreamId(DEVICE), &Ste::Invalid).unwrap();
    assert_eq!(hw.dma(DEVICE, FRAME, true), Err(Blocked(4)));
}
