//! VMs: what Ward keeps of each, and the life they go through.
//!
//! `Unused -> Ready -> Verified -> PowerOff -> Unused`; a vCPU `Empty -> Ready <-> Active`.
//! A VM's record lives in frames the host donated for it; a slot holds nothing but the lock and
//! the way there. A running vCPU is *moved out* of the record: it belongs to its CPU, and nothing
//! that holds the VM's lock can reach its registers.

mod boot;
mod build;
mod map;
mod normal;
mod teardown;

pub use boot::VERIFY_FRAMES;
pub(crate) use boot::Verified;
pub(crate) use map::PROT_WRITE;
pub(crate) use normal::Leaves;
pub(crate) use teardown::Destroyed;

use crate::abi::manifest::Manifest;
use crate::abi::{Error, MAX_VCPUS, VCPU_RECORD_FRAMES, VM_RECORD_FRAMES, vm_state};
use crate::addr::{Ipa, PAGE_SIZE, Pfn, VmId};
use crate::lock::{Ordered, level};
use crate::machine::Machine;
use crate::memory::Range;
use crate::run::Vcpu;
use crate::stage2::{Attrs, MemoryKind, Pool, Stage2};
use crate::verify::Progress;

/// Where a VM's record hangs, for the lifetime of the machine.
pub type VmSlot<M> = Ordered<M, level::Vm, Option<<M as Machine>::Placed<Vm<M>>>>;

/// A protected VM maps its RAM so, and nothing less: what is executable is the guest's affair.
const GUEST_RAM: Attrs = Attrs {
    kind: MemoryKind::Normal,
    write: true,
    execute: true,
};

/// Where a VM is in its life. `Unused` is an empty slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Being built. A normal VM runs in this state, a protected one does not run yet.
    Ready,
    /// All images are the ones that were signed; a protected VM runs.
    Verified,
    /// Nothing runs any more; memory can be reclaimed.
    PowerOff,
}

impl State {
    /// The number a host reads.
    pub const fn code(self) -> u64 {
        match self {
            State::Ready => vm_state::READY,
            State::Verified => vm_state::VERIFIED,
            State::PowerOff => vm_state::POWER_OFF,
        }
    }
}

/// Whether a vCPU may run, as PSCI sees it (DEN0022 5.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Power {
    /// It runs when the host lets it.
    On,
    /// It waits for a CPU_ON.
    Off,
    /// A CPU_ON named its first instruction; its next run starts there.
    Pending {
        /// Entry point, an IPA.
        entry: u64,
        /// `x0` at entry.
        context: u64,
    },
}

/// One vCPU's place in its VM.
pub enum Slot<M: Machine> {
    /// Not registered.
    Empty,
    /// At rest: its registers are here.
    Ready(M::Placed<Vcpu>, Frames),
    /// Running on a CPU, which has its registers.
    Active(Frames),
}

/// The frames of a vCPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frames {
    /// Holds the record.
    pub record: Pfn,
    /// The run page, the host's, pinned.
    pub run: Pfn,
}

/// What the owner's signature fixes of a protected VM, and how far the check has come.
pub struct Boot {
    /// The signed manifest.
    pub manifest: Manifest,
    /// Hashing of the images.
    pub progress: Progress,
    /// Pages of images that came in. None leaves again before the VM ends.
    pub pages: u64,
    /// Hashing began: no more pages come in.
    pub verifying: bool,
}

/// Counters of one VM.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct VmStats {
    /// Frames its stage 2 maps.
    pub mapped: u64,
    /// Pages it shares with the host.
    pub shared: u64,
    /// Exits to the host.
    pub exits: u64,
    /// Traps answered without the host.
    pub answered: u64,
}

/// A VM.
pub struct Vm<M: Machine> {
    /// Its number and VMID.
    pub id: VmId,
    /// Its memory and registers are kept from the host.
    pub protected: bool,
    /// Its host answers what it reads of ID registers.
    pub host_ids: bool,
    /// Where it is in its life.
    pub state: State,
    /// Its translation.
    pub stage2: Stage2,
    /// Table pages for it.
    pub pool: Pool,
    /// Boot information, once set.
    pub boot: Option<Boot>,
    /// `CNTVOFF_EL2` while it runs.
    pub cntvoff: u64,
    /// Counters.
    pub stats: VmStats,
    /// First frame of its record.
    pub record: Pfn,
    vcpus: u8,
    slots: [Slot<M>; MAX_VCPUS],
    power: [Power; MAX_VCPUS],
}

impl<M: Machine> Vm<M> {
    /// A VM in state Ready without vCPUs, memory or boot information.
    pub fn new(id: VmId, protected: bool, stage2: Stage2, record: Pfn, vcpus: u8) -> Self {
        const {
            assert!(size_of::<Self>() as u64 <= VM_RECORD_FRAMES * PAGE_SIZE);
            assert!(size_of::<Vcpu>() as u64 <= VCPU_RECORD_FRAMES * PAGE_SIZE);
        }
        Vm {
            id,
            protected,
            host_ids: false,
            state: State::Ready,
            stage2,
            pool: Pool::new(),
            boot: None,
            cntvoff: 0,
            stats: VmStats::default(),
            record,
            vcpus,
            slots: [const { Slot::Empty }; MAX_VCPUS],
            power: [Power::Off; MAX_VCPUS],
        }
    }

    /// Number of vCPUs the VM was registered with.
    pub fn vcpus(&self) -> u8 {
        self.vcpus
    }

    /// The vCPU's place; `None` for an index the VM does not have.
    pub fn slot(&self, vcpu: u64) -> Option<&Slot<M>> {
        let index = usize::try_from(vcpu).ok()?;
        self.slots[..usize::from(self.vcpus)].get(index)
    }

    /// The vCPU's place and power, to change.
    pub(crate) fn slot_mut(&mut self, vcpu: u64) -> Option<(&mut Slot<M>, &mut Power)> {
        let index = usize::try_from(vcpu).ok()?;
        let slot = self.slots[..usize::from(self.vcpus)].get_mut(index)?;
        Some((slot, &mut self.power[index]))
    }

    /// The vCPU's power; `None` unless it is registered.
    pub fn power(&self, vcpu: u64) -> Option<Power> {
        match self.slot(vcpu)? {
            Slot::Empty => None,
            _ => self.power.get(usize::try_from(vcpu).ok()?).copied(),
        }
    }

    /// Is some vCPU running?
    pub fn any_active(&self) -> bool {
        self.slots
            .iter()
            .any(|slot| matches!(slot, Slot::Active(_)))
    }

    /// # Errors
    /// [`Error::BadState`] unless the VM is in one of `states`.
    pub(crate) fn require(&self, states: &[State]) -> Result<(), Error> {
        if states.contains(&self.state) {
            Ok(())
        } else {
            Err(Error::BadState)
        }
    }

    /// # Errors
    /// [`Error::InvalidArgument`] unless the VM is a normal one.
    pub(crate) fn require_normal(&self) -> Result<(), Error> {
        if self.protected {
            Err(Error::InvalidArgument)
        } else {
            Ok(())
        }
    }

    /// # Errors
    /// [`Error::InvalidArgument`] unless the VM is a protected one.
    pub(crate) fn require_protected(&self) -> Result<(), Error> {
        if self.protected {
            Ok(())
        } else {
            Err(Error::InvalidArgument)
        }
    }

    /// Is the range RAM that the owner signed for?
    pub(crate) fn is_signed_ram(&self, ipa: Ipa, bytes: u64) -> bool {
        self.boot
            .as_ref()
            .is_some_and(|boot| boot.manifest.ram_contains(ipa.as_u64(), bytes))
    }

    /// Is the range device memory that the owner signed for?
    pub(crate) fn is_signed_mmio(&self, ipa: u64, bytes: u64) -> bool {
        self.boot
            .as_ref()
            .is_some_and(|boot| boot.manifest.mmio_contains(ipa, bytes))
    }

    /// The frames of the record.
    pub(crate) fn record_range(&self) -> Range {
        Range {
            first: self.record,
            frames: VM_RECORD_FRAMES,
        }
    }
}
