//! Edges that random calls rarely reach: blocks that come back in parts, and devices by block.

use hyp_core::abi::calls::stat;
use hyp_core::abi::{Call, Error};
use hyp_core::addr::{Ipa, Size};
use hyp_core::stage2::Lookup;
use ward_tests::harness::{HYP_DEVICE, IMAGE, Plan, Scene, Shape, free_device};

/// What the host's table has at an address, by its size; `None` for a hole.
fn host_leaf(scene: &Scene, pfn: u64) -> Option<Size> {
    let fake = scene.world.fake.clone();
    let look = |ipa| {
        scene
            .world
            .ward
            .inspect_memory(|memory| match memory.host_table().lookup(&fake, ipa) {
                Lookup::Leaf { leaf, .. } => Some(leaf.size),
                Lookup::Invalid { .. } => None,
            })
    };
    look(Ipa::containing(pfn << 12))
}

/// A 2 MiB aligned page of the plan's RAM with a whole block of no image behind it.
const BLOCK: u64 = Plan::RAM_PAGE + 1024;

#[test]
fn the_host_starts_with_the_largest_leaves() {
    let scene = Scene::default();
    let setup = scene.world.inner().spec.setup.clone();
    let is_hosts = |first: u64, frames: u64| {
        let within = |range: &(u64, u64)| first >= range.0 && first + frames <= range.0 + range.1;
        let meets = |range: &(u64, u64)| first < range.0 + range.1 && range.0 < first + frames;
        setup.ram.iter().any(within) && !setup.hyp.iter().any(meets)
    };
    let mut seen = Vec::new();
    for pfn in setup
        .ram
        .iter()
        .flat_map(|&(first, frames)| first..first + frames)
    {
        let fits = |size: &Size| is_hosts(pfn & !(size.frames() - 1), size.frames());
        let expected = [Size::Block1G, Size::Block2M, Size::Page]
            .into_iter()
            .find(fits);
        assert_eq!(host_leaf(&scene, pfn), expected, "{pfn:#x}");
        seen.extend(expected.filter(|size| !seen.contains(size)));
    }
    assert!(seen.len() >= 2, "{seen:?}");
}

#[test]
fn one_page_of_a_block_comes_back_alone() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let pfn = scene.map(vm, BLOCK, 9).expect("a block is mapped");
    scene.call(Call::VmPowerOff, &[vm]).expect("off");
    // The first page, which is aligned like the block itself.
    assert_eq!(scene.call(Call::VmClearRange, &[vm, pfn << 12, 1]), Ok(1));
    assert_eq!(host_leaf(&scene, pfn), Some(Size::Page));
    assert_eq!(host_leaf(&scene, pfn + 1), None);
    assert_eq!(scene.load(pfn << 12), Some(0));
    assert_eq!(scene.load((pfn + 1) << 12), None);
    // The rest in two calls; then the block is whole again in the host's table.
    assert_eq!(
        scene.call(Call::VmClearRange, &[vm, pfn << 12, 512]),
        Ok(511)
    );
    assert!(host_leaf(&scene, pfn) >= Some(Size::Block2M));
    assert!(host_leaf(&scene, pfn + 511) >= Some(Size::Block2M));
    scene.check();
}

#[test]
fn a_whole_block_comes_back_as_one() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let pfn = scene.map(vm, BLOCK, 9).expect("a block is mapped");
    assert_eq!(host_leaf(&scene, pfn + 7), None);
    scene.call(Call::VmPowerOff, &[vm]).expect("off");
    let pool = scene.world.host_pool();
    assert_eq!(
        scene.call(Call::VmClearRange, &[vm, pfn << 12, 512]),
        Ok(512)
    );
    assert!(host_leaf(&scene, pfn) >= Some(Size::Block2M));
    assert!(scene.world.host_pool() >= pool, "no table was needed");
    scene.check();
}

#[test]
fn devices_are_mapped_by_block_where_all_of_it_is_free() {
    let scene = Scene::default();
    let device = free_device(5);
    scene.load(device << 12);
    let block = device & !511;
    let beside_ward = (HYP_DEVICE..HYP_DEVICE + 2).any(|pfn| pfn & !511 == block);
    assert!(!beside_ward, "the free device has a block of its own");
    assert_eq!(host_leaf(&scene, block), Some(Size::Block2M));
    assert_eq!(host_leaf(&scene, block + 511), Some(Size::Block2M));
}

#[test]
fn a_device_beside_wards_is_mapped_by_page() {
    let scene = Scene::default();
    let neighbour = HYP_DEVICE + 2;
    scene.load(neighbour << 12);
    assert_eq!(host_leaf(&scene, neighbour), Some(Size::Page));
    assert_eq!(host_leaf(&scene, HYP_DEVICE), None);
    assert_eq!(scene.load(HYP_DEVICE << 12), None);
    scene.check();
}

#[test]
fn one_aligned_frame_is_taken_alone() {
    let scene = Scene::default();
    let vm = scene.vm(true, 1);
    let pfn = scene.idle(512, 512);
    scene
        .call(Call::VmDonate, &[vm, pfn << 12, 1])
        .expect("donated");
    assert_eq!(host_leaf(&scene, pfn), None);
    assert_eq!(host_leaf(&scene, pfn + 1), Some(Size::Page));
    assert_eq!(host_leaf(&scene, pfn + 511), Some(Size::Page));
}

#[test]
fn an_aligned_block_is_taken_without_a_table() {
    let scene = Scene::default();
    let vm = scene.vm(true, 1);
    let pfn = scene.idle(512, 512);
    // The block's neighbour first, so that 1 GiB is split already.
    let other = scene.idle(1024, 512);
    scene
        .call(Call::VmDonate, &[vm, other << 12, 1])
        .expect("donated");
    let pool = scene.world.host_pool();
    assert_eq!(host_leaf(&scene, pfn), Some(Size::Block2M));
    scene
        .call(Call::VmDonate, &[vm, pfn << 12, 512])
        .expect("donated");
    assert_eq!(scene.world.host_pool(), pool);
    assert_eq!(host_leaf(&scene, other), None);
}

/// Machines with a host pool of every small size at boot.
fn small_pools() -> impl Iterator<Item = Scene> {
    (1..64).filter_map(|pool| {
        let shape = Shape {
            pool,
            ..Shape::default()
        };
        std::panic::catch_unwind(|| Scene::new(shape)).ok()
    })
}

#[test]
fn taking_leaves_the_host_a_reserve_of_tables() {
    let mut seen = [false; 2];
    for scene in small_pools() {
        let (pool, frame) = (scene.world.host_pool(), scene.idle(8, 8));
        let args = [0, frame << 12, (frame + 4) << 12, 1];
        let got = scene.call(Call::VmRegister, &args);
        assert_eq!(got == Err(Error::NoMemory), pool < 16, "{pool}: {got:?}");
        seen[usize::from(pool < 16)] = true;
    }
    assert_eq!(seen, [true; 2]);
}

#[test]
fn a_host_can_refill_its_pool_from_four_pages_up() {
    let mut seen = [false; 2];
    for scene in small_pools() {
        let (pool, frame) = (scene.world.host_pool(), scene.frame());
        let got = scene.call(Call::HostDonate, &[frame << 12, 1]);
        assert_eq!(got == Err(Error::NoMemory), pool < 4, "{pool}: {got:?}");
        seen[usize::from(pool < 4)] = true;
    }
    assert_eq!(seen, [true; 2]);
}

#[test]
fn device_faults_leave_four_pages() {
    for scene in small_pools().filter(|scene| scene.world.host_pool() >= 4) {
        for n in 0..64 {
            // Far apart, so that each wants tables of its own.
            scene.load((0x100_0000 + n * 0x4_0000) << 12);
        }
        assert!(scene.world.host_pool() >= 4);
        let frame = scene.frame();
        scene
            .call(Call::HostDonate, &[frame << 12, 1])
            .expect("the host can always refill its pool");
    }
}

#[test]
fn a_manifest_may_fill_a_page_and_no_more() {
    let scene = Scene::default();
    let vm = scene.vm(true, 1);
    let give = |len| scene.call(Call::VmSetBootInfo, &[vm, scene.frame() << 12, len]);
    assert_eq!(give(4096), Err(Error::BadManifest), "it is read, and zeros");
    assert_eq!(give(4097), Err(Error::InvalidArgument));
    assert_eq!(give(0), Err(Error::InvalidArgument));
    assert_eq!(give(1), Err(Error::BadManifest));
}

#[test]
fn a_block_ends_with_its_image() {
    let scene = Scene::default();
    let vm = scene.vm(true, 1);
    let plan = scene.plan(1, &[600 * 4096]);
    scene.boot_info(vm, &plan).expect("the manifest is good");
    let block = scene.idle(512, 512);
    let remap = |page| scene.call(Call::VmRemapImage, &[vm, 0, page, block << 12, 9]);
    assert_eq!(remap(512), Err(Error::InvalidArgument), "88 pages are left");
    assert_eq!(remap(89), Err(Error::InvalidArgument));
    assert_eq!(
        remap(88),
        Err(Error::BadAddress),
        "fits, and is not aligned"
    );
    assert_eq!(remap(600), Err(Error::InvalidArgument));
    assert_eq!(remap(0), Ok(0));
}

#[test]
fn record_and_root_lie_apart_and_the_root_is_aligned() {
    let scene = Scene::default();
    let roots = scene.world.inner().spec.setup.root_frames;
    assert_eq!(roots, 2, "the default shape");
    let pfn = scene.idle(8, 8);
    let register = |record: u64, root: u64| {
        scene.call(
            Call::VmRegister,
            &[1, (pfn + record) << 12, (pfn + root) << 12, 1],
        )
    };
    assert_eq!(register(0, 0), Err(Error::BadAddress));
    assert_eq!(register(1, 2), Err(Error::BadAddress));
    assert_eq!(register(3, 2), Err(Error::BadAddress));
    assert_eq!(register(0, 5), Err(Error::BadAddress), "not aligned");
    assert_eq!(register(0, 2), Ok(1));
}

#[test]
fn device_pages_are_mapped_all_or_none() {
    let scene = Scene::default();
    let vm = scene.vm(false, 1);
    let more = scene.idle(8, 8);
    scene
        .call(Call::VmDonate, &[vm, more << 12, 8])
        .expect("donated");
    let page = 0x5_0000_u64;
    let map = |page: u64, count| {
        scene.call(
            Call::VmMapIo,
            &[vm, page << 12, free_device(0) << 12, count],
        )
    };
    assert_eq!(map(page + 2, 1), Ok(0));
    assert_eq!(map(page, 3), Err(Error::Exists), "the last is taken");
    assert_eq!(map(page, 2), Ok(0));
    assert_eq!(map(page + 1, 1), Err(Error::Exists));
    let end = 1 << (scene.world.inner().spec.setup.ipa_bits - 12);
    assert_eq!(map(end - 1, 2), Err(Error::BadAddress));
    assert_eq!(map((1 << 40) - 1, 2), Err(Error::BadAddress));
    let top = [vm, page << 13, (1 << 52) - 0x1000, 2];
    assert_eq!(scene.call(Call::VmMapIo, &top), Err(Error::BadAddress));
    scene.check();
}

#[test]
fn device_pages_reserve_two_tables_of_each_level_below_the_root() {
    // With 44 bits and more there are three levels below the root. The two pages lie on both
    // sides of 512 GiB, so they share no table.
    for (ipa_bits, tables) in [(40, 4), (48, 6)] {
        for pool in [tables - 1, tables] {
            let scene: Scene = Scene::new(Shape {
                ipa_bits,
                ..Shape::default()
            });
            let vm = scene.vm(false, 1);
            while scene.world.vm_pool(vm) > pool {
                scene.call(Call::VmReclaimPool, &[vm]).expect("one back");
            }
            while scene.world.vm_pool(vm) < pool {
                let more = scene.frame();
                scene
                    .call(Call::VmDonate, &[vm, more << 12, 1])
                    .expect("donated");
            }
            let (ipa, pa) = ((1 << 39) - 0x1000, free_device(0) << 12);
            let got = scene.call(Call::VmMapIo, &[vm, ipa, pa, 2]);
            let want = if pool < tables {
                Err(Error::NoMemory)
            } else {
                Ok(0)
            };
            assert_eq!(got, want, "{ipa_bits} bits, {pool} pages");
            if want == Ok(0) {
                assert_eq!(scene.world.vm_pool(vm), 0, "all of them were needed");
            }
            scene.check();
        }
    }
}

/// A protected VM, powered off, that owns two blocks whose frames are contiguous, with `tables`
/// pages in its pool; and the first frame.
fn two_blocks(scene: &Scene, tables: u64) -> (u64, u64) {
    let vm = scene.protected(1);
    let pfn = scene.idle(1024, 512);
    for n in 0..2 {
        let (ipa, pa) = ((BLOCK - 512 * n) << 12, (pfn + 512 * n) << 12);
        scene
            .call(Call::VmMap, &[vm, ipa, pa, 9, 3])
            .expect("a block is mapped");
    }
    while scene.world.vm_pool(vm) > tables {
        scene.call(Call::VmReclaimPool, &[vm]).expect("one back");
    }
    assert_eq!(scene.world.vm_pool(vm), tables);
    scene.call(Call::VmPowerOff, &[vm]).expect("off");
    (vm, pfn)
}

#[test]
fn clearing_parts_of_blocks_needs_a_table_for_each_that_is_cut() {
    // First frame and number of frames of the range, and how many blocks it cuts.
    let ranges = [
        (0, 512, 0),
        (512, 512, 0),
        (0, 511, 1),
        (1, 511, 1),
        (100, 300, 1),
        (513, 511, 1),
        (511, 1, 1),
        (1, 512, 2),
        (511, 2, 2),
    ];
    for (first, frames, cuts) in ranges {
        for tables in 0..3 {
            let scene = Scene::default();
            let (vm, pfn) = two_blocks(&scene, tables);
            let got = scene.call(Call::VmClearRange, &[vm, (pfn + first) << 12, frames]);
            let want = if tables < cuts {
                Err(Error::NoMemory)
            } else {
                Ok(frames)
            };
            assert_eq!(got, want, "{frames} from {first} with {tables} tables");
        }
    }
}

#[test]
fn clearing_finds_what_the_vm_owns_among_others_frames() {
    let scene = Scene::default();
    let (vm, other) = (scene.protected(1), scene.protected(1));
    let pfn = scene.idle(8, 8);
    let give = |vm: u64, n: u64| {
        let args = [vm, (BLOCK + n) << 12, (pfn + n) << 12, 0, 3];
        scene.call(Call::VmMap, &args).expect("mapped");
    };
    let mapped = |vm| {
        let pages = scene.call(Call::StatRead, &[vm, stat::VM_MAPPED]);
        pages.expect("a counter")
    };
    // Their images.
    let before = (mapped(vm), mapped(other));
    // Of eight frames the first and the last are the host's, and one is another VM's.
    for n in [1, 2, 4, 6] {
        give(vm, n);
    }
    give(other, 3);
    scene.call(Call::VmPowerOff, &[vm]).expect("off");
    let clear =
        |first: u64, frames| scene.call(Call::VmClearRange, &[vm, (pfn + first) << 12, frames]);
    assert_eq!(clear(3, 1), Ok(0), "another's");
    assert_eq!(clear(0, 6), Ok(3));
    assert_eq!(mapped(vm), before.0 + 1, "what is behind the range stays");
    assert_eq!(clear(0, 8), Ok(1));
    assert_eq!(clear(0, 8), Ok(0));
    assert_eq!((mapped(vm), mapped(other)), (before.0, before.1 + 1));
    scene.check();
}

#[test]
fn a_piece_of_destruction_returns_a_block_at_most() {
    let scene = Scene::default();
    let host = || scene.call(Call::StatRead, &[0, stat::HOST_FRAMES]);
    let host = || host().expect("a counter");
    let before = host();
    let vm = scene.protected(1);
    for n in 0..2 {
        scene.map(vm, BLOCK - 512 * n, 9).expect("mapped");
    }
    for _ in 0..3 {
        let more = scene.idle(400, 1);
        scene
            .call(Call::VmDonate, &[vm, more << 12, 400])
            .expect("donated");
    }
    scene.call(Call::VmPowerOff, &[vm]).expect("off");
    let (mut calls, mut last) = (0, host());
    loop {
        let answer = scene.world.call(Call::VmDestroy, &[vm]);
        let status = answer.expect("Ward and the specification agree").x[0];
        calls += 1;
        let now = host();
        // The last call also returns record, vCPU and root.
        assert!(now - last <= 512 + 8, "{} frames in one call", now - last);
        last = now;
        if status == 0 {
            break;
        }
        assert_eq!(status, 1);
        assert!(calls < 100);
    }
    assert!(calls >= 4, "{calls} calls");
    assert_eq!(last, before);
}

#[test]
fn all_of_a_device_range_must_be_signed() {
    let scene = Scene::default();
    let vm = scene.vm(true, 1);
    let plan = scene.plan(1, IMAGE);
    scene.boot_info(vm, &plan).expect("the manifest is good");
    let map = |page: u64, count| {
        scene.call(
            Call::VmMapIo,
            &[vm, page << 12, free_device(0) << 12, count],
        )
    };
    let end = Plan::MMIO_PAGE + Plan::MMIO_PAGES;
    assert_eq!(map(end - 2, 3), Err(Error::BadAddress));
    assert_eq!(map(end - 1, 2), Err(Error::BadAddress));
    assert_eq!(map(end, 1), Err(Error::BadAddress));
    assert_eq!(map(end - 2, 2), Ok(0));
}
