use super::super::{Command, SetError, Ste, StreamId, Vmid};
use super::model::Blocked;
use super::{DEVICE, PAGE, ROOT_A, ROOT_B, SEEDS, map, running, separated, stage2};

const PROBE: u64 = 0x4000_0000;

#[test]
fn a_stream_gets_what_its_entry_says_and_no_more() {
    for seed in SEEDS {
        let (hw, mut smmu) = separated(seed);
        map(&hw, ROOT_B, PROBE, Some(0x9000_0000), true);
        hw.0.borrow_mut().watched = std::vec![(DEVICE, PROBE)];
        smmu.set(&hw, StreamId(DEVICE), &stage2(Vmid(5), ROOT_B))
            .unwrap();
        assert_eq!(
            hw.dma(DEVICE, PROBE + 8, true),
            Ok(0x9000_0008),
            "seed {seed}"
        );
        assert_eq!(hw.dma(DEVICE, 0x4000_1000, false), Err(Blocked(0x10)));
        assert_eq!(hw.dma(DEVICE + 1, PROBE, true), Ok(PROBE), "its neighbour");
        smmu.set(&hw, StreamId(DEVICE), &stage2(Vmid::HOST, ROOT_A))
            .unwrap();
        assert_eq!(hw.dma(DEVICE, PROBE, true), Ok(PROBE));
        assert_eq!(
            hw.dma(DEVICE, 0x4000_1000, true),
            Err(Blocked(0x13)),
            "read only"
        );
        assert_eq!(
            hw.dma(DEVICE, 1 << 40, true),
            Err(Blocked(0x10)),
            "too wide"
        );
        smmu.set(&hw, StreamId(DEVICE), &Ste::Silent).unwrap();
        assert_eq!(hw.dma(DEVICE, PROBE, true), Err(Blocked(0)));
        smmu.set(&hw, StreamId(DEVICE), &Ste::Invalid).unwrap();
        assert_eq!(hw.dma(DEVICE, PROBE, true), Err(Blocked(4)));
    }
}

/// While an entry changes from A to B, the words of one must never count with those of the
/// other: B's table under A's VMID would leave B's translations for A's next stream.
#[test]
fn no_mixture_of_two_entries_is_ever_used() {
    for seed in SEEDS {
        let (hw, mut smmu) = separated(seed);
        map(&hw, ROOT_B, PROBE, Some(0x9000_0000), true);
        hw.0.borrow_mut().watched = std::vec![(DEVICE, PROBE)];
        for _ in 0..4 {
            smmu.set(&hw, StreamId(DEVICE), &stage2(Vmid(5), ROOT_B))
                .unwrap();
            hw.idle(20);
            assert_eq!(
                hw.dma(DEVICE + 1, PROBE, true),
                Ok(PROBE),
                "A's, seed {seed}"
            );
            smmu.set(&hw, StreamId(DEVICE), &stage2(Vmid::HOST, ROOT_A))
                .unwrap();
            hw.idle(20);
            assert_eq!(hw.dma(DEVICE, PROBE, true), Ok(PROBE), "seed {seed}");
        }
    }
}

#[test]
fn an_entry_is_invalidated_before_and_after_it_is_filled() {
    let (hw, mut smmu) = separated(1);
    hw.done();
    smmu.set(&hw, StreamId(DEVICE), &stage2(Vmid(5), ROOT_B))
        .unwrap();
    let config = Command::config(StreamId(DEVICE), true).0;
    assert_eq!(hw.done(), [config; 3]);
}

#[test]
fn an_own_page_changes_nothing_for_running_devices() {
    for seed in SEEDS {
        let (hw, mut smmu) = running(seed);
        hw.0.borrow_mut().watched = std::vec![(DEVICE, PROBE), (DEVICE + 1, PROBE)];
        hw.0.borrow_mut().attack = true;
        assert!(smmu.is_shared(&hw, StreamId(DEVICE)));
        let set = smmu.set(&hw, StreamId(DEVICE), &Ste::Invalid);
        assert_eq!(set, Err(SetError::Shared));
        let crooked = smmu.separate(&hw, StreamId(DEVICE), PAGE + 0x1000);
        assert_eq!(crooked, Err(SetError::Page));
        let far = smmu.separate(&hw, StreamId(DEVICE), PAGE | 1 << 44);
        assert_eq!(far, Err(SetError::Page));
        smmu.separate(&hw, StreamId(DEVICE), PAGE).unwrap();
        assert!(!smmu.is_shared(&hw, StreamId(DEVICE)));
        assert!(smmu.is_shared(&hw, StreamId(0x208)), "another bus");
        assert_eq!(hw.dma(DEVICE, PROBE, true), Ok(PROBE));
        assert_eq!(smmu.event(&hw), None, "no access was stopped meanwhile");
        // A second time is nothing.
        hw.done();
        smmu.separate(&hw, StreamId(DEVICE), 0).unwrap();
        assert_eq!(hw.done().len(), 0);
    }
}

#[test]
fn a_stream_beyond_the_table_is_refused() {
    let (hw, mut smmu) = running(1);
    let beyond = StreamId(1 << 16);
    assert_eq!(
        smmu.set(&hw, beyond, &Ste::Invalid),
        Err(SetError::NoStream)
    );
    assert_eq!(smmu.separate(&hw, beyond, PAGE), Err(SetError::NoStream));
    assert!(!smmu.is_shared(&hw, beyond));
}

/// The descriptor may be seen the moment it is written: the page is complete before.
#[test]
fn an_own_page_is_written_before_it_is_linked() {
    for seed in SEEDS {
        let (hw, mut smmu) = running(seed);
        let descriptor = super::TABLE + u64::from(DEVICE >> 8) * 8;
        hw.0.borrow_mut().probe = Some((descriptor, DEVICE, PROBE));
        smmu.separate(&hw, StreamId(DEVICE), PAGE).unwrap();
        assert_eq!(hw.0.borrow().probed, Some(Ok(PROBE)));
    }
}
