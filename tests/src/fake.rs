//! A machine in memory: RAM in vectors, CPUs by number, TLBs that stay stale.
//!
//! What hardware *may* do and a program must not rely on, the fake does: a translation once used
//! stays in that CPU's TLB until something invalidates it; a walk stays in the walk cache; what
//! a host wrote through its caches a guest with caches off does not see until the frame is
//! synchronised. What hardware forbids is recorded as a [violation](Fake::violations): a live
//! descriptor changed without break-before-make, a frame zeroed while somebody still reaches it.

mod access;
mod cpu;
mod dma;
mod guest;
mod imp;
mod ram;
mod sched;
mod tables;
mod tlb;
mod walk;

pub use access::{Fault, device_value};
pub use cpu::{Loaded, id_register};
pub use dma::{DmaFault, HOST_DMA, STREAMS, Smmus, is_dma, regime_of};
pub use guest::{Event, Program, Step};
pub use imp::{FakeMutex, Placed};
pub use ram::{Frame, Page, Ram};
pub use sched::{Sched, StdSched};
pub use tables::{Leaf, Perms, Regime, Tables};

/// The frame a descriptor names.
pub const fn output_of(entry: u64) -> u64 {
    tables::output(entry)
}
pub use tlb::Tlb;

use hyp_core::addr::Pfn;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex as StdMutex, MutexGuard};

/// How many CPUs a fake has.
pub const CPUS: usize = 4;

/// A handle on the machine; clones are the same machine.
pub struct Fake<S: Sched = StdSched> {
    state: Arc<StdMutex<State>>,
    sched: PhantomData<fn() -> S>,
}

impl<S: Sched> Clone for Fake<S> {
    fn clone(&self) -> Self {
        Fake {
            state: self.state.clone(),
            sched: PhantomData,
        }
    }
}

impl<S: Sched> fmt::Debug for Fake<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

/// What the machine consists of. Tests may reach in; hyp-core sees only the `Machine` trait.
#[derive(Debug)]
pub struct State {
    /// Memory contents.
    pub ram: Ram,
    /// Which frames are tables of which regime, and what they translate.
    pub tables: Tables,
    /// The CPUs.
    pub cpus: Vec<cpu::Cpu>,
    /// The SMMUs, with no streams if the machine has none.
    pub dma: Smmus,
    /// What each guest executes, by VM and `VMPIDR_EL2`.
    pub programs: BTreeMap<(u16, u64), Program>,
    /// Frames that hold values of Ward's.
    pub placed: BTreeSet<u64>,
    /// What the random-number instruction still delivers.
    pub random: VecDeque<u64>,
    /// Rules broken so far.
    pub violations: Vec<String>,
    /// Console lines, newest last.
    pub console: VecDeque<String>,
    /// Writes to device memory by anyone: address and value.
    pub device_writes: Vec<(u64, u64)>,
    /// How often each kind of work was done, for tests of bounds.
    pub work: Work,
    /// What [`Step::Hook`] runs.
    pub hook: Option<Hook>,
    /// Do CPUs set access flags themselves (FEAT_HAFDBS), or trap?
    pub hardware_af: bool,
}

/// The test's code that a guest's [`Step::Hook`] runs, as another CPU at the same moment.
#[derive(Clone)]
pub struct Hook(pub Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// Counters of costly operations.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Frames zeroed.
    pub zeroed: u64,
    /// Frames hashed.
    pub hashed: u64,
    /// Frames synchronised.
    pub synced: u64,
    /// TLB invalidations.
    pub tlbi: u64,
}

impl<S: Sched> Fake<S> {
    /// A machine with these banks of RAM: first frame and number of frames of each.
    pub fn new(banks: &[(Pfn, u64)]) -> Self {
        let state = State {
            ram: Ram::new(banks),
            tables: Tables::default(),
            cpus: (0..CPUS).map(|_| cpu::Cpu::default()).collect(),
            dma: Smmus::new(),
            programs: BTreeMap::new(),
            placed: BTreeSet::new(),
            random: VecDeque::new(),
            violations: Vec::new(),
            console: VecDeque::new(),
            device_writes: Vec::new(),
            work: Work::default(),
            hook: None,
            hardware_af: false,
        };
        Fake {
            state: Arc::new(StdMutex::new(state)),
            sched: PhantomData,
        }
    }

    /// Access to everything. Must not be held across a call into hyp-core.
    pub fn state(&self) -> MutexGuard<'_, State> {
        match self.state.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// Rules broken since the last look.
    pub fn violations(&self) -> Vec<String> {
        std::mem::take(&mut self.state().violations)
    }

    /// Runs the hook, with nothing locked and as whatever CPU the hook says it is.
    fn run_hook(&self) {
        let hook = self.state().hook.clone();
        let cpu = S::cpu();
        if let Some(hook) = hook {
            (hook.0)();
        }
        S::set_cpu(cpu);
    }

    /// Says which CPU the calling thread is from now on.
    pub fn set_cpu(&self, cpu: u16) {
        S::set_cpu(cpu);
    }

    /// Gives the machine SMMUs, all of whose streams translate by the host's DMA table.
    pub fn add_smmus(&self, regime: Regime) {
        self.add_regime(HOST_DMA, regime);
        self.state().dma.streams = STREAMS.map(|stream| (stream, Some(HOST_DMA))).into();
    }

    /// Tells the machine that `root` is a regime's table, which walks start from. What is in it
    /// already counts as mapped.
    pub fn add_regime(&self, vm: u16, regime: Regime) {
        let state = &mut *self.state();
        state.tables.add_regime(&state.ram, vm, regime);
    }
}

impl State {
    /// Records a broken rule, once.
    pub fn violate(&mut self, text: String) {
        if self.violations.len() < 20 {
            self.violations.push(text);
        }
    }
}
