//! CPUs that race each other, under shuttle: at every lock, table write, invalidation, zeroing
//! and guest instruction another CPU may go on. After each schedule all must be quiet and sound.
//!
//! `WARD_SCHEDULES` chooses how many schedules each race gets.

use hyp_core::abi::Call;
use hyp_core::abi::Error;
use hyp_core::abi::error::AGAIN;
use hyp_core::abi::run::exit;
use hyp_core::abi::smccc::{KVM_MEM_SHARE, KVM_MEM_UNSHARE};
use hyp_core::addr::{Ipa, VcpuId};
use hyp_core::machine::Mutex;
use hyp_core::memory::{HostFault, HostFaultAction};
use std::cell::Cell;
use std::sync::Arc;
use ward_tests::fake::{Event, Program, STREAMS, Sched, Step};
use ward_tests::harness::{IMAGE, Plan, Scene, Shape, World, check_all, spec_of, ward_agrees};
use ward_tests::spec::Owner;

/// CPUs as shuttle's threads.
struct Shuttle;

/// A lock at which shuttle decides who goes on.
struct Lock<T>(shuttle::sync::Mutex<T>);

impl<T: Send> Mutex<T> for Lock<T> {
    type Guard<'a>
        = shuttle::sync::MutexGuard<'a, T>
    where
        T: 'a;

    fn new(value: T) -> Self {
        Lock(shuttle::sync::Mutex::new(value))
    }

    fn lock(&self) -> Self::Guard<'_> {
        self.0.lock().expect("no CPU panicked")
    }
}

shuttle::thread_local! {
    static CPU: Cell<u16> = Cell::new(0);
}

thread_local! {
    /// While a scene is set up nobody races; shuttle runs all its threads on one of the system's.
    static RACING: Cell<bool> = const { Cell::new(false) };
}

impl Sched for Shuttle {
    type Mutex<T: Send> = Lock<T>;

    fn point() {
        if RACING.get() {
            shuttle::thread::yield_now();
        }
    }

    fn cpu() -> u16 {
        CPU.with(Cell::get)
    }

    fn set_cpu(cpu: u16) {
        CPU.with(|it| it.set(cpu));
    }
}

type Race = Scene<Shuttle>;
type Cpu = Box<dyn FnOnce(&World<Shuttle>) + Send>;

fn scene() -> Race {
    scene_with(None)
}

/// The same with SMMUs, if they have a width.
fn scene_with(smmu: Option<u8>) -> Race {
    RACING.set(false);
    Scene::new(Shape {
        ram: [(0x4_0000, 1100), (0x8_0103, 16)],
        vms: 2,
        smmu,
        ..Shape::default()
    })
}

/// A host call.
fn call(world: &World<Shuttle>, call: Call, args: &[u64]) -> Result<u64, Error> {
    let mut x = [0; 8];
    x[0] = call.function_id().into();
    x[1..=args.len()].copy_from_slice(args);
    world.ward.host_call(&mut x);
    match Error::from_code(x[0] as i64) {
        Some(error) => Err(error),
        None if x[0] as i64 == AGAIN => Ok(u64::MAX),
        None => Ok(x[1]),
    }
}

/// A host access with the aborts it takes.
fn access(world: &World<Shuttle>, pa: u64, write: Option<u64>) -> Option<u64> {
    for _ in 0..20 {
        let access = match write {
            Some(value) => world.fake.host_write(pa, value).map(|()| value),
            None => world.fake.host_read(pa),
        };
        match access {
            Ok(value) => return Some(value),
            Err(fault) => {
                let fault = HostFault {
                    ipa: Ipa::containing(pa),
                    permission: fault.permission,
                };
                if world.ward.host_fault(fault) == HostFaultAction::Abort {
                    return None;
                }
            }
        }
    }
    panic!("the host faults for ever at {pa:#x}");
}

/// What a vCPU executes at its next run; it must not have run before.
fn program(world: &World<Shuttle>, vm: u64, vcpu: u64, steps: Vec<Step>) {
    let program = Program::new(Plan::RAM_PAGE << 12, steps);
    world
        .fake
        .state()
        .programs
        .insert((vm as u16, VcpuId(vcpu as u8).mpidr()), program);
}

/// Lets the CPUs race, then checks what is left.
fn race(scene: &Race, cpus: Vec<Cpu>) {
    let world = &scene.world;
    RACING.set(true);
    let threads: Vec<_> = cpus
        .into_iter()
        .enumerate()
        .map(|(n, cpu)| {
            let world = world.clone();
            shuttle::thread::spawn(move || {
                Shuttle::set_cpu(n as u16 + 1);
                cpu(&world);
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no CPU panicked");
    }
    RACING.set(false);
    assert_eq!(world.fake.violations(), Vec::<String>::new());
    let spec = spec_of(world).unwrap_or_else(|text| panic!("{text}"));
    check_all(&spec, &world.fake).unwrap_or_else(|text| panic!("{text}"));
    ward_agrees(world).unwrap_or_else(|text| panic!("{text}"));
}

fn explore(test: fn()) {
    let schedules = std::env::var("WARD_SCHEDULES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(60);
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 20;
    config.max_steps = shuttle::MaxSteps::FailAfter(5_000_000);
    let seed = std::env::var("WARD_SEED")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(7);
    let scheduler = shuttle::scheduler::RandomScheduler::new_from_seed(seed, schedules);
    shuttle::Runner::new(scheduler, config).run(test);
}

/// Counts successes of racing CPUs.
fn counter() -> (
    Arc<std::sync::atomic::AtomicU64>,
    impl Fn(&Arc<std::sync::atomic::AtomicU64>) -> u64,
) {
    (Arc::default(), |it| {
        it.load(std::sync::atomic::Ordering::Relaxed)
    })
}

fn add(it: &Arc<std::sync::atomic::AtomicU64>) {
    it.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

#[test]
fn one_frame_given_to_two_vms() {
    explore(|| {
        let scene = scene();
        let vms = [scene.protected(1), scene.protected(1)];
        let pfn = scene.frame();
        let (won, count) = counter();
        let cpus = vms.map(|vm| {
            let won = won.clone();
            let cpu = move |world: &World<Shuttle>| {
                if call(
                    world,
                    Call::VmMap,
                    &[vm, (Plan::RAM_PAGE + 9) << 12, pfn << 12, 0, 3],
                )
                .is_ok()
                {
                    add(&won);
                }
            };
            Box::new(cpu) as Cpu
        });
        race(&scene, cpus.into());
        assert_eq!(count(&won), 1);
    });
}

#[test]
fn a_frame_taken_while_the_host_writes() {
    explore(|| {
        let scene = scene();
        let vm = scene.protected(1);
        let pfn = scene.frame();
        let taker = move |world: &World<Shuttle>| {
            call(
                world,
                Call::VmMap,
                &[vm, (Plan::RAM_PAGE + 9) << 12, pfn << 12, 0, 3],
            )
            .expect("mapped");
        };
        let writer = move |world: &World<Shuttle>| {
            for n in 1..6 {
                access(world, pfn << 12, Some(n));
            }
        };
        race(
            &scene,
            vec![Box::new(taker), Box::new(writer), Box::new(writer)],
        );
        // Whatever the host wrote came before the zeroing.
        assert_eq!(scene.world.fake.state().ram.word(pfn, 0), 0);
    });
}

#[test]
fn a_pool_frame_and_guest_memory() {
    explore(|| {
        let scene = scene();
        let vm = scene.protected(1);
        let pfn = scene.frame();
        let (won, count) = counter();
        let (a, b) = (won.clone(), won.clone());
        let donate = move |world: &World<Shuttle>| {
            if call(world, Call::VmDonate, &[vm, pfn << 12, 1]).is_ok() {
                add(&a);
            }
        };
        let map = move |world: &World<Shuttle>| {
            if call(
                world,
                Call::VmMap,
                &[vm, (Plan::RAM_PAGE + 9) << 12, pfn << 12, 0, 3],
            )
            .is_ok()
            {
                add(&b);
            }
        };
        let read = move |world: &World<Shuttle>| {
            for _ in 0..4 {
                access(world, pfn << 12, None);
            }
        };
        race(
            &scene,
            vec![Box::new(donate), Box::new(map), Box::new(read)],
        );
        assert_eq!(count(&won), 1);
    });
}

#[test]
fn images_change_while_they_are_verified() {
    explore(|| {
        let scene = scene();
        let vm = scene.vm(true, 1);
        let plan = scene.plan(1, IMAGE);
        scene.boot_info(vm, &plan).expect("good");
        for page in 0..3 {
            scene.remap(vm, &plan, 0, page).expect("taken");
        }
        let last = scene.frame();
        scene.world.fill(last, &plan.images[1][0]).expect("filled");
        let good: Vec<(u16, u64)> = plan.images[1][0]
            .iter()
            .map(|(n, word)| (*n, *word))
            .collect();
        let remap = move |world: &World<Shuttle>| {
            call(world, Call::VmRemapImage, &[vm, 1, 0, last << 12, 0]).expect("taken");
        };
        let verify = move |world: &World<Shuttle>| {
            for _ in 0..6 {
                let _ = call(world, Call::VmVerifyImages, &[vm]);
            }
        };
        let tamper = move |world: &World<Shuttle>| {
            for n in 0..4 {
                access(world, (last << 12) + 8 * n, Some(0xbad));
            }
        };
        race(
            &scene,
            vec![Box::new(remap), Box::new(verify), Box::new(tamper)],
        );
        let spec = spec_of(&scene.world).expect("sound");
        if spec.vms[&(vm as u16)].life == ward_tests::spec::Life::Verified {
            let state = scene.world.fake.state();
            for n in 0..512 {
                let want = good
                    .iter()
                    .find(|(at, _)| *at == n)
                    .map_or(0, |(_, word)| *word);
                assert_eq!(
                    state.ram.word(last, n.into()),
                    want,
                    "verified is not what is there"
                );
            }
        }
    });
}

#[test]
fn a_vm_destroyed_while_it_runs() {
    explore(|| {
        let scene = scene();
        let vm = scene.protected(2);
        scene.map(vm, Plan::RAM_PAGE + 9, 0).expect("mapped");
        let store = Step::Store {
            ipa: (Plan::RAM_PAGE + 9) << 12,
            rt: 1,
            value: 0x5ec2e7,
        };
        program(
            &scene.world,
            vm,
            0,
            vec![store, Step::Irq, store, Step::Wfi, store],
        );
        let run = move |world: &World<Shuttle>| {
            for _ in 0..3 {
                let _ = call(world, Call::VcpuRun, &[vm, 0]);
            }
        };
        let destroy = move |world: &World<Shuttle>| {
            let _ = call(world, Call::VmPowerOff, &[vm]);
            for _ in 0..200 {
                match call(world, Call::VmDestroy, &[vm]) {
                    Ok(0) => break,
                    Ok(_) | Err(Error::Busy) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        };
        race(
            &scene,
            vec![Box::new(run), Box::new(run), Box::new(destroy)],
        );
        let spec = spec_of(&scene.world).expect("sound");
        if spec.vms.is_empty() {
            let state = scene.world.fake.state();
            for (pfn, owner) in &spec.owners {
                assert!(
                    matches!(owner, Owner::Host | Owner::Ward(0)),
                    "{pfn:#x} of {owner:?}"
                );
                assert!(
                    (0..8).all(|n| state.ram.word(*pfn, n) != 0x5ec2e7),
                    "a secret in {pfn:#x}"
                );
            }
        }
    });
}

#[test]
fn power_off_stops_new_runs() {
    explore(|| {
        let scene = scene();
        let vm = scene.protected(1);
        program(&scene.world, vm, 0, vec![Step::Set(9, 1); 8]);
        let run = move |world: &World<Shuttle>| {
            for _ in 0..3 {
                let result = call(world, Call::VcpuRun, &[vm, 0]);
                assert!(
                    matches!(result, Ok(_) | Err(Error::BadState | Error::Busy)),
                    "{result:?}"
                );
            }
        };
        let off = move |world: &World<Shuttle>| {
            call(world, Call::VmPowerOff, &[vm]).expect("off");
            let late = call(world, Call::VcpuRun, &[vm, 0]);
            assert!(
                matches!(late, Ok(exit::SYSTEM_OFF) | Err(Error::Busy)),
                "{late:?}"
            );
        };
        race(&scene, vec![Box::new(run), Box::new(run), Box::new(off)]);
    });
}

#[test]
fn sharing_while_the_host_reads_and_reclaims() {
    explore(|| {
        let scene = scene();
        let vm = scene.protected(1);
        let page = Plan::RAM_PAGE + 9;
        let pfn = scene.map(vm, page, 0).expect("mapped");
        let ipa = page << 12;
        let share = Step::Hvc([KVM_MEM_SHARE.into(), ipa, 0, 0]);
        let unshare = Step::Hvc([KVM_MEM_UNSHARE.into(), ipa, 0, 0]);
        let store = |value| Step::Store { ipa, rt: 1, value };
        // What is there while shared is public; the secret comes after the page is private again.
        program(
            &scene.world,
            vm,
            0,
            vec![share, store(1), unshare, store(0x5ec2e7), Step::Wfi],
        );
        let run = move |world: &World<Shuttle>| {
            let _ = call(world, Call::VcpuRun, &[vm, 0]);
        };
        let read = move |world: &World<Shuttle>| {
            for _ in 0..6 {
                assert_ne!(
                    access(world, pfn << 12, None),
                    Some(0x5ec2e7),
                    "the host reads a secret"
                );
            }
        };
        let reclaim = move |world: &World<Shuttle>| {
            let _ = call(world, Call::VmPowerOff, &[vm]);
            for _ in 0..10 {
                let _ = call(world, Call::VmClearRange, &[vm, pfn << 12, 1]);
            }
        };
        race(
            &scene,
            vec![Box::new(run), Box::new(read), Box::new(reclaim)],
        );
    });
}

#[test]
fn two_vcpus_share_and_unshare_one_page() {
    explore(|| {
        let scene = scene();
        let vm = scene.protected(2);
        let page = Plan::RAM_PAGE + 9;
        let pfn = scene.map(vm, page, 0).expect("mapped");
        let on = Step::Hvc([0xc400_0003, 1, Plan::RAM_PAGE << 12, 0]);
        scene.run(vm, 0, &[on]).expect("runs");
        let share = Step::Hvc([KVM_MEM_SHARE.into(), page << 12, 0, 0]);
        let unshare = Step::Hvc([KVM_MEM_UNSHARE.into(), page << 12, 0, 0]);
        scene
            .world
            .program(vm as u16, 0, &[share, unshare, share, unshare]);
        program(&scene.world, vm, 1, vec![share, unshare, share]);
        let run = |vcpu: u64| {
            Box::new(move |world: &World<Shuttle>| {
                call(world, Call::VcpuRun, &[vm, vcpu]).expect("runs");
            }) as Cpu
        };
        let read = move |world: &World<Shuttle>| {
            for _ in 0..5 {
                access(world, pfn << 12, None);
            }
        };
        race(&scene, vec![run(0), run(1), Box::new(read)]);
    });
}

#[test]
fn a_block_lent_split_and_unmapped() {
    explore(|| {
        let scene = scene();
        let vm = scene.vm(false, 1);
        let page = Plan::RAM_PAGE;
        scene.map(vm, page, 9).expect("mapped");
        let change = move |world: &World<Shuttle>| {
            call(world, Call::VmUnmap, &[vm, (page + 3) << 12, 0]).expect("unmapped");
            call(world, Call::VmWriteProtect, &[vm, (page + 4) << 12, 0]).expect("protected");
        };
        let age = move |world: &World<Shuttle>| {
            for n in 4..7 {
                call(world, Call::VmAge, &[vm, (page + n) << 12, 0]).expect("mapped");
            }
        };
        let guest = move |world: &World<Shuttle>| {
            for n in 0..6 {
                let _ = world.fake.guest_write(vm as u16, (page + n) << 12, n);
                Shuttle::point();
            }
        };
        race(
            &scene,
            vec![Box::new(change), Box::new(age), Box::new(guest)],
        );
    });
}

#[test]
fn a_range_unmapped_while_its_frames_are_taken_and_lent() {
    explore(|| {
        let scene = scene();
        let vm = scene.vm(false, 1);
        let page = Plan::RAM_PAGE + 1;
        let pfns: Vec<u64> = (0..3)
            .map(|n| scene.map(vm, page + n, 0).expect("mapped"))
            .collect();
        let frames = pfns.clone();
        let unmap = move |world: &World<Shuttle>| {
            let changed = call(world, Call::VmUnmapRange, &[vm, page << 12, 0, 8]);
            assert!(matches!(changed, Ok(3 | 4)), "{changed:?}");
        };
        // Given away the moment the loan has ended: the fake fails a zeroing of what a TLB holds.
        let take = move |world: &World<Shuttle>| {
            for pfn in &frames {
                let _ = call(world, Call::VmDonate, &[vm, pfn << 12, 1]);
            }
        };
        let again = move |world: &World<Shuttle>| {
            let _ = call(
                world,
                Call::VmMap,
                &[vm, (page + 5) << 12, pfns[2] << 12, 0, 3],
            );
            for n in 0..3 {
                let _ = world.fake.guest_write(vm as u16, (page + n) << 12, n);
                Shuttle::point();
            }
            let _ = call(world, Call::VmProtect, &[vm, page << 12, 0, 8, 0, 1]);
        };
        race(
            &scene,
            vec![Box::new(unmap), Box::new(take), Box::new(again)],
        );
    });
}

#[test]
fn one_number_for_two_new_vms() {
    explore(|| {
        let scene = scene();
        let roots = scene.world.inner().spec.setup.root_frames;
        let both = scene.idle(4 * roots + 4, 2 * roots);
        let (won, count) = counter();
        let cpus = [0, 1].map(|n| {
            let won = won.clone();
            let cpu = move |world: &World<Shuttle>| {
                let (root, record) = (both + n * roots, both + 2 * roots + 2 * n);
                let vm = call(world, Call::VmRegister, &[1, record << 12, root << 12, 1]);
                let vm = vm.expect("there are two numbers");
                assert_eq!(call(world, Call::StatRead, &[vm, 16]), Ok(2));
                // The fake does not know this table: the VM goes before anybody looks.
                call(world, Call::VmPowerOff, &[vm]).expect("off");
                assert_eq!(call(world, Call::VmDestroy, &[vm]), Ok(0));
                add(&won);
            };
            Box::new(cpu) as Cpu
        });
        race(&scene, cpus.into());
        assert_eq!(count(&won), 2);
    });
}

#[test]
fn invariants_checked_while_frames_come_and_go() {
    explore(|| {
        let scene = scene();
        let vm = scene.protected(1);
        let other = scene.vm(false, 1);
        let pfn = scene.frame();
        let page = (Plan::RAM_PAGE + 9) << 12;
        let give = move |world: &World<Shuttle>| {
            // Refused when the other CPU lent the frame first.
            let _ = call(world, Call::VmMap, &[vm, page, pfn << 12, 0, 3]);
            call(world, Call::VmPowerOff, &[vm]).expect("off");
            while call(world, Call::VmDestroy, &[vm]) == Ok(u64::MAX) {}
        };
        let lend = move |world: &World<Shuttle>| {
            let _ = call(world, Call::VmMap, &[other, page, pfn << 12, 0, 3]);
            let _ = call(world, Call::VmUnmap, &[other, page, 0]);
            let _ = call(world, Call::VmReclaimPool, &[other]);
        };
        let check = move |world: &World<Shuttle>| {
            for _ in 0..2 {
                ward_agrees(world).unwrap_or_else(|text| panic!("while others call: {text}"));
            }
        };
        race(
            &scene,
            vec![Box::new(give), Box::new(lend), Box::new(check)],
        );
    });
}

#[test]
fn a_frame_taken_while_devices_write() {
    explore(|| {
        let scene = scene_with(Some(40));
        let vm = scene.protected(1);
        let pfn = scene.frame();
        let taker = move |world: &World<Shuttle>| {
            let args = [vm, (Plan::RAM_PAGE + 9) << 12, pfn << 12, 0, 3];
            call(world, Call::VmMap, &args).expect("mapped");
            // From here on it is the guest's.
            assert_eq!(world.fake.state().ram.word(pfn, 0), 0);
        };
        let device = |stream| {
            move |world: &World<Shuttle>| {
                for n in 1..8 {
                    let _ = world.fake.dma(stream, pfn << 12, Some(n));
                }
            }
        };
        race(
            &scene,
            vec![
                Box::new(taker),
                Box::new(device(STREAMS[0])),
                Box::new(device(STREAMS[3])),
            ],
        );
        assert_eq!(scene.world.fake.state().ram.word(pfn, 0), 0);
        let after = scene.world.fake.dma(STREAMS[0], pfn << 12, None);
        assert!(after.is_err(), "{after:?}");
    });
}

#[test]
fn a_page_unshared_and_shared_while_a_device_writes() {
    explore(|| {
        let scene = scene_with(Some(40));
        let vm = scene.protected(1);
        let page = Plan::RAM_PAGE + 9;
        let pfn = scene.map(vm, page, 0).expect("mapped");
        let ipa = page << 12;
        let ask = |function: u32| Step::Hvc([function.into(), ipa, 0, 0]);
        let store = |value| Step::Store { ipa, rt: 1, value };
        let load = Step::Load { ipa, rt: 2 };
        let (share, unshare) = (ask(KVM_MEM_SHARE), ask(KVM_MEM_UNSHARE));
        program(
            &scene.world,
            vm,
            0,
            vec![
                share,
                store(1),
                unshare,
                store(0x5ec2e7),
                load,
                share,
                unshare,
                load,
                Step::Wfi,
            ],
        );
        let run = move |world: &World<Shuttle>| {
            call(world, Call::VcpuRun, &[vm, 0]).expect("runs");
        };
        let device = move |world: &World<Shuttle>| {
            for n in 2..10 {
                let _ = world.fake.dma(STREAMS[1], pfn << 12, Some(n));
            }
        };
        race(&scene, vec![Box::new(run), Box::new(device)]);
        // Its own again, it reads what it wrote.
        let loads: Vec<u64> = scene
            .events(vm, 0)
            .into_iter()
            .filter_map(|event| match event {
                Event::Loaded(value) => Some(value),
                _ => None,
            })
            .collect();
        assert_eq!(loads.first(), Some(&0x5ec2e7), "{loads:x?}");
        assert_eq!(loads.len(), 2);
    });
}

#[test]
fn an_smmu_is_lost_while_frames_are_taken() {
    explore(|| {
        let scene = scene_with(Some(40));
        let vm = scene.protected(1);
        let frames = [scene.frame(), scene.frame() - 1];
        let taker = |n: u64| {
            let pfn = frames[n as usize];
            move |world: &World<Shuttle>| {
                let args = [vm, (Plan::RAM_PAGE + 9 + n) << 12, pfn << 12, 0, 3];
                match call(world, Call::VmMap, &args) {
                    Ok(_) | Err(Error::DeviceLost) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        };
        let device = move |world: &World<Shuttle>| {
            for pfn in frames {
                let _ = world.fake.dma(STREAMS[2], pfn << 12, Some(3));
            }
            world.fake.state().dma.failing = true;
            for pfn in frames {
                let _ = world.fake.dma(STREAMS[2], pfn << 12, Some(4));
            }
        };
        race(
            &scene,
            vec![Box::new(taker(0)), Box::new(taker(1)), Box::new(device)],
        );
    });
}
