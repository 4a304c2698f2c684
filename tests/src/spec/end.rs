//! Calls that end a VM.

use super::calls::{DONE, Outcome, again, gives, range};
use super::{Life, Owner, Seen, Spec};
use hyp_core::abi::Error;

/// Frames that one piece of a destruction may return: a 2 MiB leaf, and what else is at hand.
const PIECE: usize = 1024;

impl Spec {
    /// The VM is off and no vCPU of it runs.
    fn stopped(&mut self, vm: u64) -> Result<u16, Error> {
        let it = self.in_life(vm, &[Life::PowerOff])?;
        if it.vcpus.values().any(|vcpu| vcpu.active) {
            Err(Error::Busy)
        } else {
            Ok(vm as u16)
        }
    }

    pub(super) fn vm_clear_range(
        &mut self,
        vm: u64,
        pa: u64,
        frames: u64,
        seen: &Seen<'_>,
    ) -> Result<Outcome, Error> {
        let frames = range(pa, frames)?;
        let id = self.stopped(vm)?;
        if frames.clone().any(|pfn| !self.is_ram(pfn)) {
            return Err(Error::BadAddress);
        }
        let mine: Vec<(u64, u64)> = frames
            .filter_map(|pfn| match self.owners[&pfn] {
                Owner::Vm(owner, page, _) if owner == id => Some((pfn, page)),
                _ => None,
            })
            .collect();
        seen.room(if mine.is_empty() { 0 } else { 2 }, 0)?;
        for (pfn, page) in &mine {
            self.vm(vm)?.maps.remove(page);
            self.give_back(*pfn);
        }
        Ok(gives(mine.len() as u64))
    }

    /// Ward chooses which frames come back in which piece; guest memory comes before the tables
    /// that map it, and each piece is bounded and gets on.
    pub(super) fn vm_destroy(&mut self, vm: u64, seen: &Seen<'_>) -> Result<Outcome, Error> {
        let id = self.stopped(vm)?;
        let last = seen.x[0] == 0;
        let mut progress = 0;
        let maps = std::mem::take(&mut self.vm(vm)?.maps);
        for (page, mapped) in maps {
            if !last && (seen.mapped)(id, page) {
                self.vm(vm)?.maps.insert(page, mapped);
                continue;
            }
            progress += 1;
            self.loans.remove(&(mapped.pfn, id, page));
            self.touched.insert(mapped.pfn);
            if let Some(Owner::Vm(owner, ..)) = self.owners.get(&mapped.pfn)
                && *owner == id
            {
                self.give_back(mapped.pfn);
            }
        }
        let memory_left = !self.vms[&id].maps.is_empty();
        let tables: Vec<u64> = self
            .owners
            .iter()
            .filter(|(_, owner)| **owner == Owner::Ward(id))
            .map(|(pfn, _)| *pfn)
            .collect();
        for pfn in tables {
            if last || !memory_left && (seen.owner)(pfn) == Some(Owner::Host) {
                progress += 1;
                self.give_back(pfn);
            }
        }
        let gone =
            |owners: &std::collections::BTreeMap<u64, Owner>, pfn: u64| owners[&pfn] == Owner::Host;
        let vcpus = self.vms[&id].vcpus.clone();
        for (index, vcpu) in vcpus {
            if last || gone(&self.owners, vcpu.record) {
                self.pins.remove(&(vcpu.run, id, index));
                self.touched.insert(vcpu.run);
                self.vm(vm)?.vcpus.remove(&index);
            }
        }
        if last {
            self.vms.remove(&id);
            return Ok(DONE);
        }
        let fair = progress > 0 && progress <= PIECE;
        Ok(again(if fair { None } else { Some(u64::MAX) }))
    }
}
