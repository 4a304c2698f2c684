use super::*;

#[test]
fn item_42_freeing_a_stream_touches_no_other() {
    let (mut b, mut all) = scene();
    all.map(&mut b, HOST, 0, PA, 0, RW).unwrap();
    all.map(&mut b, OTHER, 0, PA, 0, RW).unwrap();
    assert_eq!(all.free(&mut b, HOST), Ok(Progress::Done));
    assert_eq!(b.targets[&HOST], Target::Default);
    assert_eq!(
        (b.targets[&OTHER], b.targets[&VMS]),
        (Target::Own, Target::Vm(1))
    );
    assert_eq!(b.pins_of(FRAME), 1);
    assert_eq!(all.iova_to_phys(&b, OTHER, 5), Ok(PA + 5));
}

#[test]
fn item_43_a_stream_is_given_after_the_vms_state_is_checked() {
    let (mut b, mut all) = (Fake::new(), All::new());
    for state in [VmState::Verified, VmState::Off { running: false }] {
        b.vms.insert(1, state);
        assert_eq!(all.alloc(&mut b, VMS, Some(1)), Err(Error::BadState));
        assert!(b.targets.is_empty() && !all.reach(1));
    }
    assert_eq!(all.alloc(&mut b, VMS, Some(2)), Err(Error::NotFound));
    b.vms.insert(1, VmState::Ready);
    all.alloc(&mut b, VMS, Some(1)).unwrap();
    assert!(all.reach(1));
}

#[test]
fn item_44_after_verification_nothing_is_mapped_for_a_vm() {
    let (mut b, mut all) = scene();
    let (vm, ipa) = (1, 0x8000_0000);
    b.frames.insert(FRAME, Frame::Vm { vm, ipa });
    assert_eq!(all.map(&mut b, VMS, ipa, PA, 0, RW), Err(Error::BadState));
    b.vms.insert(1, VmState::Off { running: false });
    assert_eq!(all.map(&mut b, VMS, ipa, PA, 0, RW), Err(Error::BadState));
    b.vms.insert(1, VmState::Ready);
    assert_eq!(all.map(&mut b, VMS, ipa, PA, 0, RW), Ok(()));
    assert!(b.leaves.is_empty(), "the VM's own table has it");
}

#[test]
fn item_45_a_vms_stream_comes_back_when_the_vm_is_off_and_idle() {
    let (mut b, mut all) = scene();
    for state in [
        VmState::Ready,
        VmState::Verified,
        VmState::Off { running: true },
    ] {
        b.vms.insert(1, state);
        assert_eq!(all.free(&mut b, VMS), Err(Error::BadState), "{state:?}");
        assert_eq!(b.targets[&VMS], Target::Vm(1));
        assert_eq!(all.clear(&mut b, VMS, 0, 0, When::Now), Err(Error::Denied));
    }
    b.vms.insert(1, VmState::Off { running: false });
    assert_eq!(all.free(&mut b, VMS), Ok(Progress::Done));
    assert!(!all.reach(1));
}

/// A TLB may hold it until then.
#[test]
fn item_45_a_frame_is_unpinned_after_the_sync_and_not_before() {
    let (mut b, mut all) = scene();
    all.map(&mut b, HOST, 0x5000, PA, 0, RW).unwrap();
    assert_eq!(b.dma(HOST, 0x5000), Some(FRAME));
    all.clear(&mut b, HOST, 0x5000, 0, When::Later).unwrap();
    assert_eq!((b.dma(HOST, 0x5000), b.pins_of(FRAME)), (Some(FRAME), 1));
    all.flush(&mut b).unwrap();
    assert_eq!((b.dma(HOST, 0x5000), b.pins_of(FRAME)), (None, 0));
    all.map(&mut b, HOST, 0x5000, PA, 0, RW).unwrap();
    b.dma(HOST, 0x5000);
    all.clear(&mut b, HOST, 0x5000, 0, When::Now).unwrap();
    assert_eq!((b.dma(HOST, 0x5000), b.pins_of(FRAME)), (None, 0));
}

#[test]
fn item_46_what_is_not_mapped_counts_for_no_frame() {
    let (mut b, mut all) = scene();
    all.map(&mut b, HOST, 0x20_0000, PA, 9, RW).unwrap();
    b.pins.insert(0, 1);
    for (iova, order) in [(0, 0), (0x20_0000, 0), (0x20_1000, 0), (0x40_0000, 9)] {
        let refused = all.clear(&mut b, HOST, iova, order, When::Now);
        assert_eq!(refused, Err(Error::NotMapped), "{iova:#x}");
    }
    assert_eq!(
        (b.pins_of(0), b.pins_of(FRAME), b.pins_of(FRAME + 511)),
        (1, 1, 1)
    );
    all.clear(&mut b, HOST, 0x20_0000, 9, When::Now).unwrap();
    assert_eq!(
        (b.pins_of(0), b.pins_of(FRAME), b.pins_of(FRAME + 511)),
        (1, 0, 0)
    );
}

#[test]
fn item_47_no_frame_changes_its_owner_by_a_device_call() {
    let (mut b, mut all) = scene();
    b.vms.insert(1, VmState::Ready);
    let ipa = 0x8000_0000;
    assert_eq!(
        all.map(&mut b, VMS, ipa, PA, 0, RW),
        Err(Error::Denied),
        "the host's"
    );
    b.frames.insert(FRAME, Frame::Vm { vm: 1, ipa });
    assert_eq!(
        all.map(&mut b, VMS, ipa + 0x1000, PA, 0, RW),
        Err(Error::Denied),
        "elsewhere"
    );
    b.frames.insert(FRAME, Frame::Vm { vm: 2, ipa });
    assert_eq!(
        all.map(&mut b, VMS, ipa, PA, 0, RW),
        Err(Error::Denied),
        "another's"
    );
    assert_eq!(
        all.map(&mut b, HOST, ipa, PA, 0, RW),
        Err(Error::Denied),
        "for the host"
    );
    b.frames.insert(FRAME, Frame::Other);
    assert_eq!(
        all.map(&mut b, HOST, 0, PA, 0, RW),
        Err(Error::Denied),
        "Ward's"
    );
    let block = PA - 0x20_0000;
    b.frames.insert(FRAME - 1, Frame::Vm { vm: 2, ipa });
    assert_eq!(
        all.map(&mut b, HOST, 0, block, 9, RW),
        Err(Error::Denied),
        "the last of 512"
    );
    assert!(b.leaves.is_empty() && b.pins.is_empty());
}

#[test]
fn item_48_pins_count_every_mapping_and_a_full_counter_refuses() {
    let (mut b, mut all) = scene();
    for n in 0..20 {
        all.map(&mut b, HOST, n << 12, PA, 0, RW).unwrap();
    }
    all.map(&mut b, OTHER, 0, PA, 0, RW).unwrap();
    assert_eq!(b.pins_of(FRAME), 21, "more than there are banks");
    assert_eq!(all.map(&mut b, HOST, 0, PA, 0, RW), Err(Error::Mapped));
    all.map(&mut b, HOST, 0x3f_f000, PA, 0, RW).unwrap();
    assert_eq!(
        all.map(&mut b, HOST, 0x20_0000, PA, 9, RW),
        Err(Error::Mapped)
    );
    all.clear(&mut b, HOST, 0x3f_f000, 0, When::Now).unwrap();
    assert_eq!(b.pins_of(FRAME), 21, "an address counts once");
    b.pins.insert(FRAME + 511, u16::MAX);
    let full = all.map(&mut b, HOST, 0x20_0000, PA, 9, RW);
    assert_eq!(full, Err(Error::NoMemory));
    assert_eq!(
        (b.pins_of(FRAME), b.pins_of(FRAME + 510)),
        (21, 0),
        "none of the block"
    );
}

#[test]
fn item_49_permissions_are_two_bits_and_nothing_else() {
    let (mut b, mut all) = scene();
    for prot in [0, 2, 4, 7, 0x1001, 1 << 63 | 3, PA | 3] {
        let refused = all.map(&mut b, HOST, 0, PA, 0, prot);
        assert_eq!(refused, Err(Error::InvalidArgument), "{prot:#x}");
    }
    all.map(&mut b, HOST, 0, PA, 0, 1).unwrap();
    assert!(!b.leaf(HOST, 0).unwrap().prot.write);
    for order in [1, 2, 18, u64::MAX] {
        assert_eq!(
            all.map(&mut b, HOST, 0, PA, order, 1),
            Err(Error::InvalidArgument)
        );
    }
}

#[test]
fn item_51_a_call_on_nothing_is_an_error() {
    let (mut b, mut all) = scene();
    let nobodys = Key { smmu: 1, stream: 3 };
    let error = Err(Error::NotAllocated);
    assert_eq!(all.map(&mut b, nobodys, 0, PA, 0, RW), error);
    assert_eq!(all.clear(&mut b, nobodys, 0, 0, When::Now), error);
    assert_eq!(all.free(&mut b, nobodys), Err(Error::NotAllocated));
    assert_eq!(all.iova_to_phys(&b, nobodys, 0), Err(Error::NotAllocated));
    for key in [
        Key { smmu: 2, stream: 0 },
        Key {
            smmu: 0,
            stream: 16,
        },
    ] {
        assert_eq!(all.alloc(&mut b, key, None), Err(Error::NotFound));
    }
    assert_eq!(all.alloc(&mut b, HOST, None), Err(Error::Exists));
    b.vms.insert(1, VmState::Ready);
    assert_eq!(all.alloc(&mut b, HOST, Some(1)), Err(Error::Exists));
    all.alloc(&mut b, nobodys, None).unwrap();
    let fifth = Key { smmu: 1, stream: 4 };
    assert_eq!(all.alloc(&mut b, fifth, None), Err(Error::NoMemory));
}

#[test]
fn item_52_what_is_not_mapped_is_not_frame_0_and_a_vms_is_not_told() {
    let (mut b, mut all) = scene();
    assert_eq!(all.iova_to_phys(&b, HOST, 0x123), Err(Error::NotMapped));
    assert_eq!(all.iova_to_phys(&b, VMS, 0x123), Err(Error::Denied));
    assert_eq!(all.iova_to_phys(&b, HOST, 1 << 40), Err(Error::BadAddress));
    all.map(&mut b, HOST, 0x20_0000, PA, 9, RW).unwrap();
    assert_eq!(all.iova_to_phys(&b, HOST, 0x20_1234), Ok(PA + 0x1234));
    all.map(&mut b, HOST, 0, 0, 0, RW).unwrap();
    assert_eq!(all.iova_to_phys(&b, HOST, 8), Ok(8), "frame 0 is a frame");
}

#[test]
fn addresses_are_aligned_to_the_leaf_and_end_within_the_table() {
    let (mut b, mut all) = scene();
    let bad = [
        (0x800, PA, 0),
        (0, PA + 1, 0),
        (0x1000, PA, 9),
        (0, PA + 0x1000, 9),
        (1 << 40, PA, 0),
        (!0xfff, PA, 0),
        (!0x1f_ffff, PA, 9),
    ];
    for (iova, pa, order) in bad {
        let refused = all.map(&mut b, HOST, iova, pa, order, RW);
        assert_eq!(refused, Err(Error::BadAddress), "{iova:#x} {pa:#x}");
    }
    all.map(&mut b, HOST, (1 << 40) - 0x20_0000, PA, 9, RW)
        .unwrap();
    b.vms.insert(1, VmState::Ready);
    let last = all.map(&mut b, VMS, !0xfff, PA, 0, RW);
    assert_eq!(last, Err(Error::BadAddress));
    b.rooms = 0;
    assert_eq!(all.map(&mut b, HOST, 0, PA, 0, RW), Err(Error::NoMemory));
    assert_eq!(b.pins_of(FRAME), 1);
}

#[test]
fn the_doorbell_is_mapped_by_the_page_and_has_no_pins() {
    let (mut b, mut all) = scene();
    b.frames.insert(FRAME, Frame::Doorbell);
    assert_eq!(all.map(&mut b, HOST, 0, PA, 9, RW), Err(Error::Denied));
    all.map(&mut b, HOST, 0, PA, 0, RW).unwrap();
    assert!(b.pins.is_empty());
    all.clear(&mut b, HOST, 0, 0, When::Now).unwrap();
    assert!(b.pins.is_empty());
}

#[test]
fn a_large_table_comes_back_in_pieces_and_maps_nothing_meanwhile() {
    let (mut b, mut all) = scene();
    for n in 0..70 {
        all.map(&mut b, HOST, n << 12, PA + (n << 12), 0, RW)
            .unwrap();
    }
    assert_eq!(all.free(&mut b, HOST), Ok(Progress::Again));
    assert_eq!(b.dma(HOST, 69 << 12), None, "it leads nowhere");
    assert_eq!(all.map(&mut b, HOST, 0, PA, 0, RW), Err(Error::Exists));
    assert_eq!(
        all.clear(&mut b, HOST, 69 << 12, 0, When::Now),
        Err(Error::Exists)
    );
    assert_eq!(all.alloc(&mut b, HOST, None), Err(Error::Exists));
    assert_eq!(all.free(&mut b, HOST), Ok(Progress::Again));
    assert_eq!(all.free(&mut b, HOST), Ok(Progress::Done));
    assert!(b.pins.values().all(|pins| *pins == 0));
    assert_eq!(b.targets[&HOST], Target::Default);
}

#[test]
fn an_address_is_used_again_only_when_the_old_translation_is_forgotten() {
    let (mut b, mut all) = scene();
    all.map(&mut b, HOST, 0, PA, 0, RW).unwrap();
    b.dma(HOST, 0);
    all.clear(&mut b, HOST, 0, 0, When::Later).unwrap();
    all.map(&mut b, HOST, 0x1000, PA, 0, RW).unwrap();
    assert_eq!(b.syncs, 0, "another address need not wait");
    all.map(&mut b, HOST, 0, PA + 0x1000, 0, RW).unwrap();
    assert_eq!(b.dma(HOST, 0), Some(FRAME + 1));
    assert_eq!(b.pins_of(FRAME), 1);
}

#[test]
fn many_that_wait_share_a_sync_and_more_than_fit_cost_one() {
    let (mut b, mut all) = scene();
    for n in 0..65 {
        all.map(&mut b, HOST, n << 12, PA + (n << 12), 0, RW)
            .unwrap();
        b.dma(HOST, n << 12);
    }
    for n in 0..65 {
        all.clear(&mut b, HOST, n << 12, 0, When::Later).unwrap();
    }
    assert_eq!(b.syncs, 1);
    assert_eq!(b.pins.values().filter(|pins| **pins > 0).count(), 1);
    all.flush(&mut b).unwrap();
    assert_eq!((b.syncs, b.tlb.len()), (2, 0));
}

/// Whatever an SMMU that stops answering was asked for: what it may still reach stays pinned, and
/// the others go on.
#[test]
fn a_lost_smmu_keeps_its_frames_and_no_other_smmus() {
    for patience in 0..2 {
        let (mut b, mut all) = scene();
        all.map(&mut b, HOST, 0, PA, 0, RW).unwrap();
        all.map(&mut b, OTHER, 0, PA + 0x1000, 0, RW).unwrap();
        all.clear(&mut b, OTHER, 0, 0, When::Later).unwrap();
        b.dma(HOST, 0);
        b.patience = Some(patience);
        assert_eq!(all.clear(&mut b, HOST, 0, 0, When::Now), Err(Error::Lost));
        assert_eq!(b.pins_of(FRAME), 1);
        let _ = all.flush(&mut b);
        assert_eq!((b.pins_of(FRAME), b.pins_of(FRAME + 1)), (1, 0));
        assert_eq!(all.flush(&mut b), Ok(()), "nothing waits for it any more");
        assert_eq!(all.map(&mut b, HOST, 0, PA, 0, RW), Err(Error::Lost));
        assert_eq!(all.free(&mut b, HOST), Err(Error::Lost));
        assert_eq!(all.map(&mut b, OTHER, 0, PA, 0, RW), Ok(()));
    }
}

#[test]
fn what_waits_for_a_lost_smmu_is_in_nobodys_way() {
    let (mut b, mut all) = scene();
    for n in 0..64 {
        all.map(&mut b, OTHER, n << 12, PA, 0, RW).unwrap();
        all.clear(&mut b, OTHER, n << 12, 0, When::Later).unwrap();
    }
    all.map(&mut b, HOST, 0, PA, 0, RW).unwrap();
    b.lost.insert(OTHER.smmu);
    assert_eq!(all.clear(&mut b, HOST, 0, 0, When::Now), Ok(()));
    assert_eq!(b.pins_of(FRAME), 64);
}

/// What is known to be in vain is not begun.
#[test]
fn a_stream_of_a_lost_smmu_keeps_its_leaves() {
    let (mut b, mut all) = scene();
    for n in 0..33 {
        all.map(&mut b, HOST, n << 12, PA, 0, RW).unwrap();
    }
    assert_eq!(all.free(&mut b, HOST), Ok(Progress::Again));
    b.lost.insert(HOST.smmu);
    assert_eq!(all.free(&mut b, HOST), Err(Error::Lost));
    assert_eq!((b.leaves.len(), b.pins_of(FRAME)), (1, 1));
}

/// It may lead to the VM's memory already, or still.
#[test]
fn a_stream_lost_on_its_way_counts_as_the_vms() {
    let (mut b, mut all) = (Fake::new(), All::new());
    b.patience = Some(0);
    assert_eq!(all.alloc(&mut b, VMS, Some(1)), Err(Error::Lost));
    assert!(all.reach(1));
    b.vms.insert(1, VmState::Off { running: false });
    assert_eq!(all.free(&mut b, VMS), Err(Error::Lost));
    assert!(all.reach(1));
}
