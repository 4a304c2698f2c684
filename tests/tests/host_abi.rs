//! What the interface gives a host that is Linux with KVM, case by case, and what of it a hostile
//! host tries.

use hyp_core::abi::calls::info;
use hyp_core::abi::run::{FP_OFFSET, FP_WORDS, REGS_OFFSET, RunIn, RunOut, exit, in_flags, sync};
use hyp_core::abi::smccc::{KVM_MEM_RELINQUISH, KVM_MEM_SHARE};
use hyp_core::abi::{Call, Error};
use hyp_core::vcpu::context::WINDOW_WORDS;
use std::sync::Arc;
use ward_tests::fake::{Hook, StdSched, Step};
use ward_tests::harness::{Plan, Scene, Shape, free_device};
use ward_tests::spec::{ID_READ, ID_WRITE};

const PAGE: u64 = Plan::RAM_PAGE + 16;
/// Words of the exit.
const IPA: u64 = 1;
const SIZE: u64 = 2;
const VALUE: u64 = 4;
const ARG1: u64 = 5;
const ESR: u64 = 8;
const HCR: u64 = RunOut::WORDS as u64 - 1;
/// Words of the input.
const FLAGS: u64 = 0;
const ANSWER: u64 = 1;
const ASKED: u64 = 2;
const VSESR: u64 = RunIn::WORDS as u64 - 1;
/// Words of the window.
const PC: u64 = 32;
const PSTATE: u64 = 33;
/// `HCR_EL2.VSE`.
const VSE: u64 = 1 << 8;

fn set_register(scene: &Scene, vm: u64, word: u64, value: u64) {
    let at = (scene.run_page(vm, 0) << 12) + REGS_OFFSET + 8 * word;
    assert!(scene.store(at, value));
}

fn register(scene: &Scene, vm: u64, word: u64) -> Option<u64> {
    scene.load((scene.run_page(vm, 0) << 12) + REGS_OFFSET + 8 * word)
}

#[test]
fn a_wait_says_for_what() {
    let scene = Scene::default();
    for vm in [scene.protected(1), scene.vm(false, 1)] {
        for (step, size) in [(Step::Wfi, 0), (Step::Wfe, 1)] {
            assert_eq!(scene.run(vm, 0, &[step]), Ok(exit::WAIT));
            assert_eq!(scene.out(vm, 0, SIZE), size);
            assert_eq!(scene.out(vm, 0, ESR), 0);
        }
    }
}

#[test]
fn a_normal_vms_host_sees_the_virtual_address() {
    let scene = Scene::default();
    let (normal, protected) = (scene.vm(false, 1), scene.protected(1));
    let load = |page: u64| Step::Load {
        ipa: (page << 12) + 8,
        rt: 3,
    };
    for (page, reason) in [(PAGE, exit::MEMORY), (Plan::MMIO_PAGE, exit::MMIO)] {
        assert_eq!(scene.run(normal, 0, &[load(page)]), Ok(exit::MMIO));
        assert_eq!(scene.out(normal, 0, ARG1), (page << 12) + 8);
        assert_eq!(scene.run(protected, 0, &[load(page)]), Ok(reason));
        assert_eq!(scene.out(protected, 0, ARG1), 0);
        scene.run_in(protected, 0, FLAGS, in_flags::INJECT_ABORT);
        assert_eq!(scene.run(protected, 0, &[]), Ok(exit::IRQ));
        scene.run_in(protected, 0, FLAGS, 0);
    }
    let fetch = Step::Fetch { ipa: PAGE << 12 };
    assert_eq!(scene.run(normal, 0, &[fetch]), Ok(exit::MEMORY));
    assert_eq!(scene.out(normal, 0, ARG1), PAGE << 12);
}

#[test]
fn errors_of_memory_are_a_normal_vms_hosts_to_answer() {
    let scene = Scene::default();
    let (normal, protected) = (scene.vm(false, 1), scene.protected(1));
    let bad = Step::Poisoned { ipa: PAGE << 12 };
    assert_eq!(scene.run(normal, 0, &[bad]), Ok(exit::MEMORY));
    assert_eq!(scene.out(normal, 0, IPA), 0, "HPFAR_EL2 holds nothing");
    assert_eq!(scene.out(normal, 0, ARG1), PAGE << 12);
    assert_eq!(scene.out(normal, 0, ESR) & 0x3f, 0x10);
    scene.run_in(normal, 0, FLAGS, in_flags::INJECT_ABORT);
    // The specification predicts the guest's external abort.
    assert_eq!(scene.run(normal, 0, &[]), Ok(exit::IRQ));
    // A protected guest takes it; its host does not hear of it.
    assert_eq!(scene.run(protected, 0, &[bad]), Ok(exit::IRQ));
}

#[test]
fn a_normal_vms_smc_is_its_hosts_to_answer() {
    let scene = Scene::default();
    let (normal, protected) = (scene.vm(false, 1), scene.protected(1));
    let smc = Step::Smc([0x8400_0000, 2, 3, 4]);
    assert_eq!(scene.run(normal, 0, &[smc]), Ok(exit::CALL));
    assert_eq!(scene.out(normal, 0, VALUE), 0x8400_0000);
    assert_eq!(scene.out(normal, 0, ARG1), 2);
    assert_eq!(scene.out(normal, 0, ESR) >> 26, 0x17);
    let pc = register(&scene, normal, 32);
    scene.run_in(normal, 0, ANSWER, 77);
    assert_eq!(scene.run(normal, 0, &[]), Ok(exit::IRQ));
    assert_eq!(register(&scene, normal, 0), Some(77));
    assert_eq!(register(&scene, normal, 32), pc.map(|pc| pc + 4));
    // One that the host does not know.
    assert_eq!(scene.run(normal, 0, &[smc]), Ok(exit::CALL));
    scene.run_in(normal, 0, FLAGS, in_flags::INJECT_UNDEF);
    assert_eq!(scene.run(normal, 0, &[]), Ok(exit::IRQ));
    // A protected guest's never reaches the host.
    assert_eq!(scene.run(protected, 0, &[smc]), Ok(exit::IRQ));
}

#[test]
fn an_serror_is_pending_until_the_guest_takes_it() {
    let scene = Scene::default();
    for vm in [scene.vm(false, 1), scene.protected(1)] {
        scene.run_in(vm, 0, ASKED, VSE | 1 << 13);
        scene.run_in(vm, 0, VSESR, !0);
        assert_eq!(scene.run(vm, 0, &[Step::Irq]), Ok(exit::IRQ));
        assert_eq!(scene.out(vm, 0, HCR), VSE, "not taken");
        // The specification predicts the syndrome, cut to what VSESR_EL2 has.
        let steps = [Step::TakeSError, Step::TakeSError];
        assert_eq!(scene.run(vm, 0, &steps), Ok(exit::IRQ));
        assert_eq!(scene.out(vm, 0, HCR), 0, "taken");
        scene.run_in(vm, 0, ASKED, 1 << 13);
        assert_eq!(scene.run(vm, 0, &[Step::TakeSError]), Ok(exit::IRQ));
        assert_eq!(scene.out(vm, 0, HCR), 0, "not asked for");
    }
}

#[test]
fn a_vcpu_that_is_off_takes_no_serror() {
    let scene = Scene::default();
    let vm = scene.protected(2);
    scene.run_in(vm, 1, ASKED, !0);
    assert_eq!(scene.run(vm, 1, &[]), Ok(exit::CPU_OFF));
    assert_eq!(scene.out(vm, 1, HCR), VSE);
}

#[test]
fn a_vm_that_is_off_says_so_at_each_run() {
    let scene = Scene::default();
    for (vm, ran) in [(scene.protected(2), 1), (scene.vm(false, 2), 0)] {
        assert_eq!(scene.run(vm, 0, &[]), Ok(exit::IRQ));
        scene.call(Call::VmPowerOff, &[vm]).expect("off");
        for vcpu in 0..2 {
            assert_eq!(scene.run(vm, vcpu, &[]), Ok(exit::SYSTEM_OFF));
            assert_eq!(scene.out(vm, vcpu, 0), exit::SYSTEM_OFF);
        }
        // What is wrong in itself stays wrong, and nothing ran.
        assert_eq!(scene.run(vm, 2, &[]), Err(Error::NotFound));
        scene.run_in(vm, 0, FLAGS, in_flags::ALL + 1);
        assert_eq!(scene.run(vm, 0, &[]), Err(Error::InvalidArgument));
        let exits = hyp_core::abi::calls::stat::VM_EXITS;
        assert_eq!(scene.call(Call::StatRead, &[vm, exits]), Ok(1), "{ran}");
        scene.destroy(vm);
    }
    // One that was never verified did not run, and does not now.
    let ready = scene.vm(true, 1);
    assert_eq!(scene.run(ready, 0, &[]), Err(Error::BadState));
}

#[test]
fn every_word_of_a_window_goes_there_and_back() {
    let scene = Scene::default();
    let vm = scene.vm(false, 1);
    assert_eq!(scene.run(vm, 0, &[]), Ok(exit::IRQ));
    scene.run_in(vm, 0, FLAGS, in_flags::REGS_DIRTY);
    let words = (0..WINDOW_WORDS as u64).filter(|word| ![PC, PSTATE].contains(word));
    for word in words.clone() {
        set_register(&scene, vm, word, 0x1000 + word);
    }
    set_register(&scene, vm, PSTATE, 0x3c4);
    let pc = register(&scene, vm, PC).expect("the host's page");
    assert_eq!(scene.run(vm, 0, &[]), Ok(exit::IRQ));
    for word in words.clone() {
        set_register(&scene, vm, word, 0xbad);
    }
    // Not dirty: what the host wrote is not looked at, and what the vCPU has is shown.
    scene.run_in(vm, 0, FLAGS, 0);
    assert_eq!(scene.run(vm, 0, &[]), Ok(exit::IRQ));
    for word in words {
        assert_eq!(register(&scene, vm, word), Some(0x1000 + word), "{word}");
    }
    assert_eq!(register(&scene, vm, PSTATE), Some(0x3c4));
    assert!(register(&scene, vm, PC) >= Some(pc));
}

#[test]
fn a_window_that_leaves_el1_is_refused_whole() {
    let scene = Scene::default();
    let vm = scene.vm(false, 1);
    assert_eq!(scene.run(vm, 0, &[Step::Set(5, 1)]), Ok(exit::IRQ));
    let pc = register(&scene, vm, 32).expect("the host's page");
    // AArch32 User and Supervisor, EL2h, EL3t, and what is none.
    for pstate in [0x10, 0x1d3, 0x3c9, 0x3cc, 0x3c1, u64::MAX] {
        scene.run_in(vm, 0, FLAGS, in_flags::REGS_DIRTY);
        set_register(&scene, vm, 5, 99);
        set_register(&scene, vm, 33, pstate);
        assert_eq!(scene.run(vm, 0, &[]), Err(Error::InvalidArgument));
        scene.run_in(vm, 0, FLAGS, 0);
        assert_eq!(scene.run(vm, 0, &[]), Ok(exit::IRQ));
        assert_eq!(register(&scene, vm, 5), Some(1), "{pstate:#x}");
        assert_eq!(register(&scene, vm, 32), Some(pc));
    }
    for pstate in [0x3c0, 0x3c4, 0x3c5] {
        scene.run_in(vm, 0, FLAGS, in_flags::REGS_DIRTY);
        set_register(&scene, vm, 33, pstate);
        assert_eq!(scene.run(vm, 0, &[]), Ok(exit::IRQ));
        assert_eq!(register(&scene, vm, 33), Some(pstate));
    }
}

#[test]
fn a_protected_vms_clock_is_the_machines() {
    let scene = Scene::default();
    let (normal, protected) = (scene.vm(false, 1), scene.vm(true, 1));
    let offset = |vm, ticks| scene.call(Call::VmSetCntvoff, &[vm, ticks]);
    assert_eq!(offset(normal, 5), Ok(0));
    assert_eq!(offset(protected, 0), Ok(0));
    assert_eq!(offset(protected, 1), Err(Error::InvalidArgument));
    assert_eq!(offset(protected, u64::MAX), Err(Error::InvalidArgument));
}

#[test]
fn want_of_numbers_is_told_from_want_of_memory() {
    let scene: Scene = Scene::new(Shape {
        vms: 2,
        ..Shape::default()
    });
    let last = scene.world.inner().spec.setup.max_vm;
    for _ in 0..last {
        scene.vm(false, 1);
    }
    let roots = scene.world.inner().spec.setup.root_frames;
    let (record, root) = (scene.idle(2, 1), scene.idle(roots, roots) - 8 * roots);
    let args = [0, record << 12, root << 12, 1];
    assert_eq!(scene.call(Call::VmRegister, &args), Err(Error::NoNumber));
}

#[test]
fn want_of_memory_says_whose_pool() {
    let scene = Scene::default();
    let vm = scene.vm(false, 1);
    while scene.call(Call::VmReclaimPool, &[vm]).is_ok() {}
    let short = |scene: &Scene, call, args: &[u64]| {
        let answer = scene.world.call(call, args).expect("as specified");
        assert_eq!(answer.error(), Some(Error::NoMemory));
        answer.x[1]
    };
    let map = [vm, PAGE << 12, scene.frame() << 12, 0, 3];
    assert_eq!(short(&scene, Call::VmMap, &map), 0, "the VM's");
    let poor: Scene = Scene::new(Shape {
        pool: 24,
        ..Shape::default()
    });
    let vm = poor.vm(true, 1);
    while poor.world.host_pool() >= 16 {
        // One frame of a whole block: it has to be split.
        let args = [vm, poor.idle(512, 512) << 12, 1];
        poor.call(Call::VmDonate, &args).expect("donated");
    }
    let donate = [vm, poor.frame() << 12, 1];
    assert_eq!(short(&poor, Call::VmDonate, &donate), 1, "the host's");
}

#[test]
fn a_map_says_how_many_table_pages_are_left() {
    let scene = Scene::default();
    let left = hyp_core::abi::calls::stat::VM_POOL;
    for vm in [scene.protected(1), scene.vm(false, 1)] {
        let args = [vm, PAGE << 12, scene.frame() << 12, 0, 3];
        let said = scene.call(Call::VmMap, &args);
        assert_eq!(said, scene.call(Call::StatRead, &[vm, left]));
        assert_ne!(said, Ok(0));
    }
}

fn store(page: u64) -> Step {
    Step::Store {
        ipa: page << 12,
        rt: 1,
        value: page,
    }
}

/// A normal VM with `count` pages at [`PAGE`] but for every third.
fn with_pages(scene: &Scene, count: u64) -> u64 {
    let vm = scene.vm(false, 1);
    for n in (0..count).filter(|n| n % 3 != 2) {
        scene.map(vm, PAGE + n, 0).expect("mapped");
    }
    vm
}

#[test]
fn a_dirty_log_takes_write_permission_and_gives_it_back() {
    let scene = Scene::default();
    let vm = with_pages(&scene, 9);
    let protect =
        |count, add, remove| scene.call(Call::VmProtect, &[vm, PAGE << 12, 0, count, add, remove]);
    let before = scene.world.fake.state().work.tlbi;
    assert_eq!(protect(9, 0, 1), Ok(6));
    assert_eq!(
        scene.world.fake.state().work.tlbi,
        before + 1,
        "one for all"
    );
    assert_eq!(protect(9, 0, 1), Ok(0));
    assert_eq!(scene.world.fake.state().work.tlbi, before + 1);
    assert_eq!(scene.run(vm, 0, &[store(PAGE)]), Ok(exit::MEMORY));
    // Only what is asked for comes back: a page without execution stays so.
    assert_eq!(protect(1, 0, 2), Ok(1));
    assert_eq!(protect(1, 1, 0), Ok(1));
    scene.run_in(vm, 0, FLAGS, in_flags::RETRY);
    assert_eq!(scene.run(vm, 0, &[]), Ok(exit::IRQ));
    let fetch = Step::Fetch { ipa: PAGE << 12 };
    assert_eq!(scene.run(vm, 0, &[fetch]), Ok(exit::MEMORY));
    for (add, remove) in [(4, 0), (0, 4), (1, 1), (3, 2), (u64::MAX, 0)] {
        assert_eq!(protect(1, add, remove), Err(Error::InvalidArgument));
    }
    // The same of one leaf, by its old name.
    assert_eq!(
        scene.call(Call::VmWriteProtect, &[vm, PAGE << 12, 0]),
        Ok(0)
    );
    assert_eq!(protect(1, 0, 1), Ok(0));
}

#[test]
fn ages_of_a_range_are_looked_at_or_taken() {
    let scene = Scene::default();
    let vm = with_pages(&scene, 6);
    let age = |count, flags| scene.call(Call::VmAgeRange, &[vm, PAGE << 12, 0, count, flags]);
    assert_eq!(age(6, 1), Ok(4));
    assert_eq!(age(6, 1), Ok(4), "looking leaves them so");
    assert_eq!(age(6, 0), Ok(4));
    assert_eq!(age(6, 1), Ok(0));
    assert_eq!(scene.run(vm, 0, &[store(PAGE + 1)]), Ok(exit::IRQ));
    assert_eq!(age(6, 0), Ok(1));
    assert_eq!(age(6, 2), Err(Error::InvalidArgument));
}

#[test]
fn ranges_are_checked_whole() {
    let scene = Scene::default();
    let vm = with_pages(&scene, 6);
    let protected = scene.protected(1);
    let bits = scene.world.inner().spec.setup.ipa_bits;
    let calls = [Call::VmUnmapRange, Call::VmProtect, Call::VmAgeRange];
    for call in calls {
        let refused = |vm, ipa, order, count| {
            let answer = scene.world.call(call, &[vm, ipa, order, count]);
            answer.expect("as specified").error()
        };
        let at = PAGE << 12;
        for (ipa, order, count, error) in [
            (at, 0, 513, Error::InvalidArgument),
            (at, 0, u64::MAX, Error::InvalidArgument),
            (at, 1, 4, Error::InvalidArgument),
            (at + 8, 0, 4, Error::BadAddress),
            (at, 9, 1, Error::BadAddress),
            (at + 0x1000, 9, 512, Error::BadAddress),
            (u64::MAX << 12, 0, 512, Error::BadAddress),
            (1 << 63, 9, 512, Error::BadAddress),
            ((1 << 52) - 4096, 0, 2, Error::BadAddress),
            ((1 << bits) - 4096, 0, 2, Error::BadAddress),
            ((1 << bits) - (2 << 20), 9, 2, Error::BadAddress),
            // Pages where blocks are named; nothing where one is.
            (at & !0x1f_ffff, 9, 1, Error::NotFound),
            (at & !0x1f_ffff, 9, 512, Error::NotFound),
            (at + 0x2000, 0, 1, Error::NotFound),
            (at + 0x2000, 0, 0, Error::NotFound),
        ] {
            assert_eq!(
                refused(vm, ipa, order, count),
                Some(error),
                "{call:?} {ipa:#x}"
            );
        }
        assert_eq!(refused(vm, at + 0x2000, 0, 2), None, "a hole and a page");
        assert_eq!(refused(vm, (1 << bits) - 8192, 0, 2), None, "holes");
        assert_eq!(refused(protected, at, 0, 4), Some(Error::InvalidArgument));
        assert_eq!(refused(0, at, 0, 4), Some(Error::NotFound));
    }
    scene.call(Call::VmPowerOff, &[vm]).expect("off");
    let args = [vm, PAGE << 12, 0, 9];
    assert_eq!(scene.call(Call::VmProtect, &args), Err(Error::BadState));
    assert_eq!(scene.call(Call::VmAgeRange, &args), Err(Error::BadState));
    assert_eq!(scene.call(Call::VmUnmapRange, &args), Ok(3));
    scene.check();
}

#[test]
fn a_range_that_cuts_blocks_needs_a_table_for_each() {
    let scene = Scene::default();
    let vm = scene.vm(false, 1);
    let block = (Plan::RAM_PAGE & !511) + 512;
    scene.map(vm, block, 9).expect("mapped");
    scene.map(vm, block + 512, 9).expect("mapped");
    while scene.call(Call::VmReclaimPool, &[vm]).is_ok() {}
    let unmap = |page: u64, count| scene.call(Call::VmUnmapRange, &[vm, page << 12, 0, count]);
    assert_eq!(unmap(block + 510, 4), Err(Error::NoMemory));
    // A block as a whole needs none, in pages or as what it is; a part that stays neither.
    let protect = [vm, block << 12, 0, 512, 0, 1];
    assert_eq!(scene.call(Call::VmProtect, &protect), Ok(1));
    let part = [vm, block << 12, 0, 3, 0, 1];
    assert_eq!(scene.call(Call::VmProtect, &part), Ok(0));
    scene
        .call(Call::VmDonate, &[vm, scene.frame() << 12, 1])
        .expect("donated");
    assert_eq!(unmap(block + 510, 4), Err(Error::NoMemory));
    scene
        .call(Call::VmDonate, &[vm, scene.frame() << 12, 1])
        .expect("donated");
    assert_eq!(unmap(block + 510, 4), Ok(4));
    assert_eq!(unmap(block, 512), Ok(510));
    scene.check();
}

#[test]
fn frames_of_a_range_are_given_away_while_the_guest_runs() {
    let scene = Arc::new(Scene::<StdSched>::default());
    let vm = with_pages(&scene, 6);
    let other = scene.protected(1);
    let pfn = scene.world.inner().spec.vms[&(vm as u16)].maps[&(PAGE + 1)].pfn;
    let weak = Arc::downgrade(&scene);
    let hook = move || {
        let Some(scene) = weak.upgrade() else { return };
        scene.world.at_hook(vm as u16, 0).expect("the same point");
        scene.world.fake.set_cpu(1);
        let donate = [other, PAGE << 12, pfn << 12, 0, 3];
        assert_eq!(scene.call(Call::VmMap, &donate), Err(Error::Denied));
        let range = [vm, PAGE << 12, 0, 6];
        assert_eq!(scene.call(Call::VmUnmapRange, &range), Ok(4));
        scene.call(Call::VmMap, &donate).expect("the VM's now");
    };
    scene.world.fake.state().hook = Some(Hook(Arc::new(hook)));
    // The guest has the pages in its TLB when they go; afterwards it finds nothing there.
    let steps = [store(PAGE), store(PAGE + 1), Step::Hook, store(PAGE + 1)];
    assert_eq!(scene.run(vm, 0, &steps), Ok(exit::MMIO));
    assert_eq!(scene.out(vm, 0, IPA), (PAGE + 1) << 12);
    scene.check();
}

/// Registers a VM with these flags.
fn with_flags(scene: &Scene, flags: u64) -> Result<u64, Error> {
    let roots = scene.world.inner().spec.setup.root_frames;
    let root = scene.idle(roots, roots);
    let record = root - 2;
    let vm = scene.call(Call::VmRegister, &[flags, record << 12, root << 12, 1])?;
    scene.vcpu(vm, 0).expect("registered");
    Ok(vm)
}

#[test]
fn a_host_answers_the_id_registers_of_a_vm_that_it_asked_for() {
    let scene = Scene::default();
    let vm = with_flags(&scene, 2).expect("registered");
    let read = Step::Sysreg(ID_READ, 0);
    assert_eq!(scene.run(vm, 0, &[read]), Ok(exit::SYSREG));
    assert_eq!(scene.out(vm, 0, 3), 0, "a read");
    assert_eq!(scene.out(vm, 0, ESR) & 0x1ff_ffff, u64::from(ID_READ));
    scene.run_in(vm, 0, ANSWER, 0x1234);
    assert_eq!(scene.run(vm, 0, &[]), Ok(exit::IRQ));
    assert_eq!(register(&scene, vm, 1), Some(0x1234));
    // There is no write of one, and for other VMs Ward answers.
    let write = Step::Sysreg(ID_WRITE, 0);
    assert_eq!(scene.run(vm, 0, &[write]), Ok(exit::IRQ));
    for vm in [scene.vm(false, 1), scene.protected(1)] {
        assert_eq!(scene.run(vm, 0, &[read, write]), Ok(exit::IRQ));
    }
    // A protected guest does not read what its host makes up.
    for flags in [3, 4, 1 << 63] {
        assert_eq!(with_flags(&scene, flags), Err(Error::InvalidArgument));
    }
}

#[test]
fn a_host_can_ask_what_ward_answers() {
    let scene = Scene::default();
    let read = |key| scene.call(Call::Info, &[info::ID_REGISTERS + key]);
    let bits = scene.world.inner().spec.setup.ipa_bits;
    for crm in 1..8 {
        for op2 in 0..8 {
            let hardware = ward_tests::fake::id_register(crm, op2);
            let guest = hyp_core::vcpu::idregs::id_register(crm, op2, hardware, bits);
            assert_eq!(read(u64::from(crm << 3 | op2)), Ok(guest));
        }
    }
    assert_eq!(read(4 << 3).map(|pfr0| pfr0 >> 32 & 15), Ok(0), "no SVE");
    for key in [0, 7, 64, 1 << 40] {
        assert_eq!(read(key), Err(Error::InvalidArgument));
    }
}

#[test]
fn a_device_can_be_taken_from_a_normal_vm_again() {
    let scene = Scene::default();
    let (vm, ready) = (scene.vm(false, 1), scene.vm(true, 1));
    let at = Plan::MMIO_PAGE;
    let map = |vm, flags| {
        let args = [vm, at << 12, free_device(0) << 12, 3, flags];
        scene.call(Call::VmMapIo, &args)
    };
    let unmap = || scene.call(Call::VmUnmapRange, &[vm, at << 12, 0, 3]);
    for flags in 0..4 {
        assert_eq!(map(vm, flags), Ok(0));
        assert_eq!(map(vm, flags), Err(Error::Exists));
        let leaf = scene.world.fake.state().tables.leaf_at(vm as u16, at << 12);
        let perms = leaf.expect("mapped").perms();
        assert_eq!(perms.combining, flags & 1 != 0);
        assert_eq!((perms.write, perms.exec), (flags & 2 == 0, false));
        let wanted = if perms.write { exit::IRQ } else { exit::MEMORY };
        assert_eq!(scene.run(vm, 0, &[store(at)]), Ok(wanted));
        scene.run_in(vm, 0, FLAGS, in_flags::INJECT_ABORT);
        assert_eq!(scene.run(vm, 0, &[]), Ok(exit::IRQ));
        scene.run_in(vm, 0, FLAGS, 0);
        // Its permissions are not a loan's to change, nor has it an age.
        let add = [vm, at << 12, 0, 1, 3, 0];
        assert_eq!(scene.call(Call::VmProtect, &add), Err(Error::NotFound));
        let young = [vm, at << 12, 0, 3, 0];
        assert_eq!(scene.call(Call::VmAgeRange, &young), Ok(0));
        assert_eq!(unmap(), Ok(3));
        assert_eq!(scene.run(vm, 0, &[store(at)]), Ok(exit::MMIO));
        assert_eq!(scene.run(vm, 0, &[]), Ok(exit::IRQ));
    }
    assert_eq!(map(vm, 4), Err(Error::InvalidArgument));
    for flags in 1..4 {
        assert_eq!(map(ready, flags), Err(Error::InvalidArgument));
    }
    scene.check();
}

#[test]
fn a_host_saves_and_sets_fp_registers_of_a_vcpu_at_rest() {
    let scene = Scene::default();
    let vm = scene.vm(false, 1);
    let move_ = |what| scene.call(Call::VcpuSync, &[vm, 0, what]);
    let at = |n: u64| (scene.run_page(vm, 0) << 12) + FP_OFFSET + 8 * n;
    for n in 0..FP_WORDS as u64 {
        assert!(scene.store(at(n), 0x1111 * (n + 1)));
    }
    assert_eq!(move_(sync::TAKE_FP), Ok(0));
    assert_eq!(scene.run(vm, 0, &[Step::Irq]), Ok(exit::IRQ));
    for n in 0..FP_WORDS as u64 {
        assert!(scene.store(at(n), 0));
    }
    assert_eq!(move_(sync::SHOW_FP), Ok(0));
    for n in 0..FP_WORDS as u64 {
        assert_eq!(scene.load(at(n)), Some(0x1111 * (n + 1)));
    }
    for what in [0, 6, 7, 8, 1 << 63] {
        assert_eq!(move_(what), Err(Error::InvalidArgument));
    }
    scene.call(Call::VmPowerOff, &[vm]).expect("off");
    assert_eq!(move_(sync::SHOW_FP), Ok(0), "a snapshot of what is off");
}

#[test]
fn a_protected_vcpus_registers_are_not_moved() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let page = scene.run_page(vm, 0) << 12;
    let word = |n: u64| scene.load(page + 8 * n).expect("the host's page");
    let before: Vec<u64> = (0..512).map(&word).collect();
    for what in 0..16 {
        for vcpu in 0..2 {
            let answer = scene.call(Call::VcpuSync, &[vm, vcpu, what]);
            assert_eq!(answer, Err(Error::InvalidArgument));
        }
    }
    let after: Vec<u64> = (0..512).map(word).collect();
    assert_eq!(before, after);
}

#[test]
fn a_vcpu_that_runs_is_not_moved() {
    let scene = Arc::new(Scene::<StdSched>::default());
    let vm = scene.vm(false, 2);
    let weak = Arc::downgrade(&scene);
    let hook = move || {
        let Some(scene) = weak.upgrade() else { return };
        scene.world.at_hook(vm as u16, 0).expect("the same point");
        scene.world.fake.set_cpu(1);
        let busy = |vcpu| scene.call(Call::VcpuSync, &[vm, vcpu, sync::SHOW_REGS]);
        assert_eq!(busy(0), Err(Error::Busy));
        assert_eq!(busy(1), Ok(0));
        assert_eq!(busy(2), Err(Error::NotFound));
    };
    scene.world.fake.state().hook = Some(Hook(Arc::new(hook)));
    assert_eq!(scene.run(vm, 0, &[Step::Hook]), Ok(exit::IRQ));
}

#[test]
fn a_lazy_window_shows_where_the_vcpu_is_and_the_rest_when_asked() {
    let scene = Scene::default();
    let vm = scene.vm(false, 1);
    scene.run_in(vm, 0, FLAGS, in_flags::LAZY);
    set_register(&scene, vm, 5, 0xbad);
    for (step, reason) in [(Step::Irq, exit::IRQ), (Step::Wfi, exit::WAIT)] {
        let pc = register(&scene, vm, 32).expect("the host's");
        assert_eq!(scene.run(vm, 0, &[Step::Set(5, 7), step]), Ok(reason));
        assert!(register(&scene, vm, 32) > Some(pc));
        assert_eq!(register(&scene, vm, 5), Some(0xbad));
    }
    let sync = [vm, 0, sync::SHOW_REGS];
    assert_eq!(scene.call(Call::VcpuSync, &sync), Ok(0));
    assert_eq!(register(&scene, vm, 5), Some(7));
    // What the host has to answer shows all.
    set_register(&scene, vm, 5, 0xbad);
    let load = Step::Load {
        ipa: PAGE << 12,
        rt: 1,
    };
    assert_eq!(scene.run(vm, 0, &[load]), Ok(exit::MMIO));
    assert_eq!(register(&scene, vm, 5), Some(7));
}

#[test]
fn a_guest_gives_a_page_back() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let ask = |function: u32, page: u64| {
        let reason = scene.run(vm, 0, &[Step::Hvc([function.into(), page << 12, 0, 0])]);
        let x0 = scene.world.inner().spec.vcpu(vm as u16, 0).x[0] as i64;
        (reason.expect("runs"), x0)
    };
    let (pfn, shared) = (
        scene.map(vm, PAGE, 0).expect("mapped"),
        scene.map(vm, PAGE + 1, 0).expect("mapped"),
    );
    assert_eq!(scene.run(vm, 0, &[store(PAGE)]), Ok(exit::IRQ));
    assert_eq!(scene.load(pfn << 12), None);
    assert_eq!(ask(KVM_MEM_RELINQUISH, PAGE), (exit::RELINQUISH, 0));
    assert_eq!(scene.out(vm, 0, IPA), PAGE << 12);
    // The host has it, without what was in it, and can give it again.
    assert_eq!(scene.load(pfn << 12), Some(0));
    assert_eq!(scene.run(vm, 0, &[store(PAGE)]), Ok(exit::MEMORY));
    let again = [vm, PAGE << 12, pfn << 12, 0, 3];
    assert!(scene.call(Call::VmMap, &again).is_ok());
    // Not what is shared, nor what is no memory; what is not there is the host's already.
    assert_eq!(ask(KVM_MEM_SHARE, PAGE + 1), (exit::IRQ, 0));
    assert_eq!(ask(KVM_MEM_RELINQUISH, PAGE + 1), (exit::IRQ, -3));
    assert_eq!(scene.load(shared << 12), Some(0));
    assert_eq!(ask(KVM_MEM_RELINQUISH, Plan::MMIO_PAGE), (exit::IRQ, -3));
    assert_eq!(ask(KVM_MEM_RELINQUISH, PAGE + 2), (exit::IRQ, 0));
    scene.check();
}

#[test]
fn a_page_of_a_block_is_given_back_alone() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let block = (Plan::RAM_PAGE & !511) + 512;
    let pfn = scene.map(vm, block, 9).expect("mapped");
    while scene.call(Call::VmReclaimPool, &[vm]).is_ok() {}
    let call = Step::Hvc([KVM_MEM_RELINQUISH.into(), (block + 3) << 12, 0, 0]);
    assert_eq!(scene.run(vm, 0, &[call]), Ok(exit::POOL));
    scene
        .call(Call::VmDonate, &[vm, scene.frame() << 12, 1])
        .expect("donated");
    assert_eq!(scene.run(vm, 0, &[]), Ok(exit::RELINQUISH));
    for n in [0, 2, 4, 511] {
        assert_eq!(scene.load((pfn + n) << 12), None);
    }
    assert_eq!(scene.load((pfn + 3) << 12), Some(0));
    scene.check();
}
