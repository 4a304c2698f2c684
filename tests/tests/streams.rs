//! Streams that the host takes for itself, and KCore's known defects in calls for devices, by the
//! numbers of the list that `docs/kcore.md` keeps.

use hyp_core::abi::calls::{info, stat};
use hyp_core::abi::smccc::KVM_MEM_SHARE;
use hyp_core::abi::{Call, Error};
use hyp_core::addr::Pfn;
use hyp_core::dma::{Dma, StreamKey};
use hyp_core::inspect::Rule;
use hyp_core::machine::TableMemory;
use hyp_core::memory::FrameState;
use ward_tests::fake::{STREAMS, Step};
use ward_tests::harness::{DOORBELL, Plan, Scene, Shape, check_all};

const IOVA: u64 = 0x12_3000;
const READ: u64 = 1;
const WRITE: u64 = 3;

/// A machine with SMMUs, on which the host has taken a stream.
struct Stage {
    scene: Scene,
}

fn numbers(key: StreamKey) -> [u64; 2] {
    [key.smmu.into(), key.stream.into()]
}

impl Stage {
    fn new() -> Self {
        let shape = Shape {
            smmu: Some(40),
            ..Shape::default()
        };
        let stage = Stage {
            scene: Scene::new(shape),
        };
        stage.alloc(0).expect("allocated");
        stage
    }

    fn on(&self, call: Call, n: usize, more: &[u64]) -> Result<u64, Error> {
        let mut args = numbers(STREAMS[n]).to_vec();
        args.extend(more);
        self.scene.call(call, &args)
    }

    fn alloc(&self, n: usize) -> Result<u64, Error> {
        self.on(Call::SmmuAlloc, n, &[0])
    }

    fn map(&self, iova: u64, pfn: u64, order: u64, prot: u64) -> Result<u64, Error> {
        self.on(Call::SmmuMap, 0, &[iova, pfn << 12, order, prot])
    }

    fn clear(&self, iova: u64, order: u64) -> Result<u64, Error> {
        self.on(Call::SmmuClear, 0, &[iova, order])
    }

    /// Frees it, however many calls that takes, and says how many.
    fn free(&self, n: usize) -> u64 {
        let [smmu, stream] = numbers(STREAMS[n]);
        for calls in 1.. {
            let answer = self.scene.world.call(Call::SmmuFree, &[smmu, stream]);
            let answer = answer.unwrap_or_else(|text| panic!("{text}"));
            assert_eq!(answer.error(), None);
            if answer.x[0] == 0 {
                return calls;
            }
        }
        unreachable!()
    }

    fn device(&self, n: usize, iova: u64, write: Option<u64>) -> Option<u64> {
        let done = self.scene.world.dma(STREAMS[n], iova, write);
        done.unwrap_or_else(|text| panic!("{text}"))
    }

    fn pins(&self, pfn: u64) -> u16 {
        match self.scene.world.ward.frame_state(Pfn(pfn)) {
            Some(FrameState::Host { pins, .. }) => pins,
            other => panic!("{other:?}"),
        }
    }

    fn donate(&self, pfn: u64) -> Result<u64, Error> {
        self.scene.call(Call::HostDonate, &[pfn << 12, 1])
    }
}

#[test]
fn a_stream_of_its_own_reaches_what_is_mapped_and_nothing_else() {
    let stage = Stage::new();
    let pfn = stage.scene.frame();
    assert_eq!(stage.device(0, pfn << 12, None), None, "not the default");
    assert_eq!(stage.device(0, IOVA, None), None);
    stage.map(IOVA, pfn, 0, WRITE).expect("mapped");
    assert_eq!(stage.device(0, IOVA + 8, Some(5)), Some(5));
    assert_eq!(stage.scene.load((pfn << 12) + 8), Some(5));
    assert_eq!(stage.device(0, IOVA + 4096, None), None, "past its end");
    assert_eq!(stage.device(0, IOVA - 8, None), None, "before it");
    assert_eq!(stage.device(1, IOVA, None), None, "another stream's");
    // Two streams, one address, two frames.
    stage.alloc(1).expect("allocated");
    let other = pfn - 1;
    let args = [IOVA, other << 12, 0, WRITE];
    stage.on(Call::SmmuMap, 1, &args).expect("mapped");
    assert_eq!(stage.device(1, IOVA, Some(6)), Some(6));
    assert_eq!(stage.device(0, IOVA, None), Some(0));
    stage.clear(IOVA, 0).expect("cleared");
    assert_eq!(stage.device(0, IOVA, None), None);
    assert_eq!(stage.device(1, IOVA, None), Some(6));
    stage.scene.check();
}

#[test]
fn a_page_to_read_is_not_written() {
    let stage = Stage::new();
    let pfn = stage.scene.frame();
    stage.map(IOVA, pfn, 0, READ).expect("mapped");
    assert_eq!(stage.device(0, IOVA, None), Some(0));
    assert_eq!(stage.device(0, IOVA, Some(1)), None);
}

#[test]
fn interrupt_messages_have_their_page_and_no_other_device_has() {
    let stage = Stage::new();
    stage.map(IOVA, DOORBELL, 0, WRITE).expect("mapped");
    assert_eq!(stage.device(0, IOVA, Some(9)), Some(9));
    assert_eq!(stage.map(0, DOORBELL + 1, 0, WRITE), Err(Error::BadAddress));
    assert_eq!(
        stage.map(0, DOORBELL & !511, 9, WRITE),
        Err(Error::BadAddress)
    );
    stage.clear(IOVA, 0).expect("cleared");
    stage.free(0);
    stage.scene.check();
}

#[test]
fn a_block_takes_the_place_of_a_table_that_says_nothing() {
    let stage = Stage::new();
    let (page, block) = (stage.scene.frame(), stage.scene.idle(512, 512));
    stage.map(0x20_3000, page, 0, WRITE).expect("mapped");
    assert_eq!(stage.device(0, 0x20_3000, None), Some(0));
    assert_eq!(stage.map(0x20_0000, block, 9, WRITE), Err(Error::Exists));
    stage.clear(0x20_3000, 0).expect("cleared");
    let pool = stage.scene.world.host_pool();
    stage.map(0x20_0000, block, 9, WRITE).expect("mapped");
    assert_eq!(
        stage.scene.world.host_pool(),
        pool + 1,
        "the table came back"
    );
    assert_eq!(stage.device(0, 0x20_3000, Some(3)), Some(3));
    assert_eq!(stage.map(0x20_3000, page, 0, WRITE), Err(Error::Exists));
    assert_eq!(stage.clear(0x20_3000, 0), Err(Error::NotFound), "a part");
    stage.clear(0x20_0000, 9).expect("cleared");
    assert_eq!(stage.device(0, 0x20_3000, None), None);
    stage.map(0x20_3000, page, 0, WRITE).expect("a table again");
    stage.scene.check();
}

#[test]
fn an_end_goes_by_pieces_and_leaves_nothing() {
    let stage = Stage::new();
    let args = [stage.scene.idle(64, 64) << 12, 64];
    stage.scene.call(Call::HostDonate, &args).expect("tables");
    let pool = stage.scene.world.host_pool();
    let block = stage.scene.idle(512, 512);
    stage.map(0x4000_0000, block, 9, WRITE).expect("mapped");
    let pages: Vec<u64> = (0..40).map(|n| block - 1 - n).collect();
    for (n, pfn) in pages.iter().enumerate() {
        // Each in a table of its own.
        let iova = (n as u64) << 21;
        stage.map(iova, *pfn, 0, WRITE).expect("mapped");
        assert_eq!(stage.device(0, iova, Some(1)), Some(1));
    }
    let calls = stage.free(0);
    assert!(calls > 3, "{calls}");
    // The root came back too.
    assert_eq!(stage.scene.world.host_pool(), pool + 1);
    for pfn in pages {
        assert_eq!(stage.pins(pfn), 0);
        assert!(stage.device(0, pfn << 12, None).is_some(), "the default's");
    }
    stage.scene.check();
    // Who has the number next finds nothing of it.
    stage.alloc(1).expect("allocated");
    assert_eq!(stage.device(1, 0, None), None);
    assert_eq!(stage.device(1, 0x4000_0000, None), None);
}

#[test]
fn a_stream_that_ends_is_not_used() {
    let stage = Stage::new();
    let block = stage.scene.idle(512, 512);
    stage.map(0, block - 1, 0, WRITE).expect("mapped");
    stage.map(0x20_0000, block, 9, WRITE).expect("mapped");
    assert_eq!(stage.device(0, 0x20_0000, None), Some(0));
    let [smmu, stream] = numbers(STREAMS[0]);
    let answer = stage.scene.world.call(Call::SmmuFree, &[smmu, stream]);
    assert_eq!(answer.expect("as specified").x[0], 1, "again");
    assert_eq!(
        stage.device(0, 0x20_0000, None),
        None,
        "though it is pinned"
    );
    assert_eq!(stage.pins(block), 1);
    assert_eq!(stage.map(0, block - 1, 0, WRITE), Err(Error::BadState));
    assert_eq!(stage.clear(0x20_0000, 9), Err(Error::BadState));
    assert_eq!(stage.alloc(0), Err(Error::Exists));
    stage.free(0);
    stage.scene.check();
}

#[test]
fn a_normal_vms_memory_is_mapped_for_its_device() {
    let stage = Stage::new();
    let vm = stage.scene.vm(false, 1);
    let pfn = stage.scene.frame();
    let args = [vm, Plan::RAM_PAGE << 12, pfn << 12, 0, 3];
    stage.scene.call(Call::VmMap, &args).expect("lent");
    stage
        .map(Plan::RAM_PAGE << 12, pfn, 0, WRITE)
        .expect("mapped");
    let args = [vm, Plan::RAM_PAGE << 12, 0];
    stage.scene.call(Call::VmUnmap, &args).expect("returned");
    assert_eq!(stage.donate(pfn), Err(Error::Denied), "a device has it");
    stage.clear(Plan::RAM_PAGE << 12, 0).expect("cleared");
    stage.donate(pfn).expect("idle");
}

#[test]
fn what_is_said_of_smmus() {
    let stage = Stage::new();
    let call = |call, args: &[u64]| stage.scene.call(call, args);
    assert_eq!(call(Call::Info, &[info::IOVA_BITS]), Ok(39));
    assert_eq!(call(Call::StatRead, &[0, stat::DEVICE_LOST]), Ok(0));
    stage.scene.world.lose_smmu();
    assert_eq!(stage.donate(stage.scene.frame()), Err(Error::DeviceLost));
    assert_eq!(call(Call::StatRead, &[0, stat::DEVICE_LOST]), Ok(1));
    let scene = Scene::default();
    assert_eq!(scene.call(Call::Info, &[info::IOVA_BITS]), Ok(0));
    assert_eq!(
        scene.call(Call::SmmuAlloc, &[0, 8, 0]),
        Err(Error::NotSupported)
    );
    assert_eq!(
        scene.call(Call::SmmuFree, &[0, 8]),
        Err(Error::NotSupported)
    );
}

#[test]
fn i4_a_device_reaches_what_is_not_pinned() {
    let stage = Stage::new();
    let pfn = stage.scene.frame();
    stage.map(IOVA, pfn, 0, WRITE).expect("mapped");
    let world = &stage.scene.world;
    world.ward.check_invariants().expect("sound");
    let regime = world.fake.state().dma.streams[&STREAMS[0]].expect("its own");
    let table = {
        let state = world.fake.state();
        let last = |table: &u64| {
            state
                .tables
                .live_table(*table)
                .is_some_and(|place| place.1 == 3)
        };
        let mut tables = state.tables.tables_of(regime).into_iter().filter(last);
        Pfn(tables.next().expect("a table"))
    };
    let index = (IOVA >> 12 & 511) as usize;
    let leaf = world.fake.read_entry(table, index);
    world
        .fake
        .dma_write_entry(table, index + 1, leaf + (1 << 12));
    world.fake.dma_publish();
    let found = world.ward.check_invariants().expect_err("not pinned");
    assert_eq!(found.rule, Rule::I4);
    let broken = check_all(&world.inner().spec, &world.fake).expect_err("not specified");
    assert!(broken.starts_with("I4"), "{broken}");
}

// --- KCore's list ---

#[test]
fn item_42_freeing_a_stream_touches_no_other() {
    let stage = Stage::new();
    stage.alloc(1).expect("allocated");
    let pfn = stage.scene.frame();
    stage.map(IOVA, pfn, 0, WRITE).expect("mapped");
    let args = [IOVA, pfn << 12, 0, READ];
    stage.on(Call::SmmuMap, 1, &args).expect("mapped");
    assert_eq!(stage.pins(pfn), 2);
    stage.free(1);
    assert_eq!(stage.pins(pfn), 1);
    assert_eq!(stage.device(0, IOVA, Some(4)), Some(4));
    stage.scene.check();
}

#[test]
fn item_43_and_44_a_vm_gets_no_stream() {
    let stage = Stage::new();
    let vm = stage.scene.vm(true, 1);
    let refused = stage.on(Call::SmmuAlloc, 1, &[vm]);
    assert_eq!(refused, Err(Error::NotSupported));
    assert!(stage.device(1, stage.scene.frame() << 12, None).is_some());
}

#[test]
fn item_45_a_frame_is_unpinned_after_the_sync_and_not_before() {
    let stage = Stage::new();
    let pfn = stage.scene.frame();
    stage.map(IOVA, pfn, 0, WRITE).expect("mapped");
    assert_eq!(stage.device(0, IOVA, Some(1)), Some(1), "in the TLB");
    assert_eq!(stage.donate(pfn), Err(Error::Denied));
    stage.clear(IOVA, 0).expect("cleared");
    assert_eq!(stage.device(0, IOVA, None), None);
    stage.donate(pfn).expect("idle");
    // And if the sync never comes, it stays pinned, mapped and the host's.
    let pfn = stage.scene.frame();
    stage.map(IOVA, pfn, 0, WRITE).expect("mapped");
    assert_eq!(stage.device(0, IOVA, Some(1)), Some(1));
    stage.scene.world.lose_smmu();
    for _ in 0..2 {
        assert_eq!(stage.clear(IOVA, 0), Err(Error::DeviceLost));
        assert_eq!(stage.pins(pfn), 1);
        assert_eq!(stage.donate(pfn), Err(Error::Denied));
        assert_eq!(stage.device(0, IOVA, Some(2)), Some(2));
    }
    let free = stage.on(Call::SmmuFree, 0, &[]);
    assert_eq!(free, Err(Error::DeviceLost));
    assert_eq!(stage.pins(pfn), 1);
    stage.scene.check();
}

#[test]
fn a_block_is_not_mapped_where_a_lost_smmu_may_walk() {
    let stage = Stage::new();
    let (page, block) = (stage.scene.frame(), stage.scene.idle(512, 512));
    stage.map(0x20_3000, page, 0, WRITE).expect("mapped");
    stage.clear(0x20_3000, 0).expect("cleared");
    stage.scene.world.lose_smmu();
    for _ in 0..2 {
        let refused = stage.map(0x20_0000, block, 9, WRITE);
        assert_eq!(refused, Err(Error::DeviceLost));
        assert_eq!(stage.pins(block), 0);
    }
    stage.scene.check();
}

#[test]
fn a_stream_whose_smmu_is_lost_on_the_way_is_not_given_again() {
    let stage = Stage::new();
    stage.scene.world.lose_smmu();
    assert_eq!(stage.alloc(1), Err(Error::DeviceLost));
    assert_eq!(stage.alloc(1), Err(Error::Exists), "it may lead there");
    assert_eq!(stage.alloc(2), Err(Error::DeviceLost));
    stage.scene.check();
}

#[test]
fn item_46_what_is_not_mapped_counts_for_no_frame() {
    let stage = Stage::new();
    let pfn = stage.scene.frame();
    stage.map(IOVA, pfn, 0, WRITE).expect("mapped");
    for (iova, order) in [(IOVA + 4096, 0), (0, 0), (0, 9), (IOVA & !0x1f_ffff, 9)] {
        assert_eq!(stage.clear(iova, order), Err(Error::NotFound));
    }
    assert_eq!(stage.pins(pfn), 1);
    stage.scene.check();
}

#[test]
fn item_47_no_frame_changes_its_owner_by_a_device_call() {
    let stage = Stage::new();
    let scene = &stage.scene;
    let vm = scene.protected(1);
    let page = Plan::RAM_PAGE + 16;
    let pfn = scene.map(vm, page, 0).expect("mapped");
    assert_eq!(stage.map(IOVA, pfn, 0, WRITE), Err(Error::Denied));
    // Shared with the host is not the host's.
    let share = Step::Hvc([KVM_MEM_SHARE.into(), page << 12, 0, 0]);
    scene.run(vm, 0, &[share]).expect("runs");
    assert_eq!(stage.map(IOVA, pfn, 0, WRITE), Err(Error::Denied));
    let record = scene.world.inner().spec.vms[&(vm as u16)].record;
    assert_eq!(stage.map(IOVA, record, 0, READ), Err(Error::Denied));
    let block = pfn & !511;
    assert_eq!(stage.map(0, block, 9, READ), Err(Error::Denied));
    // The host's keeps its contents through both calls.
    let own = scene.frame();
    assert!(scene.store(own << 12, 0x77));
    stage.map(IOVA, own, 0, WRITE).expect("mapped");
    assert_eq!(stage.device(0, IOVA, None), Some(0x77));
    stage.clear(IOVA, 0).expect("cleared");
    assert_eq!(scene.load(own << 12), Some(0x77));
    scene.check();
}

#[test]
fn item_48_pins_count_every_mapping_and_a_full_counter_refuses() {
    let stage = Stage::new();
    let pfn = stage.scene.frame();
    assert_eq!(stage.map(IOVA, pfn, 0, WRITE), Ok(0));
    assert_eq!(stage.map(IOVA, pfn, 0, WRITE), Err(Error::Exists));
    assert_eq!(stage.map(IOVA + 4096, pfn, 0, READ), Ok(0));
    assert_eq!(stage.pins(pfn), 2);
    // The rest without the specification, which would look at everything each time.
    let ward = &stage.scene.world.ward;
    let call = |call: Call, more: [u64; 4]| {
        let [smmu, stream] = numbers(STREAMS[0]);
        let mut x = [0; 8];
        x[..3].copy_from_slice(&[call.function_id().into(), smmu, stream]);
        x[3..7].copy_from_slice(&more);
        ward.host_call(&mut x);
        Error::from_code(x[0] as i64)
    };
    let args = [stage.scene.idle(140, 140) << 12, 140];
    stage.scene.call(Call::HostDonate, &args).expect("tables");
    for n in 2..u64::from(u16::MAX) {
        let done = call(Call::SmmuMap, [IOVA + (n << 12), pfn << 12, 0, WRITE]);
        assert_eq!(done, None, "{n}");
    }
    assert_eq!(stage.pins(pfn), u16::MAX);
    let more = call(Call::SmmuMap, [0, pfn << 12, 0, WRITE]);
    assert_eq!(more, Some(Error::Denied));
    for n in 2..u64::from(u16::MAX) {
        assert_eq!(call(Call::SmmuClear, [IOVA + (n << 12), 0, 0, 0]), None);
    }
    assert_eq!(stage.pins(pfn), 2);
}

#[test]
fn item_49_permissions_are_two_bits_and_nothing_else() {
    let stage = Stage::new();
    let pfn = stage.scene.frame();
    let wrong = (0..64).map(|bit| 1 << bit | READ).filter(|prot| *prot > 3);
    for prot in wrong.chain([0, 2]) {
        let refused = stage.map(IOVA, pfn, 0, prot);
        assert_eq!(refused, Err(Error::InvalidArgument), "{prot:#x}");
    }
}

#[test]
fn item_51_a_call_on_nothing_is_an_error() {
    let stage = Stage::new();
    let call = |call, args: &[u64]| stage.scene.call(call, args);
    for [smmu, stream] in [[0, 10], [2, 8], [1, 9], [256, 8], [0, 1 << 32 | 8]] {
        let refused = call(Call::SmmuAlloc, &[smmu, stream, 0]);
        assert_eq!(refused, Err(Error::NotFound));
    }
    assert_eq!(stage.alloc(0), Err(Error::Exists));
    let pfn = stage.scene.frame();
    let args = [IOVA, pfn << 12, 0, WRITE];
    assert_eq!(stage.on(Call::SmmuMap, 1, &args), Err(Error::BadState));
    assert_eq!(
        stage.on(Call::SmmuClear, 1, &[IOVA, 0]),
        Err(Error::BadState)
    );
    assert_eq!(stage.on(Call::SmmuFree, 1, &[]), Err(Error::BadState));
    for (iova, pa) in [(IOVA + 1, 0), (1 << 39, pfn << 12), (!4095, pfn << 12)] {
        let args = [iova, pa, 0, WRITE];
        assert_eq!(stage.on(Call::SmmuMap, 0, &args), Err(Error::BadAddress));
    }
}

#[test]
fn item_52_what_is_not_mapped_is_not_frame_0() {
    let stage = Stage::new();
    let pfn = stage.scene.frame();
    let ask = |iova| stage.on(Call::SmmuIovaToPhys, 0, &[iova]);
    assert_eq!(ask(IOVA), Err(Error::NotFound));
    stage.map(IOVA, pfn, 0, READ).expect("mapped");
    assert_eq!(ask(IOVA + 0x123), Ok((pfn << 12) + 0x123));
    assert_eq!(ask(1 << 39), Err(Error::BadAddress));
    let other = stage.on(Call::SmmuIovaToPhys, 1, &[IOVA]);
    assert_eq!(other, Err(Error::BadState));
}
