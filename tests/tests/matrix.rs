//! The ownership matrix of hyp-core's documentation, enumerated: every state of a frame against
//! every operation, and what the frame is afterwards.

use hyp_core::abi::Call;
use hyp_core::abi::Error;
use hyp_core::abi::smccc::{KVM_MEM_RELINQUISH, KVM_MEM_SHARE, KVM_MEM_UNSHARE};
use hyp_core::addr::Pfn;
use hyp_core::memory::FrameState;
use hyp_core::memory::matrix::{MATRIX, Operation, Outcome, STATES, State};
use std::cell::Cell;
use ward_tests::fake::{STREAMS, Step};
use ward_tests::harness::{HYP_DEVICE, Plan, Scene, Shape, free_device};

/// A machine with a VM that asks, another one, a normal one, and one that is still being built.
struct Stage {
    scene: Scene,
    own: u64,
    other: u64,
    normal: u64,
    built: u64,
    next_page: Cell<u64>,
    next_vcpu: Cell<u64>,
    next_device: Cell<u64>,
}

impl Stage {
    fn new() -> Self {
        let scene = Scene::new(Shape {
            smmu: Some(40),
            ..Shape::default()
        });
        let args = [STREAMS[0].smmu.into(), STREAMS[0].stream.into(), 0];
        scene.call(Call::SmmuAlloc, &args).expect("allocated");
        let (own, other) = (scene.protected(1), scene.protected(1));
        let roots = scene.world.inner().spec.setup.root_frames;
        let root = scene.idle(roots, roots);
        let record = scene.idle(roots + 2, 1) - 4;
        let normal = scene
            .call(Call::VmRegister, &[0, record << 12, root << 12, 64])
            .expect("registered");
        scene
            .call(Call::VmDonate, &[normal, scene.idle(12, 1) << 12, 12])
            .expect("donated");
        let built = scene.vm(true, 1);
        Stage {
            scene,
            own,
            other,
            normal,
            built,
            next_page: Cell::new(Plan::RAM_PAGE + 16),
            next_vcpu: Cell::new(0),
            next_device: Cell::new(0),
        }
    }

    fn next(cell: &Cell<u64>) -> u64 {
        cell.replace(cell.get() + 1)
    }

    fn page(&self) -> u64 {
        Self::next(&self.next_page)
    }

    fn pin(&self, pfn: u64) -> Result<u64, Error> {
        let vcpu = Self::next(&self.next_vcpu);
        let record = (0..4)
            .map(|n| self.scene.idle(4, 1) + n)
            .find(|record| *record != pfn)
            .expect("one of two");
        self.scene.call(
            Call::VcpuRegister,
            &[self.normal, vcpu, record << 12, pfn << 12],
        )
    }

    fn lend(&self, pfn: u64) -> Result<u64, Error> {
        self.scene.call(
            Call::VmMap,
            &[self.normal, self.page() << 12, pfn << 12, 0, 3],
        )
    }

    /// A guest's call; `true` for success.
    fn guest(&self, vm: u64, function: u32, page: u64) -> bool {
        let seen = self
            .scene
            .world
            .fake
            .state()
            .programs
            .get(&(vm as u16, 1 << 31))
            .map_or(0, |p| p.events.len());
        assert_eq!(seen, 0);
        self.scene
            .run(vm, 0, &[Step::Hvc([function.into(), page << 12, 0, 0])])
            .expect("it runs");
        self.scene.world.inner().spec.vcpu(vm as u16, 0).x[0] == 0
    }

    /// A frame in this state, and the page at which its owner sees it.
    fn make(&self, state: State) -> (u64, u64) {
        let page = self.page();
        let pfn = match state {
            State::HostIdle => self.scene.frame(),
            State::HostPinned | State::HostBoth => {
                let pfn = self.scene.frame();
                self.pin(pfn).expect("pinned");
                if state == State::HostBoth {
                    self.lend(pfn).expect("lent");
                }
                pfn
            }
            State::HostLent => {
                let pfn = self.scene.frame();
                self.lend(pfn).expect("lent");
                pfn
            }
            State::Hyp => self.scene.world.inner().spec.vms[&(self.own as u16)].record,
            State::OwnPrivate | State::OwnShared => {
                self.scene.map(self.own, page, 0).expect("mapped")
            }
            State::OtherPrivate | State::OtherShared => {
                self.scene.map(self.other, page, 0).expect("mapped")
            }
            State::Device => free_device(Self::next(&self.next_device)),
            State::HypDevice => HYP_DEVICE,
        };
        match state {
            State::OwnShared => assert!(self.guest(self.own, KVM_MEM_SHARE, page)),
            State::OtherShared => assert!(self.guest(self.other, KVM_MEM_SHARE, page)),
            _ => {}
        }
        (pfn, page)
    }

    /// What Ward's records say the frame is.
    fn state(&self, pfn: u64) -> State {
        let record = self.scene.world.ward.frame_state(Pfn(pfn));
        match record {
            Some(FrameState::Host { pins: 0, lent: 0 }) => State::HostIdle,
            Some(FrameState::Host { lent: 0, .. }) => State::HostPinned,
            Some(FrameState::Host { pins: 0, .. }) => State::HostLent,
            Some(FrameState::Host { .. }) => State::HostBoth,
            Some(FrameState::Hyp { .. }) => State::Hyp,
            Some(FrameState::Vm { vm, shared, .. }) => {
                match (u64::from(vm.0) == self.own, shared) {
                    (true, false) => State::OwnPrivate,
                    (true, true) => State::OwnShared,
                    (false, false) => State::OtherPrivate,
                    (false, true) => State::OtherShared,
                }
            }
            None if pfn == HYP_DEVICE => State::HypDevice,
            None => State::Device,
        }
    }

    fn outcome(&self, pfn: u64, before: State, result: Result<u64, Error>) -> Outcome {
        let after = self.state(pfn);
        match result {
            Err(error) => {
                assert_eq!(before, after, "refused, yet changed");
                Outcome::Refused(error)
            }
            Ok(_)
                if after == before
                    && before != State::HostPinned
                    && before != State::HostLent
                    && before != State::HostBoth =>
            {
                Outcome::Allowed
            }
            Ok(_) => Outcome::To(after),
        }
    }

    /// Does it and says what came of it, in the matrix's words.
    fn perform(&self, operation: Operation, state: State) -> Outcome {
        let (pfn, page) = self.make(state);
        assert_eq!(self.state(pfn), state);
        let (pa, scene) = (pfn << 12, &self.scene);
        match operation {
            Operation::TakeForHyp => {
                self.outcome(pfn, state, scene.call(Call::VmDonate, &[self.own, pa, 1]))
            }
            Operation::TakeForVm => {
                let result = scene.call(Call::VmMap, &[self.own, self.page() << 12, pa, 0, 3]);
                self.outcome(pfn, state, result)
            }
            Operation::MapDma => {
                let [smmu, stream] = [STREAMS[0].smmu.into(), STREAMS[0].stream.into()];
                let args = [smmu, stream, self.page() << 12, pa, 0, 3];
                self.outcome(pfn, state, scene.call(Call::SmmuMap, &args))
            }
            Operation::Pin => self.outcome(pfn, state, self.pin(pfn)),
            Operation::Lend => self.outcome(pfn, state, self.lend(pfn)),
            Operation::HostRead => match scene.call(Call::VmSetBootInfo, &[self.built, pa, 100]) {
                // It was read, and is no manifest.
                Err(Error::BadManifest) => Outcome::Allowed,
                result => self.outcome(pfn, state, result),
            },
            Operation::MapIo => {
                let result = scene.call(
                    Call::VmMapIo,
                    &[self.normal, (0x9_000 + self.page()) << 12, pa, 1],
                );
                self.outcome(pfn, state, result)
            }
            Operation::Share | Operation::Unshare | Operation::Relinquish => {
                let mappers = scene.world.fake.state().tables.mappers(pfn);
                if !mappers.iter().any(|(vm, _)| u64::from(*vm) == self.own) {
                    return Outcome::NoName;
                }
                let function = match operation {
                    Operation::Share => KVM_MEM_SHARE,
                    Operation::Unshare => KVM_MEM_UNSHARE,
                    _ => KVM_MEM_RELINQUISH,
                };
                let done = self.guest(self.own, function, page);
                // A guest's refusal has a number of its own.
                self.outcome(pfn, state, if done { Ok(0) } else { Err(Error::Denied) })
            }
            Operation::HostAccess => {
                let value = scene.load(pa);
                assert_eq!(self.state(pfn), state);
                if value.is_some() {
                    Outcome::Allowed
                } else {
                    Outcome::Abort
                }
            }
            Operation::Reclaim => unreachable!("needs a VM that is off"),
        }
    }
}

#[test]
fn every_operation_on_every_state() {
    let stage = Stage::new();
    let mut wrong = Vec::new();
    for (operation, row) in MATRIX
        .iter()
        .filter(|(operation, _)| *operation != Operation::Reclaim)
    {
        for (state, want) in STATES.iter().zip(row) {
            let have = stage.perform(*operation, *state);
            if have != *want {
                wrong.push(format!(
                    "{operation:?} of {state:?}: {have:?}, documented is {want:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    stage.scene.check();
}

#[test]
fn reclaim_of_every_state() {
    let stage = Stage::new();
    let mut frames: Vec<(u64, u64)> = STATES.iter().map(|state| stage.make(*state)).collect();
    // An idle frame stays one only if it is the last that is looked for.
    frames[0] = stage.make(State::HostIdle);
    stage
        .scene
        .call(Call::VmPowerOff, &[stage.own])
        .expect("off");
    let row = MATRIX
        .iter()
        .find(|(operation, _)| *operation == Operation::Reclaim)
        .expect("a row")
        .1;
    for ((state, want), (pfn, _)) in STATES.iter().zip(row).zip(frames) {
        assert_eq!(stage.state(pfn), *state);
        let result = stage
            .scene
            .call(Call::VmClearRange, &[stage.own, pfn << 12, 1]);
        let have = match result {
            Ok(0) => Outcome::Passed,
            result => stage.outcome(pfn, *state, result),
        };
        assert_eq!(have, want, "reclaim of {state:?}");
    }
    stage.scene.check();
}
