//! What a host can read of Ward: facts, counters and the log.

use hyp_core::abi::calls::{info, stat, vm_state};
use hyp_core::abi::smccc::{KVM_FEATURES, KVM_MEM_SHARE, KVM_MEM_UNSHARE, KVM_MMIO_GUARD};
use hyp_core::abi::{Call, Error, VERSION};
use ward_tests::fake::Step;
use ward_tests::harness::{IMAGE, Plan, Scene};

const PAGE: u64 = Plan::RAM_PAGE + 16;

fn hvc(function: u32, page: u64) -> Step {
    Step::Hvc([function.into(), page << 12, 0, 0])
}

fn machine(scene: &Scene, key: u64) -> u64 {
    scene
        .call(Call::StatRead, &[0, key])
        .expect("a counter of the machine")
}

fn of_vm(scene: &Scene, vm: u64, key: u64) -> u64 {
    scene
        .call(Call::StatRead, &[vm, key])
        .expect("a counter of the VM")
}

#[test]
fn facts_are_the_machines() {
    let scene = Scene::default();
    let fact = |key| scene.call(Call::Info, &[key]);
    let roots = scene.world.inner().spec.setup.root_frames;
    let bits = scene.world.inner().spec.setup.ipa_bits;
    let vms = scene.world.inner().spec.setup.max_vm;
    assert_eq!(fact(info::ROOT_FRAMES), Ok(roots));
    assert_eq!(fact(info::IPA_BITS), Ok(bits.into()));
    assert_eq!(fact(info::MAX_VMS), Ok(vms));
    assert_eq!(fact(info::LIST_REGISTERS), Ok(4));
    assert_eq!(fact(info::HOST_POOL), Ok(scene.world.host_pool()));
    assert_eq!(fact(info::MAX_VCPUS), Ok(64));
    assert_eq!(fact(info::IOVA_BITS), Ok(0), "there is no SMMU");
    assert_eq!(fact(info::IOVA_BITS + 1), Err(Error::InvalidArgument));
    assert_eq!(scene.call(Call::Version, &[]), Ok(VERSION.into()));
}

#[test]
fn the_host_pool_is_counted_up_and_down() {
    let scene = Scene::default();
    let pool = || scene.call(Call::Info, &[info::HOST_POOL]).expect("a fact");
    let before = pool();
    let given = scene.idle(8, 8);
    scene
        .call(Call::HostDonate, &[given << 12, 8])
        .expect("donated");
    let after = pool();
    // Taking the frames may have split up to two blocks.
    assert!(
        (before + 4..=before + 8).contains(&after),
        "{before} then {after}"
    );
}

#[test]
fn frames_are_counted_by_owner() {
    let scene = Scene::default();
    let counts = || {
        [
            stat::FRAMES,
            stat::HOST_FRAMES,
            stat::HYP_FRAMES,
            stat::VM_FRAMES,
        ]
        .map(|key| machine(&scene, key))
    };
    let [all, host, hyp, vms] = counts();
    assert_eq!((all, vms), (host + hyp, 0));
    let images: u64 = IMAGE.iter().map(|size| size.div_ceil(4096)).sum();
    let vm = scene.protected(1);
    scene.map(vm, PAGE, 0).expect("mapped");
    let [_, host_now, hyp_now, vms_now] = counts();
    assert_eq!(vms_now, images + 1);
    assert_eq!(host_now + hyp_now + vms_now, all);
    assert!(hyp_now > hyp);
    assert_eq!(of_vm(&scene, vm, stat::VM_MAPPED), images + 1);
    scene.destroy(vm);
    assert_eq!(counts(), [all, host, hyp, 0]);
}

#[test]
fn a_vms_counters_follow_its_life() {
    let scene = Scene::default();
    let vm = scene.vm(true, 1);
    assert_eq!(of_vm(&scene, vm, stat::VM_STATE), vm_state::READY);
    let pool = of_vm(&scene, vm, stat::VM_POOL);
    assert_eq!(pool, scene.world.vm_pool(vm));
    let more = scene.idle(3, 1);
    scene
        .call(Call::VmDonate, &[vm, more << 12, 3])
        .expect("donated");
    assert_eq!(of_vm(&scene, vm, stat::VM_POOL), pool + 3);
    scene.call(Call::VmReclaimPool, &[vm]).expect("one back");
    assert_eq!(of_vm(&scene, vm, stat::VM_POOL), pool + 2);
    scene.call(Call::VmPowerOff, &[vm]).expect("off");
    assert_eq!(of_vm(&scene, vm, stat::VM_STATE), vm_state::POWER_OFF);
    scene.destroy(vm);
    assert_eq!(
        scene.call(Call::StatRead, &[vm, stat::VM_STATE]),
        Err(Error::NotFound)
    );
}

#[test]
fn exits_answers_and_shares_are_counted() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    scene.map(vm, PAGE, 0).expect("mapped");
    assert_eq!(of_vm(&scene, vm, stat::VM_STATE), vm_state::VERIFIED);
    let of = |key| of_vm(&scene, vm, key);
    assert_eq!(
        [
            of(stat::VM_EXITS),
            of(stat::VM_ANSWERED),
            of(stat::VM_SHARED)
        ],
        [0; 3]
    );
    scene
        .run(vm, 0, &[hvc(KVM_FEATURES, 0), hvc(KVM_MEM_SHARE, PAGE)])
        .expect("runs");
    assert_eq!(
        [
            of(stat::VM_EXITS),
            of(stat::VM_ANSWERED),
            of(stat::VM_SHARED)
        ],
        [1, 2, 1]
    );
    scene
        .run(vm, 0, &[hvc(KVM_MEM_UNSHARE, PAGE)])
        .expect("runs");
    assert_eq!(
        [
            of(stat::VM_EXITS),
            of(stat::VM_ANSWERED),
            of(stat::VM_SHARED)
        ],
        [2, 3, 0]
    );
}

#[test]
fn calls_and_refusals_are_counted() {
    let scene = Scene::default();
    let (calls, refused) = (machine(&scene, stat::CALLS), machine(&scene, stat::REFUSED));
    assert_eq!(scene.call(Call::VmDestroy, &[77]), Err(Error::NotFound));
    // The readings count too: three calls since the first, one of them refused.
    assert_eq!(machine(&scene, stat::REFUSED), refused + 1);
    assert_eq!(machine(&scene, stat::CALLS), calls + 4);
    let aborts = machine(&scene, stat::HOST_ABORTS);
    let hyp = scene.world.inner().spec.setup.hyp[0].0;
    assert_eq!(scene.load(hyp << 12), None);
    assert_eq!(machine(&scene, stat::HOST_ABORTS), aborts + 1);
}

#[test]
fn keys_belong_to_the_machine_or_to_a_vm() {
    let scene = Scene::default();
    let vm = scene.vm(false, 1);
    let read = |vm, key| scene.call(Call::StatRead, &[vm, key]);
    assert_eq!(read(0, stat::VM_STATE), Err(Error::InvalidArgument));
    assert_eq!(read(vm, stat::FRAMES), Err(Error::InvalidArgument));
    assert_eq!(read(vm, stat::VM_SHARED + 1), Err(Error::InvalidArgument));
    assert_eq!(read(vm + 1, stat::VM_STATE), Err(Error::NotFound));
    assert_eq!(read(1 << 32, stat::VM_STATE), Err(Error::NotFound));
}

#[test]
fn the_log_says_what_happened_and_is_read_in_pieces() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let (mut cursor, mut text) = (0, Vec::new());
    loop {
        let mut registers = [Call::LogRead.function_id().into(), cursor, 0, 0, 0, 0, 0, 0];
        scene.world.ward.host_call(&mut registers);
        assert_eq!(registers[0], 0);
        let (next, len) = (registers[1], registers[2] as usize);
        assert_eq!(next, cursor + len as u64);
        if len == 0 {
            break;
        }
        let bytes: Vec<u8> = registers[3..]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        text.extend_from_slice(&bytes[..len]);
        cursor = next;
    }
    let text = String::from_utf8(text).expect("text");
    assert!(text.contains(&format!("vm {vm}: verified")), "{text}");
    assert!(text.ends_with('\n'));
}

/// One call of `VmDestroy`: 0 when the VM is gone, 1 when there is more to do.
fn destroy_once(scene: &Scene, vm: u64) -> u64 {
    let answer = scene.world.call(Call::VmDestroy, &[vm]);
    answer.expect("Ward and the specification agree").x[0]
}

#[test]
fn what_a_vm_maps_is_counted_down_when_it_goes() {
    let scene = Scene::default();
    let protected = scene.protected(1);
    let images = of_vm(&scene, protected, stat::VM_MAPPED);
    let pfn = scene.map(protected, PAGE, 0).expect("mapped");
    assert_eq!(of_vm(&scene, protected, stat::VM_MAPPED), images + 1);
    scene.call(Call::VmPowerOff, &[protected]).expect("off");
    assert_eq!(
        scene.call(Call::VmClearRange, &[protected, pfn << 12, 1]),
        Ok(1)
    );
    assert_eq!(of_vm(&scene, protected, stat::VM_MAPPED), images);

    let normal = scene.vm(false, 1);
    scene.map(normal, PAGE, 0).expect("mapped");
    assert_eq!(of_vm(&scene, normal, stat::VM_MAPPED), 1);
    scene
        .call(Call::VmUnmap, &[normal, PAGE << 12, 0])
        .expect("unmapped");
    assert_eq!(of_vm(&scene, normal, stat::VM_MAPPED), 0);
}

#[test]
fn a_piece_of_destruction_is_bounded_in_single_pages_too() {
    for protected in [false, true] {
        let scene = Scene::default();
        let vm = if protected {
            scene.protected(1)
        } else {
            scene.vm(false, 1)
        };
        for n in 0..600 {
            scene.map(vm, PAGE + n, 0).expect("mapped");
        }
        scene.call(Call::VmPowerOff, &[vm]).expect("off");
        let before = of_vm(&scene, vm, stat::VM_MAPPED);
        assert_eq!(destroy_once(&scene, vm), 1);
        assert_eq!(of_vm(&scene, vm, stat::VM_MAPPED), before - 512);
        scene.destroy(vm);
    }
}

#[test]
fn a_small_vm_is_destroyed_in_one_call() {
    let scene = Scene::default();
    let normal = scene.vm(false, 1);
    scene.map(normal, PAGE, 0).expect("mapped");
    scene.call(Call::VmPowerOff, &[normal]).expect("off");
    assert_eq!(destroy_once(&scene, normal), 0);
    // A guarded page is a note, which keeps its table until the end.
    let protected = scene.protected(1);
    scene
        .run(protected, 0, &[hvc(KVM_MMIO_GUARD, Plan::MMIO_PAGE)])
        .expect("runs");
    scene.call(Call::VmPowerOff, &[protected]).expect("off");
    assert_eq!(destroy_once(&scene, protected), 0);
}
