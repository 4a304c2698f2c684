//! The executable specification: what Ward's calls mean, said a second time and more simply.
//!
//! State is sets and maps of *facts* (who owns a frame, who uses it, what is where), never
//! counters or tables. Where Ward has a choice that nobody may rely on (which free number a new
//! VM gets, which frames a piece of a destruction returns, whether a table page was needed), the
//! specification looks at what Ward chose ([`Seen`]), says whether that was permitted, and goes
//! on from there. Everything else it predicts: results, errors, owners, contents, exits.
//!
//! * `calls`: the host's calls, one function each, in the words of the manual: what is refused,
//!   in which order, and what a success changes.
//! * `run`: what a guest's instructions do, and what an exit shows the host.

mod boot;
mod calls;
mod end;
mod guest;
mod memory;
mod run;
mod streams;

pub use calls::Outcome;
pub use run::{Exit, Progress};
pub use streams::{Reach, Stream};

use crate::fake::{Event, Step};
use hyp_core::abi::Error;
use hyp_core::abi::manifest::Manifest;
use hyp_core::abi::run::FP_WORDS;
use hyp_core::dma::StreamKey;
use std::collections::{BTreeMap, BTreeSet};

/// A loaded value that is not predicted.
pub const ANY: u64 = 0xa11_0a11_0a11_0a11;

/// Pages the host's pool must have for frames to leave the host: what splitting its map can take,
/// and a reserve for its faults.
pub const HOST_RESERVE: u64 = 16;

/// ISS of `MSR ICC_SGI1R_EL1, x1`, which the host emulates, and of a register nobody has.
pub const SGI1R_WRITE: u32 = 3 << 20 | 5 << 17 | 12 << 10 | 1 << 5 | 11 << 1;
/// `MRS x1, ID_AA64PFR0_EL1`.
pub const ID_READ: u32 = 3 << 20 | 1 << 5 | 4 << 1 | 1;
/// `MSR ID_AA64PFR0_EL1, x1`, which does not exist.
pub const ID_WRITE: u32 = 3 << 20 | 1 << 5 | 4 << 1;
/// `MRS x1, S3_7_C15_C15_7`.
pub const UNKNOWN_READ: u32 = 3 << 20 | 7 << 17 | 7 << 14 | 15 << 10 | 1 << 5 | 15 << 1 | 1;

/// Who owns a frame of RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The host.
    Host,
    /// Ward: for itself (0) or for a VM's needs.
    Ward(u16),
    /// A protected VM, which sees it at one page and may share it with the host.
    Vm(u16, u64, bool),
}

/// Where a VM is in its life; a number that is not in [`Spec::vms`] is unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Being built; a normal VM runs.
    Ready,
    /// A protected VM runs.
    Verified,
    /// Nothing runs.
    PowerOff,
}

/// What a VM's page is mapped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The frame, of RAM or a device.
    pub pfn: u64,
    /// Writable.
    pub write: bool,
    /// Executable.
    pub exec: bool,
    /// A device's, not RAM.
    pub device: bool,
    /// A device's whose writes may be joined.
    pub combining: bool,
    /// Part of a 2 MiB leaf.
    pub block: bool,
}

/// A vCPU's power, as its guest switches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Runs when the host lets it.
    On,
    /// Waits for a CPU_ON.
    Off,
    /// Starts there, with this in `x0`.
    Pending(u64, u64),
}

/// What the last exit left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Nothing.
    Nothing,
    /// A device load into a register.
    DeviceRead(u8),
    /// A device store.
    DeviceWrite,
    /// Memory that was not there.
    Memory,
    /// A trapped register read into a register, or write.
    Register(Option<u8>),
    /// A normal VM's call: the host answers in `x0`.
    Call,
    /// The same by SMC, which is stepped over then.
    Smc,
}

/// A vCPU.
#[derive(Clone, Debug)]
pub struct Vcpu {
    /// Frame of its record.
    pub record: u64,
    /// Its run page.
    pub run: u64,
    /// Power.
    pub power: Power,
    /// Some CPU runs it.
    pub active: bool,
    /// Where its program stands.
    pub base: u64,
    /// How often it was started afresh: each time with another program.
    pub starts: u64,
    /// Its program.
    pub steps: Vec<Step>,
    /// The step it executes next.
    pub at: usize,
    /// What the last exit left open.
    pub open: Open,
    /// Its general registers, as far as programs use them.
    pub x: [u64; 31],
    /// Its caches are on.
    pub caches: bool,
    /// Its FP/SIMD registers.
    pub fp: [u64; FP_WORDS],
    /// The host wants little of its window for this run.
    pub lazy: bool,
    /// The SError it has not taken yet, for the run: its syndrome.
    pub serror: Option<u64>,
    /// `FAR_EL1`.
    pub far: u64,
    /// What its guest noticed, since the test last looked.
    pub events: Vec<Event>,
    /// The interrupt it took last, by step.
    pub taken: Option<usize>,
    /// The step whose end it notices when it runs again.
    pub late: Option<Event>,
}

/// A VM.
#[derive(Clone, Debug)]
pub struct Vm {
    /// Its memory and registers are its own.
    pub protected: bool,
    /// Its host answers ID registers.
    pub host_ids: bool,
    /// Where it is in its life.
    pub life: Life,
    /// vCPUs it may have.
    pub vcpu_limit: u64,
    /// vCPUs it has.
    pub vcpus: BTreeMap<u64, Vcpu>,
    /// First frame of record and of root.
    pub record: u64,
    /// First frame of the root.
    pub root: u64,
    /// What its pages map to.
    pub maps: BTreeMap<u64, Mapped>,
    /// Pages it declared to be emulated devices.
    pub guards: BTreeSet<u64>,
    /// What its owner signed.
    pub manifest: Option<Manifest>,
    /// Verification began.
    pub verifying: bool,
    /// Bytes verification said are left.
    pub left: u64,
    /// Pages used since the host last asked; all of a 2 MiB leaf together.
    pub used: BTreeSet<u64>,
}

impl Vm {
    /// A VM with nothing in it.
    pub fn bare(
        protected: bool,
        life: Life,
        record: u64,
        root: u64,
        manifest: Option<Manifest>,
    ) -> Self {
        Vm {
            protected,
            host_ids: false,
            life,
            vcpu_limit: 0,
            vcpus: BTreeMap::new(),
            record,
            root,
            maps: BTreeMap::new(),
            guards: BTreeSet::new(),
            manifest,
            verifying: false,
            left: 0,
            used: BTreeSet::new(),
        }
    }
}

/// The machine as it was set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// RAM: first frame and frames.
    pub ram: Vec<(u64, u64)>,
    /// Ward's part of it.
    pub hyp: Vec<(u64, u64)>,
    /// Ward's device pages.
    pub hyp_devices: Vec<(u64, u64)>,
    /// Bits of an IPA.
    pub ipa_bits: u32,
    /// Level of the first lookup.
    pub start_level: u64,
    /// Frames of a table's root.
    pub root_frames: u64,
    /// Highest VM number.
    pub max_vm: u64,
    /// Keys that may sign.
    pub keys: Vec<[u8; 32]>,
    /// Bits of the addresses that devices send, if there are SMMUs.
    pub dma_bits: Option<u32>,
    /// Pages of device memory that devices write interrupt messages to.
    pub doorbells: Vec<u64>,
}

/// The specified state.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The machine.
    pub setup: Setup,
    /// Every frame of RAM.
    pub owners: BTreeMap<u64, Owner>,
    /// Uses of host frames as run pages: (frame, VM, vCPU).
    pub pins: BTreeSet<(u64, u16, u64)>,
    /// Uses of host frames by normal VMs: (frame, VM, page).
    pub loans: BTreeSet<(u64, u16, u64)>,
    /// VMs.
    pub vms: BTreeMap<u16, Vm>,
    /// Contents of the host's and the VMs' frames: words that are not zero.
    pub words: BTreeMap<u64, BTreeMap<u16, u64>>,
    /// Frames written through caches: an observer without caches may read old contents.
    pub cached: BTreeSet<u64>,
    /// Frames whose owner or use changed in this step.
    pub touched: BTreeSet<u64>,
    /// An SMMU does not answer any more, whether or not anybody noticed.
    pub lost: bool,
    /// Streams that are the host's own.
    pub streams: BTreeMap<StreamKey, Stream>,
    /// Uses of host frames by those: (frame, stream, page).
    pub device_pins: BTreeSet<(u64, StreamKey, u64)>,
}

/// What Ward did, as far as it had a choice.
pub struct Seen<'a> {
    /// `x0..x7` after the call.
    pub x: [u64; 8],
    /// Pages in the host's pool before the call.
    pub host_pool: u64,
    /// Pages in the named VM's pool before the call.
    pub vm_pool: u64,
    /// And after it.
    pub vm_pool_after: u64,
    /// Where a run stopped: the step its vCPU's PC is at. `None`: it still runs.
    pub stopped: Option<usize>,
    /// Is the VM's page mapped after the call?
    pub mapped: &'a dyn Fn(u16, u64) -> bool,
    /// Streams that are the host's own, after the call.
    pub streams: &'a dyn Fn() -> usize,
    /// Owner of a frame after the call.
    pub owner: &'a dyn Fn(u64) -> Option<Owner>,
    /// A word of a frame after the call.
    pub word: &'a dyn Fn(u64, u16) -> u64,
}

impl Seen<'_> {
    /// The call needs at most so many table pages. Ward may refuse for want of them if, and only
    /// if, a pool had fewer.
    ///
    /// # Errors
    /// That refusal, when Ward made it and was right to.
    pub fn room(&self, vm_tables: u64, host_tables: u64) -> Result<(), Error> {
        let refused = self.x[0] as i64 == Error::NoMemory.code();
        if refused && (self.vm_pool < vm_tables || self.host_pool < host_tables) {
            return Err(Error::NoMemory);
        }
        Ok(())
    }
}

impl Spec {
    /// The machine right after boot.
    pub fn new(setup: Setup) -> Self {
        let mut owners = BTreeMap::new();
        for (first, frames) in &setup.ram {
            owners.extend((*first..first + frames).map(|pfn| (pfn, Owner::Host)));
        }
        for (first, frames) in &setup.hyp {
            owners.extend((*first..first + frames).map(|pfn| (pfn, Owner::Ward(0))));
        }
        Spec {
            setup,
            owners,
            pins: BTreeSet::new(),
            loans: BTreeSet::new(),
            vms: BTreeMap::new(),
            words: BTreeMap::new(),
            cached: BTreeSet::new(),
            touched: BTreeSet::new(),
            lost: false,
            streams: BTreeMap::new(),
            device_pins: BTreeSet::new(),
        }
    }

    /// Is the frame RAM?
    pub fn is_ram(&self, pfn: u64) -> bool {
        self.owners.contains_key(&pfn)
    }

    /// Is it neither RAM nor one of Ward's devices?
    pub fn is_free_device(&self, pfn: u64) -> bool {
        let ward = self
            .setup
            .hyp_devices
            .iter()
            .any(|(first, n)| pfn >= *first && pfn - first < *n);
        !self.is_ram(pfn) && !ward
    }

    /// Pins and loans of a frame.
    pub fn uses(&self, pfn: u64) -> (usize, usize) {
        let mut pins = self.pins.range((pfn, 0, 0)..(pfn + 1, 0, 0)).count();
        let none = StreamKey { smmu: 0, stream: 0 };
        let range = (pfn, none, 0)..(pfn + 1, none, 0);
        pins += self.device_pins.range(range).count();
        let loans = self.loans.range((pfn, 0, 0)..(pfn + 1, 0, 0)).count();
        (pins, loans)
    }

    /// May the host access the address's page (I2)?
    pub fn host_may_access(&self, pfn: u64) -> bool {
        match self.owners.get(&pfn) {
            Some(Owner::Host | Owner::Vm(_, _, true)) => true,
            Some(_) => false,
            None => self.is_free_device(pfn),
        }
    }

    /// May a device of the host's access the page (I4)? It is one that the host may, but of
    /// device memory only the doorbells.
    pub fn device_may_access(&self, pfn: u64) -> bool {
        let reach = self
            .setup
            .dma_bits
            .is_some_and(|bits| pfn < 1 << (bits - 12));
        let ram = self.is_ram(pfn) && self.host_may_access(pfn);
        reach && (ram || self.setup.doorbells.contains(&pfn))
    }

    /// May frames leave the host's devices? Asked last.
    fn devices_let_go(&self) -> Result<(), Error> {
        if self.lost {
            Err(Error::DeviceLost)
        } else {
            Ok(())
        }
    }

    /// A word of a frame.
    pub fn word(&self, pfn: u64, index: u16) -> u64 {
        self.words
            .get(&pfn)
            .and_then(|words| words.get(&index))
            .copied()
            .unwrap_or(0)
    }

    /// Somebody writes a word.
    pub fn write(&mut self, pfn: u64, index: u16, value: u64) {
        let words = self.words.entry(pfn).or_default();
        if value == 0 {
            words.remove(&index);
        } else {
            words.insert(index, value);
        }
    }

    /// A frame changes hands.
    fn own(&mut self, pfn: u64, owner: Owner) {
        self.owners.insert(pfn, owner);
        self.touched.insert(pfn);
    }

    /// A frame comes back to the host: zeroed.
    fn give_back(&mut self, pfn: u64) {
        self.own(pfn, Owner::Host);
        self.wipe(pfn);
    }

    fn wipe(&mut self, pfn: u64) {
        self.words.remove(&pfn);
        self.cached.remove(&pfn);
    }
}
