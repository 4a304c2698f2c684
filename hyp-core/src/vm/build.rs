//! Calls that make a VM: register it and its vCPUs, feed its pool.

use super::{Frames, Power, Slot, State, Vm};
use crate::abi::{
    Error, MAX_RANGE_FRAMES, MAX_VCPUS, VCPU_RECORD_FRAMES, VM_HOST_IDS, VM_PROTECTED,
    VM_RECORD_FRAMES,
};
use crate::addr::{Pfn, VmId};
use crate::lock::{Order, level};
use crate::machine::Machine;
use crate::memory::{For, InTransit, Owner, Range};
use crate::run::Vcpu;
use crate::stage2::Stage2;
use crate::ward::Ward;

/// A range of frames that a host named.
///
/// # Errors
/// [`Error::InvalidArgument`] for an empty or too long range, [`Error::BadAddress`] for an
/// address that is not a frame's.
pub(crate) fn host_range(pa: u64, frames: u64) -> Result<Range, Error> {
    if frames == 0 || frames > MAX_RANGE_FRAMES {
        return Err(Error::InvalidArgument);
    }
    Ok(Range {
        first: Pfn::from_host_pa(pa)?,
        frames,
    })
}

impl<M: Machine> Ward<M> {
    /// [`Call::VmRegister`](crate::abi::Call::VmRegister).
    pub(crate) fn vm_register(
        &self,
        order: &mut Order<'_, level::Top>,
        flags: u64,
        record_pa: u64,
        root_pa: u64,
        vcpus: u64,
    ) -> Result<u64, Error> {
        if flags > VM_HOST_IDS || vcpus == 0 || vcpus > MAX_VCPUS as u64 {
            return Err(Error::InvalidArgument);
        }
        let geometry = self.config.geometry;
        let record = Range {
            first: Pfn::from_host_pa(record_pa)?,
            frames: VM_RECORD_FRAMES,
        };
        let root = Range {
            first: Pfn::from_host_pa(root_pa)?,
            frames: geometry.root_frames(),
        };
        if !root.first.0.is_multiple_of(root.frames) || root.overlaps(record) {
            return Err(Error::BadAddress);
        }
        // From here the order is: a slot's lock, then the memory lock. Slots that are taken are
        // passed by; whoever finds the free one keeps it locked until the VM stands.
        for (number, slot) in self.slots.iter().enumerate().skip(1) {
            let (mut slot, mut order) = slot.lock(order);
            if slot.is_some() {
                continue;
            }
            let id = VmId(u16::try_from(number).map_err(|_| Error::NoNumber)?);
            {
                let (mut memory, _) = self.memory.lock(&mut order);
                memory.check_take(record)?;
                memory.check_take(root)?;
                memory.check_tables(For::Vm)?;
                let owner = Owner::Hyp(id);
                memory.take(&self.machine, &[(record, owner), (root, owner)])?;
            }
            self.zero(record);
            self.zero(root);
            let vmid = if cfg!(ward_without = "vmid") {
                VmId(1)
            } else {
                id
            };
            let stage2 = Stage2::new(vmid, root.first, geometry);
            let mut vm = Vm::new(
                id,
                flags & VM_PROTECTED != 0,
                stage2,
                record.first,
                vcpus as u8,
            );
            vm.host_ids = flags & VM_HOST_IDS != 0;
            *slot = Some(self.machine.place(record.first, record.frames, vm));
            return Ok(u64::from(id.0));
        }
        Err(Error::NoNumber)
    }

    /// [`Call::VcpuRegister`](crate::abi::Call::VcpuRegister).
    pub(crate) fn vcpu_register(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        vcpu: u64,
        record_pa: u64,
        run_pa: u64,
    ) -> Result<(), Error> {
        let record = Range {
            first: Pfn::from_host_pa(record_pa)?,
            frames: VCPU_RECORD_FRAMES,
        };
        let run = Pfn::from_host_pa(run_pa)?;
        if record.contains(run) {
            return Err(Error::BadAddress);
        }
        self.with_vm(order, vm, |vm, order| {
            if vcpu >= u64::from(vm.vcpus()) {
                return Err(Error::InvalidArgument);
            }
            vm.require(&[State::Ready])?;
            let (id, protected) = (vm.id, vm.protected);
            let Some((slot @ Slot::Empty, power)) = vm.slot_mut(vcpu) else {
                return Err(Error::Exists);
            };
            {
                let (mut memory, _) = self.memory.lock(order);
                memory.check_ram(Range {
                    first: run,
                    frames: 1,
                })?;
                memory.check_take(record)?;
                memory.check_pin(run)?;
                memory.check_tables(For::Vm)?;
                memory.take(&self.machine, &[(record, Owner::Hyp(id))])?;
                memory.pin(run);
            }
            self.zero(record);
            let placed = self.machine.place(record.first, record.frames, Vcpu::new());
            *slot = Slot::Ready(
                placed,
                Frames {
                    record: record.first,
                    run,
                },
            );
            // A protected guest's first vCPU starts once the VM is verified, the others by its own
            // CPU_ON; the power of a normal VM's is the host's affair.
            *power = if protected { Power::Off } else { Power::On };
            Ok(())
        })
    }

    /// [`Call::VmDonate`](crate::abi::Call::VmDonate).
    pub(crate) fn vm_donate(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        pa: u64,
        frames: u64,
    ) -> Result<(), Error> {
        let range = host_range(pa, frames)?;
        self.with_vm(order, vm, |vm, order| {
            vm.require(&[State::Ready, State::Verified])?;
            self.take_zeroed(order, range, vm.id, For::Vm)?;
            for n in 0..range.frames {
                vm.pool.push_zeroed(&self.machine, range.first.add(n));
            }
            Ok(())
        })
    }

    /// [`Call::VmReclaimPool`](crate::abi::Call::VmReclaimPool).
    pub(crate) fn vm_reclaim_pool(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
    ) -> Result<u64, Error> {
        self.with_vm(order, vm, |vm, order| {
            let frame = vm.pool.pop(&self.machine).ok_or(Error::NotFound)?;
            self.return_unused(
                order,
                Range {
                    first: frame,
                    frames: 1,
                },
            );
            Ok(frame.pa())
        })
    }

    /// [`Call::HostDonate`](crate::abi::Call::HostDonate).
    pub(crate) fn host_donate(
        &self,
        order: &mut Order<'_, level::Top>,
        pa: u64,
        frames: u64,
    ) -> Result<(), Error> {
        let range = host_range(pa, frames)?;
        self.take_zeroed(order, range, VmId::HOST, For::HostPool)?;
        let (mut memory, _) = self.memory.lock(order);
        memory.add_to_pool(&self.machine, range);
        Ok(())
    }

    /// Takes a range from the host for Ward's use and zeroes it, with no lock below `L` held
    /// meanwhile.
    pub(crate) fn take_zeroed<L>(
        &self,
        order: &mut Order<'_, L>,
        range: Range,
        for_vm: VmId,
        purpose: For,
    ) -> Result<(), Error>
    where
        level::Memory: level::Below<L>,
    {
        {
            let (mut memory, _) = self.memory.lock(order);
            memory.check_take(range)?;
            memory.check_tables(purpose)?;
            memory.take(&self.machine, &[(range, Owner::Hyp(for_vm))])?;
        }
        self.zero(range);
        Ok(())
    }

    /// Gives frames of Ward's that nothing names any more back to the host, zeroed.
    pub(crate) fn return_unused<L>(&self, order: &mut Order<'_, L>, range: Range)
    where
        level::Memory: level::Below<L>,
    {
        let clean = InTransit::unused(range).scrub(&self.machine);
        let (mut memory, _) = self.memory.lock(order);
        memory.give(&self.machine, clean);
    }

    fn zero(&self, range: Range) {
        for n in 0..range.frames {
            self.machine.zero_frame(range.first.add(n));
        }
    }
}
