//! The host's calls: what is refused, in which order, and what a success changes.
//!
//! The order of refusals is the manual's: arguments, VM, state, frames, mappings, pool.

use super::{HOST_RESERVE, Life, Owner, Power, Seen, Spec, Vcpu, Vm};
use hyp_core::abi::Call;
use hyp_core::abi::Error;
use hyp_core::abi::error::AGAIN;
use hyp_core::abi::run::FP_WORDS;
use std::collections::BTreeSet;

/// What the caller finds in `x0` and `x1`; `None`: not predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// 0 or [`AGAIN`].
    pub code: i64,
    /// First result.
    pub x1: Option<u64>,
}

/// Success without a result.
pub(super) const DONE: Outcome = Outcome {
    code: 0,
    x1: Some(0),
};

/// Success with one.
pub(super) fn gives(x1: u64) -> Outcome {
    Outcome {
        code: 0,
        x1: Some(x1),
    }
}

/// A piece is done.
pub(super) fn again(x1: Option<u64>) -> Outcome {
    Outcome { code: AGAIN, x1 }
}

/// A page-aligned address that a host named, as a frame number.
pub(super) fn frame(pa: u64) -> Result<u64, Error> {
    if !pa.is_multiple_of(4096) || pa >> 52 != 0 {
        Err(Error::BadAddress)
    } else {
        Ok(pa / 4096)
    }
}

/// A range of 1 to 512 frames.
pub(super) fn range(pa: u64, frames: u64) -> Result<std::ops::Range<u64>, Error> {
    if frames == 0 || frames > 512 {
        return Err(Error::InvalidArgument);
    }
    let first = frame(pa)?;
    Ok(first..first + frames)
}

/// Frames of a leaf of this order.
pub(super) fn leaf_frames(order: u64) -> Result<u64, Error> {
    match order {
        0 => Ok(1),
        9 => Ok(512),
        _ => Err(Error::InvalidArgument),
    }
}

impl Spec {
    /// A host call other than a run. What it returns is what Ward must have returned.
    ///
    /// # Errors
    /// The refusal Ward must have answered with; nothing has changed.
    pub fn call(&mut self, call: Call, a: [u64; 6], seen: &Seen<'_>) -> Result<Outcome, Error> {
        match call {
            Call::Version => Ok(gives(u64::from(hyp_core::abi::VERSION))),
            Call::HostDonate => self.host_donate(a[0], a[1], seen),
            Call::VmRegister => self.vm_register(a[0], a[1], a[2], a[3], seen),
            Call::VcpuRegister => self.vcpu_register(a[0], a[1], a[2], a[3], seen),
            Call::VmDonate => self.vm_donate(a[0], a[1], a[2], seen),
            Call::VmReclaimPool => self.vm_reclaim_pool(a[0], seen),
            Call::VmSetBootInfo => self.vm_set_boot_info(a[0], a[1], a[2]),
            Call::VmRemapImage => self.vm_remap_image(a[0], a[1], a[2], a[3], a[4], seen),
            Call::VmVerifyImages => self.vm_verify_images(a[0], seen),
            Call::VcpuSync => self.vcpu_sync(a[0], a[1], a[2], seen),
            Call::VmMap => self.vm_map(a[0], a[1], a[2], a[3], a[4], seen),
            Call::VmUnmapRange => self.vm_unmap(a[0], [a[1], a[2], a[3]], seen),
            Call::VmProtect => self.vm_protect(a[0], [a[1], a[2], a[3]], [a[4], a[5]], seen),
            Call::VmAgeRange => self.vm_age(a[0], [a[1], a[2], a[3]], a[4]),
            // The same of one leaf; the first two have no result.
            Call::VmUnmap => self.vm_unmap(a[0], [a[1], a[2], 1], seen).map(|_| DONE),
            Call::VmWriteProtect => {
                let one = [a[1], a[2], 1];
                self.vm_protect(a[0], one, [0, 1], seen).map(|_| DONE)
            }
            Call::VmAge => self.vm_age(a[0], [a[1], a[2], 1], 0),
            Call::VmMapIo => self.vm_map_io(a[0], a[1], a[2], [a[3], a[4]], seen),
            Call::VmClearRange => self.vm_clear_range(a[0], a[1], a[2], seen),
            Call::VmSetCntvoff if self.vm(a[0])?.protected && a[1] != 0 => {
                Err(Error::InvalidArgument)
            }
            Call::VmSetCntvoff => self.in_life(a[0], &[Life::Ready]).map(|_| DONE),
            Call::VmPowerOff => {
                self.in_life(a[0], &[Life::Ready, Life::Verified])?.life = Life::PowerOff;
                Ok(DONE)
            }
            Call::VmDestroy => self.vm_destroy(a[0], seen),
            Call::SmmuAlloc => self.smmu_alloc([a[0], a[1], a[2]], seen),
            Call::SmmuFree => self.smmu_free(a[0], a[1], seen),
            Call::SmmuMap => self.smmu_map(a, seen),
            Call::SmmuClear => self.smmu_clear(a, seen),
            Call::SmmuIovaToPhys => self.smmu_iova_to_phys(a[0], a[1], a[2]),
            Call::Info | Call::LogRead | Call::StatRead => Ok(Outcome { code: 0, x1: None }),
            _ => Err(Error::NotSupported),
        }
    }

    /// The VM a call names.
    pub(super) fn vm(&mut self, number: u64) -> Result<&mut Vm, Error> {
        let id = u16::try_from(number).map_err(|_| Error::NotFound)?;
        self.vms.get_mut(&id).ok_or(Error::NotFound)
    }

    /// The VM a call names, in one of these states.
    pub(super) fn in_life(&mut self, number: u64, lives: &[Life]) -> Result<&mut Vm, Error> {
        let vm = self.vm(number)?;
        if lives.contains(&vm.life) {
            Ok(vm)
        } else {
            Err(Error::BadState)
        }
    }

    /// Are all frames RAM, and the host's with no use that ties them to it?
    pub(super) fn idle(&self, frames: std::ops::Range<u64>) -> Result<(), Error> {
        if frames.clone().any(|pfn| !self.is_ram(pfn)) {
            return Err(Error::BadAddress);
        }
        let free = |pfn: u64| self.owners[&pfn] == Owner::Host && self.uses(pfn) == (0, 0);
        if frames.clone().all(free) {
            Ok(())
        } else {
            Err(Error::Denied)
        }
    }

    /// Frames leave the host for Ward's own use.
    fn take(&mut self, frames: std::ops::Range<u64>, vm: u16) {
        for pfn in frames {
            self.own(pfn, Owner::Ward(vm));
            self.wipe(pfn);
        }
    }

    fn host_donate(&mut self, pa: u64, frames: u64, seen: &Seen<'_>) -> Result<Outcome, Error> {
        let frames = range(pa, frames)?;
        self.idle(frames.clone())?;
        seen.room(0, 4)?;
        self.devices_let_go()?;
        self.take(frames, 0);
        Ok(DONE)
    }

    fn vm_register(
        &mut self,
        flags: u64,
        record: u64,
        root: u64,
        vcpus: u64,
        seen: &Seen<'_>,
    ) -> Result<Outcome, Error> {
        if flags > 2 || !(1..=64).contains(&vcpus) {
            return Err(Error::InvalidArgument);
        }
        let (record, root) = (frame(record)?, frame(root)?);
        let roots = self.setup.root_frames;
        if root % roots != 0 || record < root + roots && root < record + 2 {
            return Err(Error::BadAddress);
        }
        // The number stands where other calls look for theirs: before the frames.
        if (1..=self.setup.max_vm).all(|id| self.vms.contains_key(&(id as u16))) {
            return Err(Error::NoNumber);
        }
        self.idle(record..record + 2)?;
        self.idle(root..root + roots)?;
        seen.room(0, HOST_RESERVE)?;
        self.devices_let_go()?;
        // Which free number is Ward's choice; it must be a free one.
        let id = seen.x[1] as u16;
        if seen.x[0] == 0
            && (seen.x[1] == 0 || seen.x[1] > self.setup.max_vm || self.vms.contains_key(&id))
        {
            return Ok(Outcome {
                code: 0,
                x1: Some(u64::MAX),
            });
        }
        self.take(record..record + 2, id);
        self.take(root..root + roots, id);
        let mut vm = Vm::bare(flags == 1, Life::Ready, record, root, None);
        vm.vcpu_limit = vcpus;
        vm.host_ids = flags == 2;
        self.vms.insert(id, vm);
        Ok(gives(u64::from(id)))
    }

    fn vcpu_register(
        &mut self,
        vm: u64,
        vcpu: u64,
        record: u64,
        run: u64,
        seen: &Seen<'_>,
    ) -> Result<Outcome, Error> {
        let (record, run) = (frame(record)?, frame(run)?);
        if record == run {
            return Err(Error::BadAddress);
        }
        if vcpu >= self.vm(vm)?.vcpu_limit {
            return Err(Error::InvalidArgument);
        }
        let it = self.in_life(vm, &[Life::Ready])?;
        if it.vcpus.contains_key(&vcpu) {
            return Err(Error::Exists);
        }
        // A protected VM's first vCPU is switched on by verification, the others by the guest.
        let on = !it.protected;
        if !self.is_ram(record) || !self.is_ram(run) {
            return Err(Error::BadAddress);
        }
        self.idle(record..record + 1)?;
        // A run page may serve several vCPUs, but a page that a normal VM maps may not become one.
        if self.owners[&run] != Owner::Host || self.uses(run).1 != 0 {
            return Err(Error::Denied);
        }
        seen.room(0, HOST_RESERVE)?;
        self.devices_let_go()?;
        self.take(record..record + 1, vm as u16);
        self.pins.insert((run, vm as u16, vcpu));
        self.touched.insert(run);
        let new = Vcpu {
            record,
            run,
            power: if on { Power::On } else { Power::Off },
            active: false,
            base: 0,
            starts: 0,
            steps: Vec::new(),
            at: 0,
            open: super::Open::Nothing,
            x: [0; 31],
            caches: false,
            fp: [0; FP_WORDS],
            lazy: false,
            serror: None,
            far: 0,
            events: Vec::new(),
            taken: None,
            late: None,
        };
        self.vm(vm)?.vcpus.insert(vcpu, new);
        Ok(DONE)
    }

    fn vm_donate(
        &mut self,
        vm: u64,
        pa: u64,
        frames: u64,
        seen: &Seen<'_>,
    ) -> Result<Outcome, Error> {
        let frames = range(pa, frames)?;
        self.in_life(vm, &[Life::Ready, Life::Verified])?;
        self.idle(frames.clone())?;
        seen.room(0, HOST_RESERVE)?;
        self.devices_let_go()?;
        self.take(frames, vm as u16);
        Ok(DONE)
    }

    /// Which page of the pool comes back is Ward's choice; it must have been one.
    fn vm_reclaim_pool(&mut self, vm: u64, seen: &Seen<'_>) -> Result<Outcome, Error> {
        let it = self.vm(vm)?;
        if seen.vm_pool == 0 {
            return Err(Error::NotFound);
        }
        let (pfn, records) = (seen.x[1] / 4096, it.frames_in_use(0));
        if seen.x[0] == 0
            && self.owners.get(&pfn) == Some(&Owner::Ward(vm as u16))
            && !records.contains(&pfn)
        {
            self.give_back(pfn);
            return Ok(gives(pfn * 4096));
        }
        Ok(Outcome {
            code: 0,
            x1: Some(u64::MAX),
        })
    }
}

impl Vm {
    /// Frames of Ward's that hold this VM's record, root (of that many frames) and vCPUs: not
    /// pool, not tables.
    pub fn frames_in_use(&self, root_frames: u64) -> BTreeSet<u64> {
        let mut frames: BTreeSet<u64> = [self.record, self.record + 1].into();
        frames.extend(self.root..self.root + root_frames.max(1));
        frames.extend(self.vcpus.values().map(|vcpu| vcpu.record));
        frames
    }
}
