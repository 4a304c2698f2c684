//! Scenes for tests that say what they do: a machine, VMs on it, and every call compared with
//! the specification on the way.

use super::{Content, Plan, Shape, World};
use crate::fake::{Event, Sched, StdSched, Step};
use crate::spec::Owner;
use hyp_core::abi::Call;
use hyp_core::abi::Error;
use hyp_core::abi::run::IN_OFFSET;
use std::sync::Arc;

/// Sizes of the images of an ordinary small guest: two and a half pages, and one.
pub const IMAGE: &[u64] = &[0x2800, 0x1000];

/// A world with the shortest way to say things. Whatever differs from the specification panics.
pub struct Scene<S: Sched = StdSched> {
    /// Both sides.
    pub world: Arc<World<S>>,
}

impl Default for Scene {
    fn default() -> Self {
        Self::new(Shape::default())
    }
}

fn must<T>(result: Result<T, String>) -> T {
    result.unwrap_or_else(|text| panic!("{text}"))
}

impl<S: Sched> Scene<S> {
    /// A machine of this shape.
    pub fn new(shape: Shape) -> Self {
        let world = World::new(shape, 1);
        world.inner().full_every = 16;
        Scene { world }
    }

    /// `count` idle frames in a row, aligned, from the upper end of RAM's first bank down.
    ///
    /// # Panics
    /// When there are none.
    pub fn idle(&self, count: u64, align: u64) -> u64 {
        let inner = self.world.inner();
        let spec = &inner.spec;
        let (first, frames) = spec.setup.ram[0];
        let fits = |pfn: &u64| {
            let idle = |n| {
                spec.owners.get(&(pfn + n)) == Some(&Owner::Host) && spec.uses(pfn + n) == (0, 0)
            };
            pfn.is_multiple_of(align) && (0..count).all(idle)
        };
        (first..first + frames)
            .rev()
            .find(fits)
            .expect("idle frames are left")
    }

    /// One idle frame.
    pub fn frame(&self) -> u64 {
        self.idle(1, 1)
    }

    /// A call and its answer.
    ///
    /// # Errors
    /// The refusal.
    pub fn call(&self, call: Call, args: &[u64]) -> Result<u64, Error> {
        let answer = must(self.world.call(call, args));
        match answer.error() {
            Some(error) => Err(error),
            None => Ok(answer.x[1]),
        }
    }

    /// The host loads a word; `None` is an abort.
    pub fn load(&self, pa: u64) -> Option<u64> {
        must(self.world.host_access(pa, None))
    }

    /// The host stores a word; `false` is an abort.
    pub fn store(&self, pa: u64, value: u64) -> bool {
        must(self.world.host_access(pa, Some(value))).is_some()
    }

    /// A device loads a word; `None` is an abort.
    pub fn dma_load(&self, iova: u64) -> Option<u64> {
        must(self.world.any_dma(iova, None))
    }

    /// A device stores a word; `false` is an abort.
    pub fn dma_store(&self, iova: u64, value: u64) -> bool {
        must(self.world.any_dma(iova, Some(value))).is_some()
    }

    /// Registers a VM and gives it a pool.
    ///
    /// # Panics
    /// When refused.
    pub fn vm(&self, protected: bool, vcpus: u64) -> u64 {
        let roots = self.world.inner().spec.setup.root_frames;
        let root = self.idle(roots, roots);
        let record = (0..)
            .map(|n| self.idle(2, 1) - 2 * n)
            .find(|pfn| pfn + 2 <= root || *pfn >= root + roots);
        let record = record.expect("two more frames");
        let vm = self
            .call(
                Call::VmRegister,
                &[protected.into(), record << 12, root << 12, vcpus],
            )
            .expect("registered");
        self.call(Call::VmDonate, &[vm, self.idle(12, 1) << 12, 12])
            .expect("donated");
        for vcpu in 0..vcpus {
            self.vcpu(vm, vcpu).expect("registered");
        }
        vm
    }

    /// Registers a vCPU on frames of its own.
    ///
    /// # Errors
    /// The refusal.
    pub fn vcpu(&self, vm: u64, vcpu: u64) -> Result<u64, Error> {
        let two = self.idle(2, 1);
        self.call(Call::VcpuRegister, &[vm, vcpu, two << 12, (two + 1) << 12])
    }

    /// Hands the manifest over.
    ///
    /// # Errors
    /// The refusal.
    pub fn boot_info(&self, vm: u64, plan: &Plan) -> Result<u64, Error> {
        let pfn = self.frame();
        let words: Content = plan
            .words()
            .into_iter()
            .enumerate()
            .map(|(n, word)| (n as u16, word))
            .collect();
        must(self.world.fill(pfn, &words));
        self.call(
            Call::VmSetBootInfo,
            &[vm, pfn << 12, plan.bytes.len() as u64],
        )
    }

    /// Gives one page of an image.
    ///
    /// # Errors
    /// The refusal.
    pub fn remap(&self, vm: u64, plan: &Plan, image: usize, page: u64) -> Result<u64, Error> {
        let pfn = self.frame();
        must(self.world.fill(pfn, &plan.images[image][page as usize]));
        self.call(Call::VmRemapImage, &[vm, image as u64, page, pfn << 12, 0])
    }

    /// Gives all pages of all images.
    ///
    /// # Panics
    /// When refused.
    pub fn remap_all(&self, vm: u64, plan: &Plan) {
        for (n, image) in plan.images.iter().enumerate() {
            for page in 0..image.len() as u64 {
                self.remap(vm, plan, n, page)
                    .expect("an image page is taken");
            }
        }
    }

    /// Verifies to the end.
    ///
    /// # Errors
    /// The refusal.
    pub fn verify(&self, vm: u64) -> Result<u64, Error> {
        loop {
            let answer = must(self.world.call(Call::VmVerifyImages, &[vm]));
            match answer.error() {
                Some(error) => return Err(error),
                None if answer.x[0] == 0 => return Ok(0),
                None => {}
            }
        }
    }

    /// A bundle with contents of no meaning.
    pub fn plan(&self, vcpus: u32, sizes: &[u64]) -> Plan {
        let mut n = 0x1000_0001_u64;
        Plan::new(vcpus, sizes, || {
            n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(7);
            n
        })
    }

    /// A protected VM that runs.
    ///
    /// # Panics
    /// When refused.
    pub fn protected(&self, vcpus: u64) -> u64 {
        let vm = self.vm(true, vcpus);
        let plan = self.plan(vcpus as u32, IMAGE);
        self.boot_info(vm, &plan).expect("the manifest is good");
        self.remap_all(vm, &plan);
        self.verify(vm).expect("the images are good");
        vm
    }

    /// Maps a page (or 512) of idle frames at a guest page.
    ///
    /// # Errors
    /// The refusal.
    pub fn map(&self, vm: u64, page: u64, order: u64) -> Result<u64, Error> {
        let count = 1 << order;
        let pfn = self.idle(count, count);
        self.call(Call::VmMap, &[vm, page << 12, pfn << 12, order, 3])
            .map(|_| pfn)
    }

    /// Writes a word of `RunIn`.
    ///
    /// # Panics
    /// When the page is not the host's.
    pub fn run_in(&self, vm: u64, vcpu: u64, word: u64, value: u64) {
        let run = self.run_page(vm, vcpu);
        assert!(self.store((run << 12) + IN_OFFSET + 8 * word, value));
    }

    /// A vCPU's run page.
    pub fn run_page(&self, vm: u64, vcpu: u64) -> u64 {
        self.world.inner().spec.vcpu(vm as u16, vcpu).run
    }

    /// Runs a vCPU with more steps; gives the exit's reason.
    ///
    /// # Errors
    /// The refusal.
    pub fn run(&self, vm: u64, vcpu: u64, steps: &[Step]) -> Result<u64, Error> {
        let answer = must(self.world.run_with(vm, vcpu, |_, _| steps.to_vec()));
        match answer.error() {
            Some(error) => Err(error),
            None => Ok(answer.x[1]),
        }
    }

    /// A word of the last exit: its index in `RunOut`.
    pub fn out(&self, vm: u64, vcpu: u64, word: u64) -> u64 {
        let run = self.run_page(vm, vcpu);
        self.load((run << 12) + hyp_core::abi::run::OUT_OFFSET + 8 * word)
            .unwrap_or(u64::MAX)
    }

    /// Powers a VM off and destroys it.
    ///
    /// # Panics
    /// When refused.
    pub fn destroy(&self, vm: u64) {
        let _ = self.call(Call::VmPowerOff, &[vm]);
        while must(self.world.call(Call::VmDestroy, &[vm])).x[0] != 0 {}
    }

    /// What a guest noticed in runs of which the specification was not asked; normally nothing.
    pub fn events(&self, vm: u64, vcpu: u64) -> Vec<Event> {
        let mpidr = hyp_core::addr::VcpuId(vcpu as u8).mpidr();
        self.world
            .fake
            .state()
            .programs
            .get(&(vm as u16, mpidr))
            .map(|p| p.events.clone())
            .unwrap_or_default()
    }

    /// Compares everything, once more.
    pub fn check(&self) {
        must(super::compare_all(&self.world));
    }
}
