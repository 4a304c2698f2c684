//! A run of a vCPU on both sides, with another CPU's calls in the middle of it.

use super::step::Answer;
use super::{Inner, World};
use crate::fake::{Event, Program, Sched, Step};
use crate::spec::{ANY, Progress};
use hyp_core::abi::Call;
use hyp_core::abi::Error;
use hyp_core::addr::VcpuId;

fn mpidr(vcpu: u64) -> u64 {
    VcpuId(vcpu as u8).mpidr()
}

impl<S: Sched> World<S> {
    /// Appends steps to what a vCPU executes. They wait until it runs.
    pub fn program(&self, vm: u16, vcpu: u64, steps: &[Step]) {
        let mut inner = self.inner();
        self.program_inner(&mut inner, vm, vcpu, steps);
    }

    fn program_inner(&self, inner: &mut Inner, vm: u16, vcpu: u64, steps: &[Step]) {
        let it = inner.spec.vcpu(vm, vcpu);
        it.steps.extend(steps);
        let state = &mut *self.fake.state();
        let program = state.programs.entry((vm, mpidr(vcpu))).or_default();
        if (program.base, program.start) != (it.base, it.starts) {
            *program = Program::new(it.base, Vec::new());
            program.start = it.starts;
        }
        let have = program.steps.len();
        program.steps.extend(&it.steps[have..]);
    }

    /// [`Call::VcpuRun`], with whatever program the vCPU has left.
    ///
    /// # Errors
    /// What Ward did otherwise than specified.
    pub fn run(&self, vm: u64, vcpu: u64) -> Result<Answer, String> {
        self.run_with(vm, vcpu, |_, _| Vec::new())
    }

    /// The same; `more` gives the steps it goes on with, once it is known where it stands.
    ///
    /// # Errors
    /// What Ward did otherwise than specified.
    pub fn run_with(
        &self,
        vm: u64,
        vcpu: u64,
        more: impl FnOnce(&mut Inner, &crate::spec::Vcpu) -> Vec<Step>,
    ) -> Result<Answer, String> {
        let mut inner = self.inner();
        inner.calls += 1;
        inner.note(format!("cpu {} VcpuRun [{vm:x}, {vcpu:x}]", S::cpu()));
        let began = inner.spec.begin_run(vm, vcpu);
        let before = self.pools(inner.spec.setup.max_vm);
        let id = vm as u16;
        if began == Ok(None) {
            let it = inner.spec.vcpu(id, vcpu).clone();
            let steps = more(&mut inner, &it);
            inner.note(format!(
                "  PC {:#x}: {:x?} then {steps:x?}",
                it.pc(),
                &it.steps[it.at..]
            ));
            self.program_inner(&mut inner, id, vcpu, &steps);
        }
        drop(inner);
        let mut x = [Call::VcpuRun.function_id().into(), vm, vcpu, 0, 0, 0, 0, 0];
        let cpu = S::cpu();
        self.ward.host_call(&mut x);
        S::set_cpu(cpu);
        let mut inner = self.inner();
        let inner = &mut *inner;
        let after = self.pools(inner.spec.setup.max_vm);
        let began = match began {
            Err(error) => {
                *inner
                    .tally
                    .entry(format!("VcpuRun: {error:?}"))
                    .or_default() += 1;
                if x[0] as i64 != error.code() {
                    return Err(format!(
                        "VcpuRun returned {:?}, specified is {error:?}",
                        x[0] as i64
                    ));
                }
                let full = inner.full();
                self.compare(&mut inner.spec, true, full)?;
                return Ok(Answer { x });
            }
            Ok(began) => began,
        };
        if x[0] != 0 {
            return Err(format!(
                "VcpuRun returned {:?}, specified is a run",
                Error::from_code(x[0] as i64)
            ));
        }
        let stopped = self.stopped(id, vcpu);
        let out = self.seen(x, vm, &before, &after, stopped, |seen| {
            let spec = &mut inner.spec;
            let out = match began {
                Some(off) => off,
                None => match spec.advance(id, vcpu, seen) {
                    Progress::Exit(out) => out,
                    Progress::Hook => return Err("the guest stopped before its hook".to_string()),
                },
            };
            spec.show(id, vcpu, out, seen);
            Ok(out)
        })?;
        *inner
            .tally
            .entry(format!("VcpuRun: exit {}", out.reason))
            .or_default() += 1;
        if out.reason == hyp_core::abi::run::exit::MEMORY {
            inner.wanted.insert(id, out.ipa >> 12);
        }
        if let Some(failure) = inner.failure.take() {
            return Err(format!("inside the run: {failure}"));
        }
        if x[1] != out.reason {
            return Err(format!(
                "VcpuRun exits with {}, specified is {out:x?}",
                x[1]
            ));
        }
        self.events(inner, id, vcpu)?;
        let full = inner.full();
        self.compare(&mut inner.spec, false, full)?;
        Ok(Answer { x })
    }

    /// Called inside a [`Step::Hook`]: the specification comes to the same point.
    ///
    /// # Errors
    /// When it does not.
    pub fn at_hook(&self, vm: u16, vcpu: u64) -> Result<(), String> {
        let mut inner = self.inner();
        let pools = self.pools(inner.spec.setup.max_vm);
        let progress = self.seen([0; 8], vm.into(), &pools, &pools, None, |seen| {
            inner.spec.advance(vm, vcpu, seen)
        });
        if progress != Progress::Hook {
            return Err(format!("no hook but {progress:?}"));
        }
        self.compare(&mut inner.spec, false, false)
    }

    /// The step a vCPU stands at after a run.
    fn stopped(&self, vm: u16, vcpu: u64) -> Option<usize> {
        let state = self.fake.state();
        let base = state.programs.get(&(vm, mpidr(vcpu)))?.base;
        drop(state);
        self.ward.inspect_vm(vm.into(), |vm| match vm?.slot(vcpu)? {
            hyp_core::vm::Slot::Ready(vcpu, _) => {
                Some((vcpu.context.pc.wrapping_sub(base) / 4) as usize)
            }
            _ => None,
        })
    }

    /// The guest noticed what it was to notice.
    fn events(&self, inner: &mut Inner, vm: u16, vcpu: u64) -> Result<(), String> {
        let want = std::mem::take(&mut inner.spec.vcpu(vm, vcpu).events);
        let state = &mut *self.fake.state();
        let Some(program) = state.programs.get_mut(&(vm, mpidr(vcpu))) else {
            return Ok(());
        };
        let have = std::mem::take(&mut program.events);
        let same = |(have, want): (&Event, &Event)| {
            have == want || (*want == Event::Loaded(ANY) && matches!(have, Event::Loaded(_)))
        };
        if have.len() == want.len() && have.iter().zip(&want).all(same) {
            return Ok(());
        }
        Err(format!(
            "vm {vm} vcpu {vcpu} noticed {have:x?}, specified is {want:x?}"
        ))
    }
}
