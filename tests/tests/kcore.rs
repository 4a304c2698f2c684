//! KCore's known defects in memory, VM life, boot and run, one test each: what a correct
//! implementation does, by the numbers of the list that `docs/kcore.md` keeps.

use hyp_core::abi::Call;
use hyp_core::abi::Error;
use hyp_core::abi::calls::stat;
use hyp_core::abi::manifest::{Image, ImageKind};
use hyp_core::abi::run::{exit, in_flags};
use hyp_core::abi::smccc::{KVM_MEM_SHARE, KVM_MEM_UNSHARE, KVM_MMIO_GUARD};
use hyp_core::addr::{Ipa, Pfn, VmId};
use hyp_core::memory::FrameState;
use std::sync::Arc;
use ward_tests::fake::{Hook, StdSched, Step};
use ward_tests::harness::{Content, HYP_DEVICE, IMAGE, Plan, Scene, Shape, free_device, sign};

const PAGE: u64 = Plan::RAM_PAGE + 16;

fn hvc(function: u32, page: u64) -> Step {
    Step::Hvc([function.into(), page << 12, 0, 0])
}

/// Shares or unshares, and says what the guest got.
fn ask(scene: &Scene, vm: u64, function: u32, page: u64) -> i64 {
    scene.run(vm, 0, &[hvc(function, page)]).expect("runs");
    scene.world.inner().spec.vcpu(vm as u16, 0).x[0] as i64
}

fn record(scene: &Scene, pfn: u64) -> FrameState {
    scene.world.ward.frame_state(Pfn(pfn)).expect("RAM")
}

#[test]
fn item_01_reclaim_unmaps_the_host_first() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let pfn = scene.map(vm, PAGE, 0).expect("mapped");
    assert_eq!(ask(&scene, vm, KVM_MEM_SHARE, PAGE), 0);
    assert!(scene.store(pfn << 12, 5), "the host has it in its TLB");
    scene.call(Call::VmPowerOff, &[vm]).expect("off");
    // The fake fails a zeroing of what anybody may still reach.
    assert_eq!(scene.call(Call::VmClearRange, &[vm, pfn << 12, 1]), Ok(1));
    assert_eq!(record(&scene, pfn), FrameState::HOST_IDLE);
    assert_eq!(scene.load(pfn << 12), Some(0));
}

#[test]
fn item_02_success_is_success() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    assert!(scene.map(vm, PAGE, 0).is_ok());
    assert_eq!(ask(&scene, vm, KVM_MEM_SHARE, PAGE), 0);
    assert_eq!(ask(&scene, vm, KVM_MEM_UNSHARE, PAGE), 0);
}

#[test]
fn item_03_the_address_is_bound_once() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let pfn = scene.map(vm, PAGE, 0).expect("mapped");
    let again = |page: u64| scene.call(Call::VmMap, &[vm, page << 12, pfn << 12, 0, 3]);
    assert_eq!(again(PAGE + 1), Err(Error::Denied));
    assert_eq!(again(PAGE), Err(Error::Denied));
}

#[test]
fn item_04_what_was_decided_is_what_is_recorded() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let pfn = scene.map(vm, PAGE, 0).expect("mapped");
    let want = FrameState::Vm {
        vm: VmId(vm as u16),
        ipa: Ipa::containing(PAGE << 12),
        shared: false,
    };
    assert_eq!(record(&scene, pfn), want);
}

#[test]
fn item_05_a_private_page_stays_the_vms() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let pfn = scene.frame();
    assert!(scene.store(pfn << 12, 1), "the host has it in its TLB");
    scene
        .call(Call::VmMap, &[vm, PAGE << 12, pfn << 12, 0, 3])
        .expect("mapped");
    assert_eq!(scene.load(pfn << 12), None);
    scene
        .run(
            vm,
            0,
            &[Step::Store {
                ipa: PAGE << 12,
                rt: 1,
                value: 0x5ec2e7,
            }],
        )
        .expect("runs");
    assert_eq!(scene.load(pfn << 12), None);
    assert!(!scene.store(pfn << 12, 2));
}

#[test]
fn item_06_a_block_is_512_frames() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let page = Plan::RAM_PAGE + 512;
    let pfn = scene.map(vm, page, 9).expect("mapped");
    for n in 0..512 {
        let ipa = Ipa::containing((page + n) << 12);
        assert_eq!(
            record(&scene, pfn + n),
            FrameState::Vm {
                vm: VmId(vm as u16),
                ipa,
                shared: false
            }
        );
    }
    for n in [0, 1, 255, 511] {
        assert_eq!(scene.load((pfn + n) << 12), None);
    }
}

#[test]
fn item_07_one_refused_frame_refuses_all() {
    let scene = Scene::default();
    let (vm, normal) = (scene.protected(1), scene.vm(false, 2));
    let first = scene.idle(512, 512);
    scene
        .call(
            Call::VmMap,
            &[normal, PAGE << 12, (first + 300) << 12, 0, 3],
        )
        .expect("lent");
    let result = scene.call(
        Call::VmMap,
        &[vm, (Plan::RAM_PAGE + 512) << 12, first << 12, 9, 3],
    );
    assert_eq!(result, Err(Error::Denied));
    assert_eq!(record(&scene, first), FrameState::HOST_IDLE);
    assert!(scene.store(first << 12, 1));
}

#[test]
fn item_08_a_blocks_frame_is_aligned() {
    let scene = Scene::default();
    let (vm, first) = (scene.protected(1), scene.idle(512, 512));
    let map = |page: u64, pfn: u64| scene.call(Call::VmMap, &[vm, page << 12, pfn << 12, 9, 3]);
    assert_eq!(map(Plan::RAM_PAGE + 512, first + 1), Err(Error::BadAddress));
    assert_eq!(map(Plan::RAM_PAGE + 513, first), Err(Error::BadAddress));
    assert!(map(Plan::RAM_PAGE + 512, first).is_ok());
}

#[test]
fn item_09_a_block_does_not_replace_pages() {
    let scene = Scene::default();
    let (vm, normal) = (scene.protected(1), scene.vm(false, 1));
    for vm in [vm, normal] {
        scene.map(vm, Plan::RAM_PAGE + 700, 0).expect("mapped");
        assert_eq!(scene.map(vm, Plan::RAM_PAGE + 512, 9), Err(Error::Exists));
        scene.map(vm, Plan::RAM_PAGE + 1024, 9).expect("mapped");
        assert_eq!(scene.map(vm, Plan::RAM_PAGE + 1030, 0), Err(Error::Exists));
    }
}

#[test]
fn item_10_the_valid_bit_decides() {
    // Frame 0 is a frame like any other.
    let shape = Shape {
        ram: [(0x4_0000, 1100), (0, 64)],
        ..Shape::default()
    };
    let scene: Scene = Scene::new(shape);
    let normal = scene.vm(false, 1);
    scene
        .call(Call::VmMap, &[normal, PAGE << 12, 0, 0, 3])
        .expect("lent");
    assert_eq!(scene.map(normal, PAGE, 0), Err(Error::Exists));
    scene
        .call(Call::VmUnmap, &[normal, PAGE << 12, 0])
        .expect("unmapped");
    assert_eq!(
        scene.call(Call::VmUnmap, &[normal, PAGE << 12, 0]),
        Err(Error::NotFound)
    );
    let vm = scene.protected(1);
    scene
        .call(Call::VmMap, &[vm, PAGE << 12, 0, 0, 3])
        .expect("taken");
    assert_eq!(scene.load(0), None);
    // A guard is a mark, not a mapping: the guest's access there exits.
    assert_eq!(ask(&scene, vm, KVM_MMIO_GUARD, 0xb_000), 0);
    assert_eq!(
        scene.run(
            vm,
            0,
            &[Step::Load {
                ipa: 0xb_000 << 12,
                rt: 1
            }]
        ),
        Ok(exit::MMIO)
    );
}

#[test]
fn item_11_map_io_is_for_devices_before_verification() {
    let scene = Scene::default();
    let (built, ready) = (scene.protected(1), scene.vm(true, 1));
    scene.boot_info(ready, &scene.plan(1, IMAGE)).expect("good");
    let io =
        |vm: u64, pfn: u64| scene.call(Call::VmMapIo, &[vm, Plan::MMIO_PAGE << 12, pfn << 12, 1]);
    assert_eq!(io(ready, scene.frame()), Err(Error::BadAddress));
    assert_eq!(io(ready, HYP_DEVICE), Err(Error::BadAddress));
    assert_eq!(io(built, free_device(0)), Err(Error::BadState));
    assert_eq!(io(0, free_device(0)), Err(Error::NotFound));
    assert_eq!(io(u64::MAX, free_device(0)), Err(Error::NotFound));
    assert_eq!(io(ready, free_device(0)), Ok(0));
    assert_eq!(io(ready, free_device(0)), Err(Error::Exists));
    let elsewhere = scene.call(Call::VmMapIo, &[ready, PAGE << 12, free_device(1) << 12, 1]);
    assert_eq!(elsewhere, Err(Error::BadAddress));
}

#[test]
fn item_12_sharing_in_a_block_shares_that_page() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let page = Plan::RAM_PAGE + 512;
    let pfn = scene.map(vm, page, 9).expect("mapped");
    assert_eq!(ask(&scene, vm, KVM_MEM_SHARE, page + 77), 0);
    for n in 0..512 {
        assert_eq!(scene.load((pfn + n) << 12).is_some(), n == 77);
    }
}

#[test]
fn item_13_unsharing_undoes_sharing() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let frames: Vec<u64> = (0..8)
        .map(|n| scene.map(vm, PAGE + n, 0).expect("mapped"))
        .collect();
    for function in [KVM_MEM_SHARE, KVM_MEM_UNSHARE] {
        for n in 0..8 {
            assert_eq!(ask(&scene, vm, function, PAGE + n), 0);
        }
        for pfn in &frames {
            assert_eq!(scene.load(pfn << 12).is_some(), function == KVM_MEM_SHARE);
        }
    }
    assert_eq!(ask(&scene, vm, KVM_MEM_UNSHARE, PAGE), -3);
    assert_eq!(scene.call(Call::StatRead, &[vm, stat::VM_SHARED]), Ok(0));
}

#[test]
fn item_14_shared_ranges_are_bounded() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    scene.map(vm, PAGE, 0).expect("mapped");
    for x1 in [u64::MAX, !0xfff, 1 << 52, 1 << 48, (PAGE << 12) + 1, 0] {
        scene
            .run(vm, 0, &[Step::Hvc([KVM_MEM_SHARE.into(), x1, 0, 0])])
            .expect("runs");
        assert_eq!(scene.world.inner().spec.vcpu(vm as u16, 0).x[0] as i64, -3);
    }
    // Sizes are not taken: one page a call.
    scene
        .run(
            vm,
            0,
            &[Step::Hvc([KVM_MEM_SHARE.into(), PAGE << 12, 8192, 0])],
        )
        .expect("runs");
    assert_eq!(scene.call(Call::StatRead, &[vm, stat::VM_SHARED]), Ok(0));
}

#[test]
fn item_15_device_pages_are_not_shared() {
    let scene = Scene::default();
    let vm = scene.vm(true, 1);
    let plan = scene.plan(1, IMAGE);
    scene.boot_info(vm, &plan).expect("good");
    let io = [vm, Plan::MMIO_PAGE << 12, free_device(0) << 12, 1];
    scene.call(Call::VmMapIo, &io).expect("mapped");
    scene.remap_all(vm, &plan);
    scene.verify(vm).expect("good");
    assert_eq!(ask(&scene, vm, KVM_MEM_SHARE, Plan::MMIO_PAGE), -3);
    assert_eq!(ask(&scene, vm, KVM_MEM_UNSHARE, Plan::MMIO_PAGE), -3);
    assert_eq!(
        scene.load(free_device(0) << 12),
        Some(ward_tests::fake::device_value(free_device(0) << 12))
    );
}

#[test]
fn item_16_a_shared_page_is_not_the_hosts_to_give() {
    let scene = Scene::default();
    let (vm, other, normal) = (scene.protected(1), scene.protected(1), scene.vm(false, 2));
    let pfn = scene.map(vm, PAGE, 0).expect("mapped");
    assert_eq!(ask(&scene, vm, KVM_MEM_SHARE, PAGE), 0);
    let pa = pfn << 12;
    assert_eq!(
        scene.call(Call::VmMap, &[other, PAGE << 12, pa, 0, 3]),
        Err(Error::Denied)
    );
    assert_eq!(
        scene.call(Call::VmMap, &[normal, PAGE << 12, pa, 0, 3]),
        Err(Error::Denied)
    );
    assert_eq!(
        scene.call(Call::VmDonate, &[normal, pa, 1]),
        Err(Error::Denied)
    );
    assert_eq!(scene.call(Call::HostDonate, &[pa, 1]), Err(Error::Denied));
    assert_eq!(ask(&scene, vm, KVM_MEM_UNSHARE, PAGE), 0);
    assert_eq!(scene.load(pa), None);
}

#[test]
fn item_17_clear_range_is_bounded() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    scene.call(Call::VmPowerOff, &[vm]).expect("off");
    let clear = |pa: u64, n: u64| scene.call(Call::VmClearRange, &[vm, pa, n]);
    assert_eq!(clear(0x4000_0000, 0), Err(Error::InvalidArgument));
    assert_eq!(clear(0x4000_0000, 513), Err(Error::InvalidArgument));
    assert_eq!(clear(0x4000_0000, u64::MAX), Err(Error::InvalidArgument));
    assert_eq!(clear(!0xfff, 2), Err(Error::BadAddress));
    assert_eq!(clear((1 << 52) - 4096, 2), Err(Error::BadAddress));
    assert_eq!(clear((0x4_0000 + 2559) << 12, 2), Err(Error::BadAddress));
}

#[test]
fn item_18_clearing_a_living_vm_is_an_error() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let pfn = scene.map(vm, PAGE, 0).expect("mapped");
    assert_eq!(
        scene.call(Call::VmClearRange, &[vm, pfn << 12, 1]),
        Err(Error::BadState)
    );
    let ready = scene.vm(true, 1);
    assert_eq!(
        scene.call(Call::VmClearRange, &[ready, pfn << 12, 1]),
        Err(Error::BadState)
    );
}

#[test]
fn item_19_numbers_come_back() {
    let scene = Scene::default();
    let host = scene.call(Call::StatRead, &[0, stat::HOST_FRAMES]);
    // The host's map at boot: the largest leaves there can be.
    let map = |scene: &Scene| {
        let state = scene.world.fake.state();
        let leaves = state.tables.leaves.range((0, 0)..(1, 0));
        let leaves = leaves.map(|((_, ipa), leaf)| (*ipa, leaf.level));
        leaves.collect::<Vec<_>>()
    };
    let (boot, pool) = (map(&scene), scene.world.host_pool());
    for round in 0..40 {
        let vm = if round % 4 == 0 {
            scene.protected(1)
        } else {
            scene.vm(round % 2 == 0, 1)
        };
        assert!(vm <= 4);
        scene.destroy(vm);
        assert_eq!(scene.call(Call::StatRead, &[0, stat::HOST_FRAMES]), host);
    }
    // Split for what was taken, and merged again.
    assert_eq!((map(&scene), scene.world.host_pool()), (boot, pool));
    scene.check();
    // And when there is none, that is an error and no halt.
    let vms: Vec<u64> = (0..4).map(|_| scene.vm(true, 1)).collect();
    let two = scene.idle(4, 4);
    let full = scene.call(Call::VmRegister, &[1, (two + 2) << 12, two << 12, 1]);
    assert_eq!(full, Err(Error::NoNumber));
    scene.destroy(vms[2]);
    assert_eq!(scene.vm(true, 1), vms[2]);
}

#[test]
fn item_20_boot_information_is_checked() {
    let scene = Scene::default();
    let vm = scene.vm(true, 1);
    let good = scene.plan(1, IMAGE);
    let with = |change: &dyn Fn(&mut hyp_core::abi::manifest::Manifest)| {
        let mut plan = good.clone();
        change(&mut plan.manifest);
        plan.bytes = sign(&mut plan.manifest, 0);
        scene.boot_info(vm, &plan)
    };
    let images = |change: &dyn Fn(&mut Image)| {
        with(&|manifest| {
            let old = *manifest;
            *manifest = hyp_core::abi::manifest::Manifest::new(old.key);
            (manifest.vcpus, manifest.entry) = (old.vcpus, old.entry);
            old.regions()
                .iter()
                .for_each(|region| manifest.push_region(*region).expect("room"));
            for (n, image) in old.images().iter().enumerate() {
                let mut image = *image;
                if n == 1 {
                    change(&mut image);
                }
                manifest.push_image(image).expect("room");
            }
        })
    };
    assert_eq!(images(&|image| image.size = 0), Err(Error::BadManifest));
    assert_eq!(
        images(&|image| image.size = u64::MAX),
        Err(Error::BadManifest)
    );
    assert_eq!(images(&|image| image.ipa = !0xfff), Err(Error::BadManifest));
    assert_eq!(
        images(&|image| image.ipa = Plan::RAM_PAGE << 12),
        Err(Error::BadManifest)
    );
    assert_eq!(images(&|image| image.ipa = 0x1000), Err(Error::BadManifest));
    assert_eq!(
        with(&|manifest| manifest.vcpus = 2),
        Err(Error::BadManifest)
    );
    assert_eq!(
        with(&|manifest| manifest.entry = 0),
        Err(Error::BadManifest)
    );
    let mut foreign = good.clone();
    foreign.bytes = sign(&mut foreign.manifest, 1);
    assert_eq!(scene.boot_info(vm, &foreign), Err(Error::UntrustedKey));
    for at in [100, good.bytes.len() - 1, good.bytes.len() - 64] {
        let mut flipped = good.clone();
        flipped.bytes[at] ^= 1;
        let error = scene.boot_info(vm, &flipped).expect_err("one bit differs");
        assert!(
            matches!(error, Error::BadSignature | Error::BadManifest),
            "{error:?}"
        );
    }
    assert!(
        scene
            .call(Call::VmSetBootInfo, &[vm, scene.frame() << 12, 0])
            .is_err()
    );
    assert!(
        scene
            .call(Call::VmSetBootInfo, &[vm, scene.frame() << 12, 4097])
            .is_err()
    );
    // The last page of the address space is as good as any other: none is wasted, none passed.
    assert_eq!(
        images(&|image| image.ipa = (Plan::RAM_PAGE + Plan::RAM_PAGES - 1) << 12),
        Ok(0)
    );
    assert_eq!(scene.boot_info(vm, &good), Err(Error::Exists));
}

#[test]
fn item_33_no_exception_of_a_guest_halts() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    for class in 0..64 {
        // Classes that need a syndrome of their own have tests of their own.
        if ![0x01, 0x16, 0x17, 0x18, 0x20, 0x24].contains(&class) {
            assert_eq!(
                scene.run(vm, 0, &[Step::Other(class << 26 | 1 << 25)]),
                Ok(exit::IRQ)
            );
        }
    }
    assert_eq!(scene.run(vm, 0, &[Step::Wfi]), Ok(exit::WAIT));
    assert_eq!(
        scene.run(
            vm,
            0,
            &[Step::Fetch {
                ipa: (PAGE + 40) << 12
            }]
        ),
        Ok(exit::MEMORY)
    );
    scene.run_in(vm, 0, 0, in_flags::INJECT_ABORT);
    assert_eq!(
        scene.run(vm, 0, &[Step::Load { ipa: 0x10, rt: 1 }]),
        Ok(exit::IRQ)
    );
    assert_eq!(
        scene.run(
            vm,
            0,
            &[Step::LoadPair {
                ipa: Plan::MMIO_PAGE << 12
            }]
        ),
        Ok(exit::IRQ)
    );
    assert_eq!(scene.run(vm, 0, &[Step::SError]), Ok(exit::SERROR));
}

#[test]
fn item_37_run_takes_vm_then_vcpu() {
    let scene = Scene::default();
    let vm = scene.protected(2);
    assert_eq!(scene.run(vm, 0, &[]), Ok(exit::IRQ));
    assert_eq!(scene.run(vm, 1, &[]), Ok(exit::CPU_OFF));
    assert_eq!(scene.run(vm, 2, &[]), Err(Error::NotFound));
    assert_eq!(scene.run(vm, u64::MAX, &[]), Err(Error::NotFound));
    assert_eq!(scene.run(0, 0, &[]), Err(Error::NotFound));
    assert_eq!(scene.run(vm | 1 << 16, 0, &[]), Err(Error::NotFound));
    assert_eq!(scene.run(vm + 1, 0, &[]), Err(Error::NotFound));
}

#[test]
fn item_39_and_40_snapshots_are_not_there() {
    let scene = Scene::default();
    let (vm, ready) = (scene.protected(1), scene.vm(true, 1));
    let pa = scene.frame() << 12;
    for call in [
        Call::EncryptBuf,
        Call::DecryptBuf,
        Call::SaveCryptVcpu,
        Call::LoadCryptVcpu,
    ] {
        assert_eq!(scene.call(call, &[vm, pa, pa]), Err(Error::NotSupported));
        assert_eq!(scene.call(call, &[ready, pa, pa]), Err(Error::NotSupported));
    }
}

#[test]
fn item_41_power_off_waits_for_running_vcpus() {
    let scene = Arc::new(Scene::<StdSched>::default());
    let vm = scene.protected(1);
    let pfn = scene.map(vm, PAGE, 0).expect("mapped");
    let weak = Arc::downgrade(&scene);
    let hook = move || {
        let Some(scene) = weak.upgrade() else { return };
        scene.world.at_hook(vm as u16, 0).expect("the same point");
        scene.world.fake.set_cpu(1);
        assert_eq!(scene.run(vm, 0, &[]), Err(Error::Busy));
        scene.call(Call::VmPowerOff, &[vm]).expect("off");
        assert_eq!(scene.run(vm, 0, &[]), Err(Error::Busy));
        assert_eq!(scene.call(Call::VmDestroy, &[vm]), Err(Error::Busy));
        assert_eq!(
            scene.call(Call::VmClearRange, &[vm, pfn << 12, 1]),
            Err(Error::Busy)
        );
    };
    scene.world.fake.state().hook = Some(Hook(Arc::new(hook)));
    let store = Step::Store {
        ipa: PAGE << 12,
        rt: 1,
        value: 7,
    };
    assert_eq!(scene.run(vm, 0, &[store, Step::Hook, store]), Ok(exit::IRQ));
    assert_eq!(scene.run(vm, 0, &[]), Ok(exit::SYSTEM_OFF));
    scene.destroy(vm);
    assert_eq!(scene.load(pfn << 12), Some(0));
}

#[test]
fn item_57_every_register_takes_a_load() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    for rt in 0..32 {
        // What the guest loads is compared with the specification's prediction.
        let load = Step::Load {
            ipa: (Plan::MMIO_PAGE << 12) + 8,
            rt,
        };
        assert_eq!(scene.run(vm, 0, &[load]), Ok(exit::MMIO));
        scene.run_in(vm, 0, 1, 0x1000 + u64::from(rt));
        assert_eq!(scene.run(vm, 0, &[]), Ok(exit::IRQ));
    }
}

#[test]
fn item_58_a_refusal_leaves_no_lock() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    for info in hyp_core::abi::CALLS {
        for bad in [0, 1, vm, 0xfff, u64::MAX] {
            if info.call == Call::VmPowerOff && bad == vm || info.call == Call::VcpuRun {
                continue;
            }
            let _ = scene.call(info.call, &[bad, u64::MAX, u64::MAX, u64::MAX, u64::MAX]);
            scene.world.fake.set_cpu(3);
            assert!(scene.load(0x4020_0000).is_some(), "another CPU goes on");
            scene.world.fake.set_cpu(0);
        }
    }
    assert_eq!(scene.run(vm, 0, &[]), Ok(exit::IRQ));
}

#[test]
fn item_59_refusals_are_answered_and_counted() {
    let scene = Scene::default();
    let refused = |scene: &Scene| {
        scene
            .call(Call::StatRead, &[0, stat::REFUSED])
            .expect("a counter")
    };
    let before = refused(&scene);
    assert_eq!(scene.call(Call::VmDestroy, &[3]), Err(Error::NotFound));
    assert_eq!(scene.call(Call::SmmuAlloc, &[3]), Err(Error::NotSupported));
    assert_eq!(refused(&scene), before + 2);
    let mut x = [0xc600_01ff, 1, 2, 3, 4, 5, 6, 7];
    scene.world.ward.host_call(&mut x);
    assert_eq!(x[0] as i64, -1, "an unknown function");
}

#[test]
fn item_60_all_pages_before_the_first_is_hashed() {
    let scene = Scene::default();
    let vm = scene.vm(true, 1);
    let plan = scene.plan(1, IMAGE);
    assert_eq!(scene.verify(vm), Err(Error::BadState));
    scene.boot_info(vm, &plan).expect("good");
    for page in 0..3 {
        assert_eq!(scene.verify(vm), Err(Error::BadState));
        scene.remap(vm, &plan, 0, page).expect("taken");
    }
    assert_eq!(scene.verify(vm), Err(Error::BadState));
    // Frames that are not the host's to give; pages past the image; blocks that reach past it.
    let record = scene.world.inner().spec.vms[&(vm as u16)].record;
    let remap = |image: u64, page: u64, pfn: u64, order: u64| {
        scene.call(Call::VmRemapImage, &[vm, image, page, pfn << 12, order])
    };
    assert_eq!(remap(1, 0, record, 0), Err(Error::Denied));
    assert_eq!(remap(1, 0, free_device(0), 0), Err(Error::BadAddress));
    assert_eq!(remap(1, 1, scene.frame(), 0), Err(Error::InvalidArgument));
    assert_eq!(remap(2, 0, scene.frame(), 0), Err(Error::InvalidArgument));
    assert!(remap(0, 0, scene.idle(512, 512), 9).is_err());
    assert_eq!(remap(0, 0, scene.frame(), 0), Err(Error::Exists));
    scene.remap(vm, &plan, 1, 0).expect("taken");
    assert_eq!(scene.run(vm, 0, &[]), Err(Error::BadState));
    assert_eq!(scene.verify(vm), Ok(0));
    assert_eq!(remap(1, 0, scene.frame(), 0), Err(Error::BadState));
    assert_eq!(scene.run(vm, 0, &[]), Ok(exit::IRQ));
}

#[test]
fn item_60_a_wrong_image_is_never_run() {
    for (image, page) in [(0, 0), (0, 2), (1, 0)] {
        let scene = Scene::default();
        let vm = scene.vm(true, 1);
        let mut plan = scene.plan(1, IMAGE);
        scene.boot_info(vm, &plan).expect("good");
        let changed: &mut Content = &mut plan.images[image][page];
        *changed.entry(0).or_default() ^= 1;
        scene.remap_all(vm, &plan);
        assert_eq!(scene.verify(vm), Err(Error::BadDigest));
        assert_eq!(scene.run(vm, 0, &[]), Ok(exit::SYSTEM_OFF));
        scene.destroy(vm);
    }
}

#[test]
fn item_60_nothing_behind_an_image_is_left() {
    let scene = Scene::default();
    let vm = scene.vm(true, 1);
    let mut plan = scene.plan(1, IMAGE);
    scene.boot_info(vm, &plan).expect("good");
    plan.images[0][2].insert(511, 0x5afe);
    scene.remap_all(vm, &plan);
    assert_eq!(scene.verify(vm), Ok(0));
    let ipa = ((Plan::RAM_PAGE + 3) << 12) - 8;
    assert_eq!(scene.world.fake.guest_read(vm as u16, ipa), Ok(0));
    assert_eq!(plan.manifest.images()[0].kind, ImageKind::Kernel);
}

#[test]
fn images_and_fresh_memory_are_there_for_a_guest_with_caches_off() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    // The host wrote the image through its caches; what the guest loads is compared with that.
    for page in 0..4 {
        let load = Step::Load {
            ipa: (Plan::RAM_PAGE + page) << 12,
            rt: 1,
        };
        assert_eq!(scene.run(vm, 0, &[load]), Ok(exit::IRQ));
        assert_ne!(scene.world.inner().spec.vcpu(vm as u16, 0).x[1], 0);
    }
    let pfn = scene.frame();
    assert!(scene.store(pfn << 12, 0x1234));
    scene
        .call(Call::VmMap, &[vm, PAGE << 12, pfn << 12, 0, 3])
        .expect("mapped");
    assert_eq!(
        scene.run(
            vm,
            0,
            &[Step::Load {
                ipa: PAGE << 12,
                rt: 1
            }]
        ),
        Ok(exit::IRQ)
    );
}
