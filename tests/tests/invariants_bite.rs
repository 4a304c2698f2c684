//! Each invariant is broken here on purpose, behind Ward's back, and must be seen to be broken.
//! A checker that accepts everything would pass all other tests.

use hyp_core::abi::Call;
use hyp_core::addr::{Ipa, Pfn, Size, VmId};
use hyp_core::inspect::Rule;
use hyp_core::machine::{Machine, RunParams, Stage2Root, TableMemory, TlbScope};
use hyp_core::vcpu::context::Context;
use ward_tests::harness::{Plan, Scene, check_all};
use ward_tests::spec::Owner;

/// The page that most of these machines have mapped.
const PAGE_NUMBER: u64 = Plan::RAM_PAGE + 9;

/// A machine with a verified VM, that has a frame at [`PAGE_NUMBER`].
fn with_a_page() -> (Scene, u64, u64) {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let pfn = scene.map(vm, PAGE_NUMBER, 0).expect("mapped");
    (scene, vm, pfn)
}

/// What the invariants say now, by name.
fn broken(scene: &Scene) -> Option<String> {
    check_all(&scene.world.inner().spec, &scene.world.fake).err()
}

fn assert_broken(scene: &Scene, name: &str) {
    let text = broken(scene).unwrap_or_else(|| panic!("{name} is broken and nobody noticed"));
    assert!(text.starts_with(name), "{name} is broken, but: {text}");
}

/// The table entry of the last level that maps, or could map, a page.
fn entry_of(scene: &Scene, vm: u16, ipa: u64) -> (Pfn, usize) {
    let state = scene.world.fake.state();
    let tables = state.tables.tables_of(vm).into_iter();
    let last = tables.filter_map(|pfn| Some((pfn, state.tables.live_table(pfn)?)));
    let mut last = last.filter(|(_, (_, level, base))| *level == 3 && ipa >> 21 == base >> 21);
    (
        Pfn(last.next().expect("a table for this page").0),
        (ipa >> 12 & 511) as usize,
    )
}

const PAGE: u64 = 3 | 0b1111 << 2 | 3 << 6 | 3 << 8 | 1 << 10;

/// Writes a valid leaf into a hole, as a bug in Ward would.
fn forge(scene: &Scene, vm: u16, ipa: u64, pfn: u64) {
    let (table, index) = entry_of(scene, vm, ipa);
    scene.world.fake.write_entry(table, index, pfn << 12 | PAGE);
    scene.world.fake.publish();
}

/// What Ward itself must find broken, as test images are asked to while they run.
fn assert_ward_sees(scene: &Scene, rule: Rule, words: &str) {
    let found = scene.world.ward.check_invariants();
    let found = found.expect_err("Ward finds nothing broken");
    assert_eq!(found.rule, rule, "{found}");
    assert!(found.to_string().contains(words), "{found}");
}

#[test]
fn a_sound_machine_passes() {
    let scene = Scene::default();
    let vm = scene.protected(2);
    scene.map(vm, PAGE_NUMBER, 0).expect("mapped");
    let normal = scene.vm(false, 1);
    let lent = scene.frame();
    let page = Plan::RAM_PAGE << 12;
    scene
        .call(Call::VmMap, &[normal, page, lent << 12, 0, 3])
        .expect("lent");
    let checked = scene.world.ward.check_invariants().expect("sound");
    assert_eq!(checked.vms, 2);
    assert!(
        checked.frames > 512 && checked.leaves > 4 && checked.tables > 6,
        "{checked:?}"
    );
    assert_eq!(broken(&scene), None);
    scene.check();
}

#[test]
fn i1_ward_memory_mapped_by_the_host() {
    let scene = Scene::default();
    let vm = scene.vm(true, 1);
    let record = scene.world.inner().spec.vms[&(vm as u16)].record;
    forge(&scene, 0, record << 12, record);
    assert_broken(&scene, "I1");
    assert_ward_sees(&scene, Rule::I1, "the host maps Ward's memory");
}

#[test]
fn i1_ward_memory_mapped_by_a_guest() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let pool = scene.world.inner().spec.setup.hyp[0].0;
    forge(&scene, vm as u16, PAGE_NUMBER << 12, pool);
    assert_broken(&scene, "I1");
    assert_ward_sees(&scene, Rule::I1, "a VM maps Ward's memory");
}

#[test]
fn i1_two_owners() {
    let (scene, _, pfn) = with_a_page();
    scene.world.inner().spec.owners.insert(pfn, Owner::Host);
    assert!(ward_tests::harness::compare_all(&scene.world).is_err());
}

#[test]
fn i2_private_memory_mapped_by_the_host() {
    let (scene, _, pfn) = with_a_page();
    forge(&scene, 0, pfn << 12, pfn);
    assert_broken(&scene, "I2");
    assert_ward_sees(&scene, Rule::I2, &format!("frame {pfn:#x} of Some(Vm"));
}

#[test]
fn i2_not_the_identity() {
    let (scene, _, pfn) = with_a_page();
    forge(&scene, 0, pfn << 12, scene.frame());
    assert_broken(&scene, "I2");
    assert_ward_sees(&scene, Rule::I2, "not one to one");
}

#[test]
fn i3_another_page_of_its_own() {
    let (scene, vm, pfn) = with_a_page();
    forge(&scene, vm as u16, (Plan::RAM_PAGE + 10) << 12, pfn);
    assert_broken(&scene, "I3");
    assert_ward_sees(&scene, Rule::I3, "table of vm");
}

#[test]
fn i3_the_hosts_page() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    forge(
        &scene,
        vm as u16,
        (Plan::RAM_PAGE + 10) << 12,
        scene.frame(),
    );
    assert_broken(&scene, "I3");
    assert_ward_sees(&scene, Rule::I3, "of Some(Host");
}

#[test]
fn i5_returned_but_still_mapped() {
    let (scene, _, pfn) = with_a_page();
    let inner = &mut *scene.world.inner();
    inner.spec.owners.insert(pfn, Owner::Host);
    let state = scene.world.fake.state();
    let scope = ward_tests::harness::Scope {
        frames: vec![pfn],
        leaves: Vec::new(),
    };
    let text = ward_tests::harness::check(&inner.spec, &state, &scope).expect_err("still mapped");
    assert!(text.starts_with("I5"), "{text}");
}

#[test]
fn i5_zeroed_too_early() {
    let (scene, vm, pfn) = with_a_page();
    scene.world.fake.zero_frame(Pfn(pfn));
    assert!(
        !scene.world.fake.violations().is_empty(),
        "zeroed while mapped"
    );
    // Unmapped, but the TLBs were not told.
    let (table, index) = entry_of(&scene, vm as u16, PAGE_NUMBER << 12);
    scene.world.fake.write_entry(table, index, 0);
    scene.world.fake.zero_frame(Pfn(pfn));
    assert!(
        !scene.world.fake.violations().is_empty(),
        "zeroed while TLBs may hold it"
    );
    let ipa = Ipa::containing(PAGE_NUMBER << 12);
    scene
        .world
        .fake
        .tlb_invalidate(VmId(vm as u16), TlbScope::Leaf(ipa, Size::Page));
    scene.world.fake.zero_frame(Pfn(pfn));
    assert_eq!(scene.world.fake.violations(), Vec::<String>::new());
}

#[test]
fn i6_no_invalidation() {
    let (scene, vm, _) = with_a_page();
    let (table, index) = entry_of(&scene, vm as u16, PAGE_NUMBER << 12);
    scene.world.fake.write_entry(table, index, 0);
    assert_broken(&scene, "I6");
}

#[test]
fn i6_the_wrong_invalidation() {
    let (scene, vm, _) = with_a_page();
    scene
        .world
        .fake
        .guest_read(vm as u16, PAGE_NUMBER << 12)
        .expect("mapped");
    let (table, index) = entry_of(&scene, vm as u16, PAGE_NUMBER << 12);
    scene.world.fake.write_entry(table, index, 0);
    let ipa = Ipa::containing(PAGE_NUMBER << 12);
    scene.world.fake.tlb_invalidate(VmId::HOST, TlbScope::All);
    scene
        .world
        .fake
        .tlb_invalidate(VmId(vm as u16), TlbScope::Leaf(ipa, Size::Block2M));
    assert_broken(&scene, "I6");
    assert!(
        scene
            .world
            .fake
            .guest_read(vm as u16, PAGE_NUMBER << 12)
            .is_ok(),
        "the TLB is stale"
    );
    scene
        .world
        .fake
        .tlb_invalidate(VmId(vm as u16), TlbScope::Leaf(ipa, Size::Page));
    assert!(
        scene
            .world
            .fake
            .guest_read(vm as u16, PAGE_NUMBER << 12)
            .is_err()
    );
    assert!(!broken(&scene).is_some_and(|text| text.starts_with("I6")));
}

#[test]
fn i6_not_published() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let (table, index) = entry_of(&scene, vm as u16, PAGE_NUMBER << 12);
    let device = 0xa_000;
    scene
        .world
        .fake
        .write_entry(table, index, device << 12 | 3 | 1 << 2 | 3 << 6 | 1 << 54);
    let text = scene.world.fake.state().tables.unfinished(false);
    assert!(!text.is_empty());
}

#[test]
fn i6_break_before_make() {
    let (scene, vm, _) = with_a_page();
    let (table, index) = entry_of(&scene, vm as u16, PAGE_NUMBER << 12);
    scene
        .world
        .fake
        .write_entry(table, index, scene.frame() << 12 | PAGE);
    assert!(
        !scene.world.fake.violations().is_empty(),
        "replaced in place"
    );
    scene.world.fake.write_entry(table, index, 0);
    scene
        .world
        .fake
        .write_entry(table, index, scene.frame() << 12 | PAGE);
    assert!(
        !scene.world.fake.violations().is_empty(),
        "replaced without an invalidation"
    );
}

#[test]
fn i6_a_table_reused_while_walked() {
    let (scene, vm, _) = with_a_page();
    let (table, _) = entry_of(&scene, vm as u16, PAGE_NUMBER << 12);
    scene.world.fake.zero_frame(table);
    assert!(
        !scene.world.fake.violations().is_empty(),
        "a live table was zeroed"
    );
}

#[test]
fn i7_an_unverified_vm_runs() {
    let scene = Scene::default();
    let vm = scene.vm(true, 1);
    let root = scene.world.inner().spec.vms[&(vm as u16)].root;
    let stage2 = Stage2Root {
        vm: VmId(vm as u16),
        root: Pfn(root),
    };
    let params = RunParams {
        stage2,
        protected: true,
        hcr: 0,
        vsesr: 0,
        cntvoff: 0,
        mpidr: 1 << 31,
    };
    scene
        .world
        .fake
        .load_vcpu(&mut Context::reset(0, 0), &params);
    assert_broken(&scene, "I7");
}

#[test]
fn i8_a_register_in_the_run_page() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let run = scene.run_page(vm, 0);
    // The exit's third argument is a word no exit of a protected VM shows.
    scene
        .world
        .fake
        .write_host_words(Pfn(run), 0x400 + 7 * 8, &[0x5ec2e7]);
    let text = ward_tests::harness::compare_all(&scene.world).expect_err("the run page shows more");
    assert!(text.contains("word"), "{text}");
}

#[test]
fn i9_a_refused_call_that_changes_something() {
    let scene = Scene::default();
    let vm = scene.vm(true, 1);
    // As if the call below had written to a frame of the host's.
    scene
        .world
        .fake
        .write_host_words(Pfn(scene.frame()), 0, &[1]);
    let text = scene
        .world
        .call(Call::VmVerifyImages, &[vm])
        .expect_err("something changed");
    assert!(text.starts_with("I9"), "{text}");
}

#[test]
fn zeroing_forgotten() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let page = PAGE_NUMBER;
    let pfn = scene.map(vm, page, 0).expect("mapped");
    scene
        .world
        .fake
        .guest_write(vm as u16, page << 12, 0x5ec2e7)
        .expect("mapped");
    scene.world.inner().spec.write(pfn, 0, 0x5ec2e7);
    scene.destroy(vm);
    assert_eq!(scene.load(pfn << 12), Some(0), "comes back as zeros");
    // And if it did not:
    scene.world.fake.write_host_words(Pfn(pfn), 0, &[0x5ec2e7]);
    assert!(ward_tests::harness::compare_all(&scene.world).is_err());
}

#[test]
fn a_caches_off_guest_reads_what_memory_holds() {
    let scene = Scene::default();
    let fake = &scene.world.fake;
    let pfn = scene.frame();
    fake.host_write(pfn << 12, 7).expect("mapped");
    assert_eq!(
        fake.state().ram.memory_word(pfn, 0),
        0,
        "still in the cache"
    );
    fake.sync_frame(Pfn(pfn));
    assert_eq!(fake.state().ram.memory_word(pfn, 0), 7);
}

#[test]
fn i1_a_table_page_that_is_not_wards() {
    let scene = Scene::default();
    let vm = scene.protected(1);
    let root = scene.world.inner().spec.vms[&(vm as u16)].root;
    let host_frame = scene.frame();
    let fake = &scene.world.fake;
    let hole = (0..512).find(|n| fake.read_entry(Pfn(root), *n) == 0);
    fake.write_entry(Pfn(root), hole.expect("a hole"), host_frame << 12 | 3);
    assert_ward_sees(&scene, Rule::I1, "a table page is not Ward's");
}

#[test]
fn i3_a_frame_owned_but_not_mapped() {
    let (scene, vm, _) = with_a_page();
    let (table, index) = entry_of(&scene, vm as u16, PAGE_NUMBER << 12);
    scene.world.fake.write_entry(table, index, 0);
    assert_ward_sees(&scene, Rule::I3, "does not map all it owns");
}

#[test]
fn i1_a_pool_that_names_a_frame_of_the_hosts() {
    let scene = Scene::default();
    let vm = scene.vm(true, 1);
    let first = scene
        .world
        .ward
        .inspect_vm(vm, |vm| {
            let mut first = None;
            let pool = &vm.expect("registered").pool;
            let _ = pool.visit(&scene.world.fake, |frame| {
                first = Some(frame);
                Err(())
            });
            first
        })
        .expect("a pool");
    let stray = scene.frame();
    scene.world.fake.write_entry(first, 0, stray << 12);
    assert_ward_sees(&scene, Rule::I1, "pool");
}
