//! Ward on the fake machine, and the specification beside it.
//!
//! [`World::call`] makes a call on both, compares what they answer and what they are afterwards,
//! and checks the invariants. A difference is an `Err` that says what differs.

mod check;
mod dma;
mod driver;
mod fixture;
mod generate;
mod images;
mod invariants;
mod programs;
mod rng;
mod run;
mod scenario;
mod step;

pub use check::{compare_all, spec_of, ward_agrees};
pub use driver::{Options, run_seed};
pub use fixture::{DOORBELL, HYP_DEVICE, Shape, free_device, machine};
pub use images::{Content, Plan, keys, sign};
pub use invariants::{Check, INVARIANTS, Scope, check, check_all};
pub use rng::Rng;
pub use scenario::{IMAGE, Scene};
pub use step::Answer;

use crate::fake::{Fake, Sched, StdSched};
use crate::spec::Spec;
use hyp_core::Ward;
use std::sync::{Arc, Mutex, MutexGuard};

/// Both sides.
pub struct World<S: Sched = StdSched> {
    /// The machine.
    pub fake: Fake<S>,
    /// What is tested.
    pub ward: Ward<Fake<S>>,
    inner: Mutex<Inner>,
}

/// The test's own state.
pub struct Inner {
    /// The specification.
    pub spec: Spec,
    /// Choices.
    pub rng: Rng,
    /// The last calls, for a report.
    pub log: Vec<String>,
    /// Signed bundles the generator works with, by VM.
    pub plans: std::collections::BTreeMap<u16, Plan>,
    /// How often each result came.
    pub tally: std::collections::BTreeMap<String, u64>,
    /// How deep in hooks the test is.
    pub depth: u32,
    /// What went wrong inside a hook.
    pub failure: Option<String>,
    /// Pages a guest asked for last, by VM and vCPU.
    pub wanted: std::collections::BTreeMap<u16, u64>,
    /// Steps so far: calls, runs and single accesses of the host.
    pub steps: u64,
    /// Calls and runs among them.
    pub calls: u64,
    /// Everything is compared every so many steps, a part in between.
    pub full_every: u64,
}

impl<S: Sched> World<S> {
    /// A machine of this shape, right after boot.
    pub fn new(shape: Shape, seed: u64) -> Arc<Self> {
        let (fake, ward, spec) = fixture::boot::<S>(shape);
        let inner = Inner {
            spec,
            rng: Rng::new(seed),
            log: Vec::new(),
            plans: std::collections::BTreeMap::new(),
            tally: std::collections::BTreeMap::new(),
            depth: 0,
            failure: None,
            wanted: std::collections::BTreeMap::new(),
            steps: 0,
            calls: 0,
            full_every: 64,
        };
        Arc::new(World {
            fake,
            ward,
            inner: Mutex::new(inner),
        })
    }

    /// The test's side of it.
    pub fn inner(&self) -> MutexGuard<'_, Inner> {
        match self.inner.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// One counter that Ward keeps.
    pub fn host_pool(&self) -> u64 {
        self.ward.inspect_memory(|memory| memory.pool_len())
    }

    /// Free pages of a VM's pool; 0 when there is no such VM.
    pub fn vm_pool(&self, vm: u64) -> u64 {
        if vm == 0 || vm > self.inner().spec.setup.max_vm {
            return 0;
        }
        self.ward
            .inspect_vm(vm, |vm| vm.map_or(0, |vm| vm.pool.len()))
    }
}
