//! Many random steps from one seed.

use super::fixture::Shape;
use super::generate::{Action, next};
use super::{World, compare_all};
use crate::fake::{CPUS, Hook, Sched};
use hyp_core::abi::Call;
use std::sync::Arc;

/// Calls that a report ends with.
const TAIL: usize = 40;

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The seed.
    pub seed: u64,
    /// How many calls and runs. What the host loads and stores in between does not count.
    pub calls: u64,
    /// The machine.
    pub shape: Shape,
}

impl<S: Sched> World<S> {
    /// Does one thing.
    fn act(&self, action: Action) -> Result<(), String> {
        match action {
            Action::Call(call, args) => self.call(call, &args).map(drop),
            Action::Access(pa, write) => self.host_access(pa, write).map(drop),
            Action::Dma(iova, write) => self.any_dma(iova, write).map(drop),
            Action::StreamDma(key, iova, write) => self.dma(key, iova, write).map(drop),
            Action::LoseSmmu => {
                self.lose_smmu();
                Ok(())
            }
            Action::Filled(frames, call, args) => {
                for (pfn, content) in frames {
                    self.fill(pfn, &content)?;
                }
                self.call(call, &args).map(drop)
            }
            Action::Run(vm, vcpu, words) => {
                let run = self
                    .inner()
                    .spec
                    .vms
                    .get(&(vm as u16))
                    .and_then(|it| it.vcpus.get(&vcpu))
                    .map(|it| it.run);
                for (offset, value) in words {
                    self.host_access((run.unwrap_or(0) << 12) + offset, Some(value))?;
                }
                self.run_with(vm, vcpu, |inner, it| {
                    super::programs::more(inner, vm as u16, it)
                })
                .map(drop)
            }
        }
    }

    /// The host makes a frame of its own hold these words and no others.
    ///
    /// # Errors
    /// What went otherwise than specified.
    pub fn fill(&self, pfn: u64, content: &super::Content) -> Result<(), String> {
        let old: Vec<u16> = self
            .inner()
            .spec
            .words
            .get(&pfn)
            .map(|words| words.keys().copied().collect())
            .unwrap_or_default();
        if !self.inner().spec.host_may_access(pfn) {
            return Ok(());
        }
        for index in old.into_iter().filter(|index| !content.contains_key(index)) {
            self.host_access((pfn << 12) + u64::from(index) * 8, Some(0))?;
        }
        for (index, word) in content {
            if self.inner().spec.word(pfn, *index) != *word {
                self.host_access((pfn << 12) + u64::from(*index) * 8, Some(*word))?;
            }
        }
        Ok(())
    }

    fn step(&self) -> Result<(), String> {
        let action = {
            let mut inner = self.inner();
            S::set_cpu(inner.rng.below(CPUS as u64) as u16);
            next(&mut inner)
        };
        self.act(action)
    }

    /// What another CPU does while a guest is in the middle of its program.
    fn hook(&self) {
        let (vm, vcpu) = {
            let state = self.fake.state();
            let Some(loaded) = &state.cpus[usize::from(S::cpu())].loaded else {
                return;
            };
            let mpidr = loaded.params.mpidr;
            (loaded.params.stage2.vm.0, mpidr & 0xf)
        };
        let busy = S::cpu();
        self.inner().depth += 1;
        let several = 1 + self.inner().rng.below(3);
        let result = self.at_hook(vm, vcpu).and_then(|()| {
            (0..several).try_for_each(|_| {
                let action = against(&mut self.inner(), vm);
                S::set_cpu((busy + 1) % CPUS as u16);
                self.act(action)
            })
        });
        let mut inner = self.inner();
        inner.depth -= 1;
        if let Err(text) = result {
            inner.failure.get_or_insert(text);
        }
    }
}

/// Runs a seed to its end.
///
/// # Errors
/// What differed, with the seed and the calls that led there.
pub fn run_seed<S: Sched>(options: Options) -> Result<Arc<World<S>>, String> {
    let world = World::<S>::new(options.shape, options.seed);
    let weak = Arc::downgrade(&world);
    let hook = move || {
        if let Some(world) = weak.upgrade() {
            world.hook();
        }
    };
    world.fake.state().hook = Some(Hook(Arc::new(hook)));
    let report = |text: String, world: &World<S>| {
        let inner = world.inner();
        let tail = inner
            .log
            .iter()
            .rev()
            .take(TAIL)
            .rev()
            .cloned()
            .collect::<Vec<_>>()
            .join("\n  ");
        let broken = world.fake.violations();
        let console = world
            .fake
            .state()
            .console
            .iter()
            .rev()
            .take(5)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n  ");
        format!(
            "seed {} call {} {:?}\n  {tail}\n{text}\nthe machine: {broken:?}\nconsole:\n  {console}",
            options.seed, inner.calls, options.shape
        )
    };
    while world.inner().calls < options.calls {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.step()));
        let done = done.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text =
                text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_string()));
            Err(format!("panic: {}", text.unwrap_or_default()))
        });
        let failure = world.inner().failure.take();
        if let Some(text) = done.err().or(failure) {
            return Err(report(text, &world));
        }
    }
    compare_all(&world).map_err(|text| report(text, &world))?;
    Ok(world)
}

/// Something that a running vCPU's VM should not mind: often its end.
fn against(inner: &mut super::Inner, vm: u16) -> Action {
    let number = u64::from(vm);
    let mine = inner.spec.vms[&vm]
        .maps
        .values()
        .next()
        .map_or(0, |mapped| mapped.pfn << 12);
    match inner.rng.below(24) {
        0..3 => Action::Call(Call::VmPowerOff, vec![number]),
        3..5 => Action::Call(Call::VmDestroy, vec![number]),
        5 => Action::Call(Call::VmClearRange, vec![number, mine, 1]),
        6..8 => Action::Run(number, inner.rng.below(2), Vec::new()),
        _ => next(inner),
    }
}
