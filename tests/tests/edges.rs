//! Edges that random calls rarely reach: blocks that come back in parts, and devices by block.

use hyp_core::abi::Call;
use hyp_core::addr::{Ipa, Size};
use hyp_core::stage2::Lookup;
use ward_tests::harness::{HYP_DEVICE, Plan, Scene, free_device};

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
