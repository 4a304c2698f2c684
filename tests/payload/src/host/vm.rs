//! Building and ending a VM, call by call, and keeping the books of every frame given for it.

use super::calls::{self, host_call, ok, whole};
use super::device::Device;
use super::env::Env;
use super::owner::{IMAGES, Signed};
use super::text::Outcome;
use crate::rt::lock::Lock;
use crate::rt::pages::{self, PAGE};
use crate::rt::{memory, probe};
use core::sync::atomic::{AtomicU64, Ordering};
use hyp_core::abi::calls::{stat, vm_state};
use hyp_core::abi::run::Gic;
use hyp_core::abi::{Call, Error, VM_PROTECTED, VM_RECORD_FRAMES};

/// vCPUs of the test guest.
pub(crate) const VCPUS: usize = 2;
/// Ranges of frames that Ward may have at once for all VMs.
const MAX_GIVEN: usize = 2048;

/// Frames that left the host for a VM.
#[derive(Clone, Copy)]
pub(super) struct Given {
    book: u64,
    pa: u64,
    frames: u64,
    /// Where the guest sees them; `None`: Ward has them.
    ipa: Option<u64>,
}

/// The book of the VM that has a number now: numbers are recycled while another CPU still reads
/// the books of the VM before.
static BOOKS: [AtomicU64; 1024] = [const { AtomicU64::new(0) }; 1024];
static NEXT_BOOK: AtomicU64 = AtomicU64::new(1);
static GIVEN: Lock<[Option<Given>; MAX_GIVEN]> = Lock::new([None; MAX_GIVEN]);

/// A VM of the test host.
pub(crate) struct Vm {
    /// Its number.
    pub(crate) id: u64,
    book: u64,
    /// Its memory and registers are kept from the host.
    pub(crate) is_protected: bool,
    /// Its run pages.
    pub(crate) run_pages: [u64; VCPUS],
    /// What running it changes.
    pub(crate) state: Lock<State>,
}

/// What running a VM changes.
pub(crate) struct State {
    /// The emulated device.
    pub(crate) device: Device,
    /// The interrupt controller's words, from exit to entry.
    pub(crate) gic: [Gic; VCPUS],
    /// Interrupts to make pending, a bit each.
    pub(crate) pending: [u32; VCPUS],
    /// What [`RunIn`](hyp_core::abi::run::RunIn) says next: flags and value.
    pub(crate) answer: [(u64, u64); VCPUS],
    /// vCPUs that are on.
    pub(crate) on: [bool; VCPUS],
    /// [`RunIn::hcr`](hyp_core::abi::run::RunIn).
    pub(crate) hcr: [u64; VCPUS],
    /// Exits by reason.
    pub(crate) exits: [u64; 12],
    /// Do not answer exits for memory.
    pub(crate) refuse_memory: bool,
    /// Next page and next block of [`Vm::reserve`]; 0: none.
    reserve: [u64; 2],
}

impl Vm {
    /// Registers a VM without vCPUs.
    pub(crate) fn bare(env: &Env, flags: u64) -> Outcome<Vm> {
        let record = pages::take(VM_RECORD_FRAMES as usize, 1);
        let root = pages::take(env.root_frames as usize, env.root_frames as usize);
        let id = ok(Call::VmRegister, &[flags, record, root, VCPUS as u64])?;
        let book = NEXT_BOOK.fetch_add(1, Ordering::Relaxed);
        BOOKS[id as usize % BOOKS.len()].store(book, Ordering::Relaxed);
        note(id, record, VM_RECORD_FRAMES, None);
        note(id, root, env.root_frames, None);
        donate(id, 8)?;
        Ok(Vm {
            id,
            book,
            is_protected: flags & VM_PROTECTED != 0,
            run_pages: [pages::take_one(), pages::take_one()],
            state: Lock::new(State::NEW),
        })
    }

    /// Registers a VM with all its vCPUs.
    pub(crate) fn register(env: &Env, flags: u64) -> Outcome<Vm> {
        let vm = Self::bare(env, flags)?;
        for (index, run_page) in vm.run_pages.iter().enumerate() {
            let record = pages::take_one();
            memory::fill(*run_page, PAGE, 0);
            ok(
                Call::VcpuRegister,
                &[vm.id, index as u64, record, *run_page],
            )?;
            note(vm.id, record, 1, None);
        }
        Ok(vm)
    }

    /// A protected VM with its vCPUs, without boot information.
    pub(crate) fn protected(env: &Env) -> Outcome<Vm> {
        Self::register(env, VM_PROTECTED)
    }

    /// A protected VM that is ready to run.
    pub(crate) fn verified(env: &Env) -> Outcome<Vm> {
        let vm = Self::protected(env)?;
        if let Err(error) = vm.boot_info(&env.owner.signed()) {
            fail!("the owner's manifest was refused: {error:?}");
        }
        vm.load(env)?;
        match vm.verify() {
            Ok(_) => Ok(vm),
            Err(error) => fail!("verification failed: {error:?}"),
        }
    }

    /// Hands a manifest over.
    pub(crate) fn boot_info(&self, signed: &Signed) -> Result<(), Error> {
        let page = pages::take_one();
        memory::copy_in(page, signed.get());
        let result = host_call(
            Call::VmSetBootInfo,
            &[self.id, page, signed.get().len() as u64],
        );
        // Ward has copied it: what the page holds from now on must not matter.
        memory::fill(page, PAGE, 0xff);
        pages::give(page, 1);
        result.map(drop)
    }

    /// Gives all images.
    pub(crate) fn load(&self, env: &Env) -> Outcome {
        (0..IMAGES).try_for_each(|image| self.load_image(env, image, |_, _| {}).map(drop))
    }

    /// Gives one image; `spoil` may change its frames (first address, bytes) before. Returns where
    /// they were.
    pub(crate) fn load_image(
        &self,
        env: &Env,
        image: usize,
        spoil: impl Fn(u64, u64),
    ) -> Outcome<u64> {
        let bytes = env.owner.image(image);
        let count = (bytes.len() as u64).div_ceil(PAGE);
        let frames = pages::take(count as usize, 1);
        // Ward must zero what lies behind the image in its last page.
        memory::fill(frames, count * PAGE, 0xff);
        memory::copy_in(frames, bytes);
        spoil(frames, bytes.len() as u64);
        let ipa = env.owner.manifest().images()[image].ipa;
        for page in 0..count {
            let pa = frames + page * PAGE;
            ok(Call::VmRemapImage, &[self.id, image as u64, page, pa, 0])?;
            note(self.id, pa, 1, Some(ipa + page * PAGE));
        }
        Ok(frames)
    }

    /// Hashes to the end; the number of calls it took.
    pub(crate) fn verify(&self) -> Result<u64, Error> {
        for calls in 1.. {
            if !host_call(Call::VmVerifyImages, &[self.id])?.again {
                return Ok(calls);
            }
        }
        Ok(0)
    }

    /// Sets frames aside from which [`Vm::give`] then takes without bookkeeping, for measuring.
    pub(crate) fn reserve(&self, page_count: u64, blocks: u64) -> Outcome {
        let reserve = [
            pages::take(page_count as usize, 1),
            pages::take(512 * blocks as usize, 512),
        ];
        note(self.id, reserve[0], page_count, None);
        note(self.id, reserve[1], 512 * blocks, None);
        for n in 0..512 * blocks {
            memory::fill(reserve[1] + n * PAGE, PAGE, 0);
        }
        memory::fill(reserve[0], page_count * PAGE, 0);
        donate(self.id, 16)?;
        self.state.lock().reserve = reserve;
        Ok(())
    }

    /// Gives a page or block that the guest asked for. Returns it.
    pub(crate) fn give(&self, ipa: u64, order: u64) -> Outcome<u64> {
        let reserved = self.state.lock().reserved(order);
        if let Some(pa) = reserved {
            return ok(Call::VmMap, &[self.id, ipa, pa, order, 3]).map(|_| pa);
        }
        let frames = 1 << order;
        let pa = pages::take(frames as usize, frames as usize);
        memory::poke(pa, 0x6a75_6e6b); // the guest must not see what was there
        if let Err(why) = ok(Call::VmMap, &[self.id, ipa, pa, order, 3]) {
            pages::give(pa, frames as usize);
            return Err(why);
        }
        note(self.id, pa, frames, Some(ipa));
        Ok(pa)
    }

    /// The frame in which the guest sees `ipa`.
    pub(crate) fn frame_of(&self, ipa: u64) -> Option<u64> {
        let given = GIVEN.lock();
        let holds = |g: &&Given| {
            g.book == self.book
                && g.ipa
                    .is_some_and(|start| (start..start + g.frames * PAGE).contains(&ipa))
        };
        let found = given.iter().flatten().find(holds)?;
        Some(found.pa + (ipa - found.ipa?))
    }

    /// A frame that Ward holds for the VM: a record, a table or the pool.
    pub(crate) fn frame_of_ward(&self) -> Option<u64> {
        self.range_of_ward(0)
    }

    /// The first frame of the `n`th range that Ward holds for the VM: its record, the root of its
    /// table, its pool, records of vCPUs.
    pub(crate) fn range_of_ward(&self, n: usize) -> Option<u64> {
        let given = GIVEN.lock();
        let mut ranges = given
            .iter()
            .flatten()
            .filter(|g| g.book == self.book && g.ipa.is_none());
        ranges.nth(n).map(|g| g.pa)
    }

    /// The VM's state, as Ward says.
    pub(crate) fn life(&self) -> u64 {
        calls::statistic(self.id, stat::VM_STATE)
    }

    /// Powers the VM off if it is not, and ends it.
    pub(crate) fn end(self) -> Outcome {
        if self.life() != vm_state::POWER_OFF {
            ok(Call::VmPowerOff, &[self.id])?;
        }
        self.destroy()
    }

    /// Strikes a VM from the books that the test destroyed by itself.
    pub(crate) fn forgotten(self) {
        self.run_pages.iter().for_each(|page| pages::give(*page, 1));
        while let Some(range) = forget(self.book) {
            pages::give(range.pa, range.frames as usize);
        }
    }

    /// Takes everything back: each frame must be the host's again and zero.
    pub(crate) fn destroy(self) -> Outcome {
        if let Err(error) = whole(Call::VmDestroy, &[self.id]) {
            fail!("vm_destroy: {error:?}");
        }
        self.run_pages.iter().for_each(|page| pages::give(*page, 1));
        while let Some(range) = forget(self.book) {
            for pa in (range.pa..range.pa + range.frames * PAGE).step_by(PAGE as usize) {
                if let Err(fault) = probe::read(pa).and_then(|word| probe::write(pa, word)) {
                    fail!("frame {pa:#x} did not come back: {fault}");
                }
                ensure!(
                    super::is_zero(pa),
                    "frame {pa:#x} came back with something in it"
                );
            }
            pages::give(range.pa, range.frames as usize);
        }
        Ok(())
    }

    /// Gives a page of the test's choice.
    pub(crate) fn took_by_map(&self, ipa: u64, pa: u64) -> Outcome {
        ok(Call::VmMap, &[self.id, ipa, pa, 0, 3])?;
        note(self.id, pa, 1, Some(ipa));
        Ok(())
    }

    /// Notes frames that the test gave by itself.
    pub(crate) fn took(&self, pa: u64, frames: u64, ipa: u64) {
        note(self.id, pa, frames, Some(ipa));
    }

    /// Notes a frame that the test donated by itself.
    pub(crate) fn took_by_ward(&self, pa: u64) {
        note(self.id, pa, 1, None);
    }

    /// Strikes a frame from the books that came back by another call.
    pub(crate) fn came_back(&self, pa: u64) {
        let mut given = GIVEN.lock();
        let slot = given
            .iter_mut()
            .find(|slot| slot.is_some_and(|g| g.book == self.book && g.pa == pa));
        if let Some(slot) = slot {
            *slot = None;
        }
    }
}

impl State {
    const NEW: State = State {
        device: Device::NEW,
        gic: [Gic {
            hcr: 1,
            vmcr: 0,
            used: 4,
            ap0r: [0; 4],
            ap1r: [0; 4],
            lr: [0; 16],
        }; VCPUS],
        pending: [0; VCPUS],
        answer: [(0, 0); VCPUS],
        on: [true, false],
        hcr: [0; VCPUS],
        exits: [0; 12],
        refuse_memory: false,
        reserve: [0; 2],
    };

    fn reserved(&mut self, order: u64) -> Option<u64> {
        let next = self
            .reserve
            .get_mut(usize::from(order != 0))
            .filter(|next| **next != 0)?;
        let pa = *next;
        *next += PAGE << order;
        Some(pa)
    }
}

/// Notes frames that left the host.
pub(super) fn note(vm: u64, pa: u64, frames: u64, ipa: Option<u64>) {
    let book = BOOKS[vm as usize % BOOKS.len()].load(Ordering::Relaxed);
    let mut given = GIVEN.lock();
    match given.iter_mut().find(|slot| slot.is_none()) {
        Some(slot) => {
            *slot = Some(Given {
                book,
                pa,
                frames,
                ipa,
            })
        }
        None => panic!("too many ranges of frames are given away"),
    }
}

fn forget(book: u64) -> Option<Given> {
    let mut given = GIVEN.lock();
    given
        .iter_mut()
        .find(|slot| slot.is_some_and(|g| g.book == book))?
        .take()
}

/// Gives `frames` to the VM's pool.
pub(super) fn donate(vm: u64, frames: u64) -> Outcome {
    let pa = pages::take(frames as usize, 1);
    ok(Call::VmDonate, &[vm, pa, frames])?;
    (0..frames).for_each(|n| note(vm, pa + n * PAGE, 1, None));
    Ok(())
}

/// Gives a VM some pages for its tables, if it exists.
pub(super) fn feed(vm: u64) {
    let pa = pages::take(4, 1);
    match host_call(Call::VmDonate, &[vm, pa, 4]) {
        Ok(_) => (0..4).for_each(|n| note(vm, pa + n * PAGE, 1, None)),
        Err(_) => pages::give(pa, 4),
    }
}
