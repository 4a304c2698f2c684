//! What devices behind an SMMU reach, and what becomes of it when one does not answer.

use hyp_core::abi::smccc::{KVM_MEM_RELINQUISH, KVM_MEM_SHARE, KVM_MEM_UNSHARE};
use hyp_core::abi::{Call, Error};
use hyp_core::addr::{Ipa, Pfn};
use hyp_core::dma::{Dma, Domain};
use hyp_core::inspect::Rule;
use hyp_core::machine::TableMemory;
use ward_tests::fake::{DmaFault, HOST_DMA, STREAMS, Step};
use ward_tests::harness::{DOORBELL, HYP_DEVICE, INVARIANTS, Plan, Scene, Scope, Shape};
use ward_tests::harness::{check_all, free_device};
use ward_tests::spec::Owner;

const PAGE: u64 = Plan::RAM_PAGE + 16;
const KVM_INVALID: i64 = -3;

fn with_smmus() -> Scene {
    Scene::new(Shape {
        smmu: Some(40),
        ..Shape::default()
    })
}

fn with_a_vm() -> (Scene, u64) {
    let scene = with_smmus();
    let vm = scene.protected(1);
    (scene, vm)
}

fn ask(scene: &Scene, vm: u64, function: u32, page: u64) -> i64 {
    let call = Step::Hvc([function.into(), page << 12, 0, 0]);
    scene.run(vm, 0, &[call]).expect("runs");
    scene.world.inner().spec.vcpu(vm as u16, 0).x[0] as i64
}

fn syncs(scene: &Scene) -> u64 {
    scene.world.fake.state().dma.syncs
}

#[test]
fn devices_reach_what_the_host_owns() {
    let scene = with_smmus();
    let pfn = scene.frame();
    assert!(scene.dma_store(pfn << 12, 7));
    assert_eq!(scene.load(pfn << 12), Some(7));
    assert!(scene.store((pfn << 12) + 8, 9));
    assert_eq!(scene.dma_load((pfn << 12) + 8), Some(9));
    // Lent to a normal VM, and a run page: the host's still.
    let vm = scene.vm(false, 1);
    let lent = scene.frame();
    let args = [vm, Plan::RAM_PAGE << 12, lent << 12, 0, 3];
    scene.call(Call::VmMap, &args).expect("lent");
    assert!(scene.dma_store(lent << 12, 1));
    assert!(scene.dma_load(scene.run_page(vm, 0) << 12).is_some());
    scene.check();
}

#[test]
fn devices_reach_no_device_but_the_doorbell() {
    let scene = with_smmus();
    assert!(scene.dma_store(DOORBELL << 12, 0x55));
    let last = scene.world.fake.state().device_writes.last().copied();
    assert_eq!(last, Some((DOORBELL << 12, 0x55)));
    for pfn in [HYP_DEVICE, free_device(0), DOORBELL - 1, DOORBELL + 1, 0] {
        assert!(!scene.dma_store(pfn << 12, 1));
        // What the host maps for itself is not the devices'.
        scene.load(pfn << 12);
        assert_eq!(scene.dma_load(pfn << 12), None);
    }
    for wild in [1 << 40, (1 << 40) - 4096, 1 << 47, !7] {
        assert_eq!(scene.dma_load(wild), None);
    }
    scene.check();
}

#[test]
fn devices_reach_nothing_of_wards() {
    let (scene, vm) = with_a_vm();
    let (first, frames) = scene.world.inner().spec.setup.hyp[0];
    for pfn in first..first + frames {
        assert_eq!(scene.dma_load(pfn << 12), None);
    }
    let frames = scene.world.inner().spec.vms[&(vm as u16)].frames_in_use(1);
    for pfn in frames {
        assert!(!scene.dma_store(pfn << 12, 1));
    }
}

#[test]
fn a_donated_page_is_out_of_reach_before_its_owner_has_it() {
    let (scene, vm) = with_a_vm();
    for (page, order, count) in [(PAGE, 0, 1), (Plan::RAM_PAGE + 512, 9, 512)] {
        let pfn = scene.idle(count, count);
        for n in 0..count {
            // All of it is in the SMMUs' TLBs.
            assert!(scene.dma_store((pfn + n) << 12, 0xbad));
        }
        let before = syncs(&scene);
        let args = [vm, page << 12, pfn << 12, order, 3];
        scene.call(Call::VmMap, &args).expect("mapped");
        assert_eq!(syncs(&scene), before + 1, "one wait for a call");
        for n in 0..count {
            assert_eq!(scene.dma_load((pfn + n) << 12), None);
            assert!(!scene.dma_store((pfn + n) << 12, 0xbad));
        }
    }
    scene.check();
}

#[test]
fn a_call_waits_once() {
    let scene = with_smmus();
    let roots = scene.world.inner().spec.setup.root_frames;
    let (root, record) = (scene.idle(roots, roots), scene.idle(16, 16));
    let before = syncs(&scene);
    let args = [1, record << 12, root << 12, 1];
    let vm = scene.call(Call::VmRegister, &args).expect("registered");
    assert_eq!(syncs(&scene), before + 1, "for record and root");
    let args = [vm, scene.idle(12, 1) << 12, 12];
    scene.call(Call::VmDonate, &args).expect("donated");
    assert_eq!(syncs(&scene), before + 2);
    scene.vcpu(vm, 0).expect("registered");
    assert_eq!(syncs(&scene), before + 3);
    let args = [scene.idle(512, 1) << 12, 512];
    scene.call(Call::HostDonate, &args).expect("donated");
    assert_eq!(syncs(&scene), before + 4);
    // What comes back was out of reach.
    scene.destroy(vm);
    assert_eq!(syncs(&scene), before + 4);
    scene.check();
}

#[test]
fn a_page_that_comes_back_reads_zero_and_is_reached_again() {
    let (scene, vm) = with_a_vm();
    let pfn = scene.map(vm, PAGE, 0).expect("mapped");
    scene
        .world
        .fake
        .guest_write(vm as u16, PAGE << 12, 0x5ec2e7)
        .expect("its own");
    scene.world.inner().spec.write(pfn, 0, 0x5ec2e7);
    assert_eq!(scene.dma_load(pfn << 12), None);
    scene.destroy(vm);
    assert_eq!(scene.dma_load(pfn << 12), Some(0));
    assert!(scene.dma_store(pfn << 12, 3));
    scene.check();
}

#[test]
fn a_page_is_reached_while_it_is_shared() {
    let (scene, vm) = with_a_vm();
    let pfn = scene.map(vm, PAGE, 0).expect("mapped");
    assert_eq!(scene.dma_load(pfn << 12), None);
    assert_eq!(ask(&scene, vm, KVM_MEM_SHARE, PAGE), 0);
    assert!(scene.dma_store(pfn << 12, 0x77));
    let load = Step::Load {
        ipa: PAGE << 12,
        rt: 3,
    };
    scene.run(vm, 0, &[load]).expect("runs");
    assert_eq!(scene.world.inner().spec.vcpu(vm as u16, 0).x[3], 0x77);
    assert_eq!(ask(&scene, vm, KVM_MEM_UNSHARE, PAGE), 0);
    assert_eq!(scene.dma_load(pfn << 12), None);
    assert!(!scene.dma_store(pfn << 12, 1));
    // And one that is shared when its VM ends.
    assert_eq!(ask(&scene, vm, KVM_MEM_SHARE, PAGE), 0);
    assert!(scene.dma_store(pfn << 12, 0x77));
    scene.destroy(vm);
    assert_eq!(scene.dma_load(pfn << 12), Some(0));
    scene.check();
}

#[test]
fn what_a_narrow_smmu_cannot_name_it_does_not_reach() {
    let scene: Scene = Scene::new(Shape {
        smmu: Some(32),
        ram: [(0x4_0000, 2560), (0xf_ff00, 900)],
        ..Shape::default()
    });
    let vm = scene.protected(1);
    // The last frame within reach, and the first beyond, which is the frame 0 of a 32-bit device.
    for (n, (pfn, reach)) in [(0xf_ffff_u64, true), (0x10_0000, false)]
        .into_iter()
        .enumerate()
    {
        assert_eq!(scene.dma_load(pfn << 12).is_some(), reach);
        let args = [vm, (PAGE + n as u64) << 12, pfn << 12, 0, 3];
        scene.call(Call::VmMap, &args).expect("mapped");
        assert_eq!(scene.dma_load(pfn << 12), None);
    }
    let both = [vm, 0xf_fff0 << 12, 0x20];
    assert_eq!(scene.call(Call::VmDonate, &both), Err(Error::Denied));
    scene.destroy(vm);
    scene
        .call(Call::HostDonate, &[0xf_fff0 << 12, 0x20])
        .expect("across the end");
    scene.check();
}

/// Every call that takes frames, made when an SMMU stops answering and once more when that is
/// known: the harness compares what is there with what was there before (I9).
#[test]
fn nothing_leaves_the_host_when_an_smmu_is_lost() {
    type Attack = fn(&Scene, u64, u64) -> Result<u64, Error>;
    let attacks: [(&str, Attack); 5] = [
        ("host_donate", |scene, _, _| {
            scene.call(Call::HostDonate, &[scene.idle(64, 1) << 12, 64])
        }),
        ("vm_register", |scene, _, _| {
            let roots = scene.world.inner().spec.setup.root_frames;
            let (root, record) = (scene.idle(roots, roots), scene.idle(16, 16));
            scene.call(Call::VmRegister, &[1, record << 12, root << 12, 1])
        }),
        ("vm_donate", |scene, vm, _| {
            scene.call(Call::VmDonate, &[vm, scene.idle(7, 1) << 12, 7])
        }),
        ("vm_map", |scene, vm, _| scene.map(vm, PAGE, 0)),
        ("vm_remap_image", |scene, _, new| {
            let plan = scene.plan(1, ward_tests::harness::IMAGE);
            scene.remap(new, &plan, 0, 1)
        }),
    ];
    for (name, attack) in attacks {
        for fails in [false, true] {
            let (scene, vm) = with_a_vm();
            let new = scene.vm(true, 1);
            let plan = scene.plan(1, ward_tests::harness::IMAGE);
            scene.boot_info(new, &plan).expect("good");
            if fails {
                scene.world.lose_smmu();
                for _ in 0..2 {
                    let refused = attack(&scene, vm, new);
                    assert_eq!(refused, Err(Error::DeviceLost), "{name}");
                }
            } else {
                assert!(attack(&scene, vm, new).is_ok(), "{name}");
            }
            scene.check();
        }
    }
}

#[test]
fn a_vcpu_is_not_registered_when_an_smmu_is_lost() {
    let scene = with_smmus();
    let roots = scene.world.inner().spec.setup.root_frames;
    let (root, record) = (scene.idle(roots, roots), scene.idle(16, 16));
    let args = [1, record << 12, root << 12, 1];
    let vm = scene.call(Call::VmRegister, &args).expect("registered");
    scene.world.lose_smmu();
    for _ in 0..2 {
        // The run page is not pinned either: the harness compares its uses.
        assert_eq!(scene.vcpu(vm, 0), Err(Error::DeviceLost));
    }
    scene.check();
}

#[test]
fn what_a_lost_smmu_may_have_stays_the_hosts() {
    let (scene, vm) = with_a_vm();
    let pfn = scene.map(vm, PAGE, 0).expect("mapped");
    assert_eq!(ask(&scene, vm, KVM_MEM_SHARE, PAGE), 0);
    let kept = scene.map(vm, PAGE + 1, 0).expect("mapped");
    assert!(scene.dma_store(pfn << 12, 1), "in the TLB");
    scene.world.lose_smmu();
    // The guest is told that it still shares the page, as often as it asks.
    for _ in 0..2 {
        assert_eq!(ask(&scene, vm, KVM_MEM_UNSHARE, PAGE), KVM_INVALID);
        assert!(scene.dma_store(pfn << 12, 2));
    }
    assert_eq!(ask(&scene, vm, KVM_MEM_RELINQUISH, PAGE), KVM_INVALID);
    // What was out of reach comes back.
    assert_eq!(ask(&scene, vm, KVM_MEM_RELINQUISH, PAGE + 1), 0);
    assert_eq!(scene.dma_load(kept << 12), Some(0));
    scene.destroy(vm);
    assert_eq!(scene.load(pfn << 12), Some(0));
    for pfn in [pfn, kept] {
        let args = [pfn << 12, 1];
        assert_eq!(scene.call(Call::HostDonate, &args), Err(Error::DeviceLost));
    }
    scene.check();
}

#[test]
fn without_smmus_nobody_asks_any() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    scene.map(vm, PAGE, 0).expect("mapped");
    scene.destroy(vm);
    assert_eq!(syncs(&scene), 0);
    assert!(scene.world.ward.dma_table().is_none());
    let none = scene.world.fake.dma(STREAMS[0], scene.frame() << 12, None);
    assert_eq!(none, Err(DmaFault::Stream));
}

// --- I4 and I6 broken on purpose, and seen to be ---

/// The entry of the host's DMA table for a frame.
fn entry_of(scene: &Scene, pfn: u64) -> (Pfn, usize) {
    let state = scene.world.fake.state();
    let tables = state.tables.tables_of(HOST_DMA).into_iter();
    let mut last = tables.filter(|table| {
        let place = state.tables.live_table(*table);
        place.is_some_and(|(_, level, base)| level == 3 && base >> 21 == pfn >> 9)
    });
    (Pfn(last.next().expect("a table")), (pfn & 511) as usize)
}

const LEAF: u64 = 3 | 0b1111 << 2 | 3 << 6 | 3 << 8 | 1 << 10;

fn set(scene: &Scene, pfn: u64, entry: u64) {
    let (table, index) = entry_of(scene, pfn);
    scene.world.fake.dma_write_entry(table, index, entry);
    scene.world.fake.dma_publish();
}

fn broken(scene: &Scene) -> String {
    let inner = scene.world.inner();
    check_all(&inner.spec, &scene.world.fake)
        .err()
        .unwrap_or_default()
}

fn wards_own_check(scene: &Scene) -> (Rule, String) {
    let found = scene.world.ward.check_invariants();
    let found = found.expect_err("Ward finds nothing broken");
    (found.rule, found.to_string())
}

#[test]
fn i4_a_device_reaches_wards_memory() {
    let (scene, vm) = with_a_vm();
    let record = scene.world.inner().spec.vms[&(vm as u16)].record;
    set(&scene, record, record << 12 | LEAF);
    assert!(broken(&scene).starts_with("I1"));
    assert_eq!(wards_own_check(&scene).0, Rule::I1);
}

#[test]
fn i4_a_device_reaches_a_private_page() {
    let (scene, vm) = with_a_vm();
    let pfn = scene.map(vm, PAGE, 0).expect("mapped");
    set(&scene, pfn, pfn << 12 | LEAF);
    assert!(broken(&scene).starts_with("I4"), "{}", broken(&scene));
    assert_eq!(wards_own_check(&scene).0, Rule::I4);
}

#[test]
fn i4_a_device_reaches_one_page_at_anothers_address() {
    let scene = with_smmus();
    let pfn = scene.frame();
    set(&scene, pfn, 0);
    scene
        .world
        .fake
        .dma_forget(Domain::Host, Ipa::containing(pfn << 12), 1);
    scene.world.fake.dma_sync().expect("answers");
    assert!(broken(&scene).starts_with("I4"), "and less is wrong too");
    assert!(wards_own_check(&scene).1.contains("don't reach all"));
    set(&scene, pfn, (pfn - 1) << 12 | LEAF);
    assert!(broken(&scene).starts_with("I4"));
    assert_eq!(wards_own_check(&scene).0, Rule::I4);
}

/// Does the invariant of this name hold?
fn holds(scene: &Scene, name: &str) -> bool {
    let inner = scene.world.inner();
    let state = scene.world.fake.state();
    let scope = Scope::all(&inner.spec, &state);
    let mut all = INVARIANTS.iter();
    let (_, check) = all.find(|(it, _)| *it == name).expect("an invariant");
    check(&inner.spec, &state, &scope).is_ok()
}

/// A donation as Ward would do it, but for the two calls to the SMMUs.
fn half_a_donation(scene: &Scene, smmus: impl FnOnce(&dyn Fn(), &dyn Fn())) {
    let pfn = scene.frame();
    assert!(scene.dma_store(pfn << 12, 1), "in the TLB");
    let fake = &scene.world.fake;
    let forget = || fake.dma_forget(Domain::Host, Ipa::containing(pfn << 12), 1);
    let remove = || set(scene, pfn, 0);
    smmus(&remove, &forget);
    let stale = fake.dma(STREAMS[0], pfn << 12, Some(2)).is_ok();
    assert_eq!(stale, !holds(scene, "I6"));
    // Whoever has the frame now: a device that may reach it is noticed, and nobody but the host
    // may have it so.
    scene.world.inner().spec.owners.insert(pfn, Owner::Ward(0));
    assert_eq!(stale, !holds(scene, "I4"));
}

#[test]
fn i6_an_smmu_is_not_asked_to_forget() {
    let scene = with_smmus();
    half_a_donation(&scene, |remove, _| {
        remove();
        scene.world.fake.dma_sync().expect("answers");
    });
    assert!(!holds(&scene, "I6"));
}

#[test]
fn i6_an_smmu_is_not_waited_for() {
    let scene = with_smmus();
    half_a_donation(&scene, |remove, forget| {
        remove();
        forget();
    });
    assert!(!holds(&scene, "I6"));
}

#[test]
fn i6_an_smmu_is_asked_too_early() {
    let scene = with_smmus();
    let pfn = scene.frame();
    scene
        .world
        .fake
        .dma_forget(Domain::Host, Ipa::containing(pfn << 12), 1);
    set(&scene, pfn, 0);
    scene.world.fake.dma_sync().expect("answers");
    assert!(!holds(&scene, "I6"));
}

#[test]
fn i6_in_the_right_order_nothing_is_stale() {
    let scene = with_smmus();
    half_a_donation(&scene, |remove, forget| {
        remove();
        forget();
        scene.world.fake.dma_sync().expect("answers");
    });
    assert!(holds(&scene, "I6") && holds(&scene, "I4"));
}

#[test]
fn i6_what_smmus_walk_is_written_for_them() {
    let scene = with_smmus();
    let pfn = scene.frame();
    let (table, index) = entry_of(&scene, pfn);
    scene.world.fake.write_entry(table, index, 0);
    assert!(!scene.world.fake.violations().is_empty());
    scene
        .world
        .fake
        .dma_forget(Domain::Host, Ipa::containing(pfn << 12), 1);
    scene.world.fake.dma_sync().expect("answers");
    scene
        .world
        .fake
        .dma_write_entry(table, index, pfn << 12 | LEAF);
    scene.world.fake.publish();
    assert!(broken(&scene).starts_with("I6"), "not published");
    scene.world.fake.dma_publish();
    assert_eq!(broken(&scene), "");
}

#[test]
fn i5_zeroed_while_a_device_may_reach_it() {
    let scene = with_smmus();
    let pfn = scene.frame();
    set(&scene, pfn, 0);
    // Out of the CPUs' tables too.
    scene.world.fake.state().tables.retire(0);
    scene.world.fake.zero_frame(Pfn(pfn));
    let found = scene.world.fake.violations();
    assert!(found.iter().any(|text| text.contains("TLBs")), "{found:?}");
}
