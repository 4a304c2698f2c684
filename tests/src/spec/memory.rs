//! Calls that map and unmap.

use super::calls::{DONE, Outcome, frame, gives, leaf_frames, range};
use super::{Life, Mapped, Owner, Seen, Spec, Vm};
use hyp_core::abi::Error;
use hyp_core::abi::manifest::Manifest;

/// A leaf that a call names: its pages.
fn leaf(ipa: u64, order: u64) -> Result<std::ops::Range<u64>, Error> {
    let frames = leaf_frames(order)?;
    let page = frame(ipa)?;
    if page % frames != 0 {
        Err(Error::BadAddress)
    } else {
        Ok(page..page + frames)
    }
}

/// Loans of a frame that can be told apart.
const MAX_LOANS: usize = u16::MAX as usize;

impl Spec {
    pub(super) fn vm_map(
        &mut self,
        vm: u64,
        ipa: u64,
        pa: u64,
        order: u64,
        prot: u64,
        seen: &Seen<'_>,
    ) -> Result<Outcome, Error> {
        if prot > 3 {
            return Err(Error::InvalidArgument);
        }
        let pages = leaf(ipa, order)?;
        let count = pages.end - pages.start;
        let first = frame(pa)?;
        if first % count != 0 {
            return Err(Error::BadAddress);
        }
        if self.vm(vm)?.protected {
            if prot != 3 {
                return Err(Error::InvalidArgument);
            }
            let it = self.in_life(vm, &[Life::Verified])?;
            let signed = |m: &Manifest| m.ram_contains(pages.start * 4096, count * 4096);
            if !it.manifest.as_ref().is_some_and(signed) {
                return Err(Error::BadAddress);
            }
            self.enter(vm as u16, pages.start, first, count, seen)?;
            for pfn in first..first + count {
                self.wipe(pfn);
            }
            return Ok(gives(seen.vm_pool_after));
        }
        self.in_life(vm, &[Life::Ready])?;
        let frames = first..first + count;
        if frames.clone().any(|pfn| !self.is_ram(pfn)) {
            return Err(Error::BadAddress);
        }
        let lendable = |pfn: u64| self.owners[&pfn] == Owner::Host && self.uses(pfn).1 < MAX_LOANS;
        if !frames.clone().all(lendable) {
            return Err(Error::Denied);
        }
        self.room_for_pages(vm, &pages)?;
        seen.room(3 - self.setup.start_level, 0)?;
        let (write, exec) = (prot & 1 != 0, prot & 2 != 0);
        for (page, pfn) in pages.zip(frames) {
            self.loans.insert((pfn, vm as u16, page));
            self.touched.insert(pfn);
            let it = self.vm(vm)?;
            it.maps.insert(
                page,
                Mapped {
                    pfn,
                    write,
                    exec,
                    device: false,
                    block: count > 1,
                },
            );
            it.used.insert(page);
        }
        Ok(gives(seen.vm_pool_after))
    }

    /// Are the pages within the VM's address space, and is nothing there?
    fn room_for_pages(&mut self, vm: u64, pages: &std::ops::Range<u64>) -> Result<(), Error> {
        if pages.end > 1 << (self.setup.ipa_bits - 12) {
            return Err(Error::BadAddress);
        }
        let it = self.vm(vm)?;
        if pages
            .clone()
            .any(|page| it.maps.contains_key(&page) || it.guards.contains(&page))
        {
            return Err(Error::Exists);
        }
        Ok(())
    }

    pub(super) fn vm_map_io(
        &mut self,
        vm: u64,
        ipa: u64,
        pa: u64,
        frames: u64,
        seen: &Seen<'_>,
    ) -> Result<Outcome, Error> {
        let device = range(pa, frames)?;
        let first = frame(ipa)?;
        let it = self.in_life(vm, &[Life::Ready])?;
        if it.protected {
            let manifest = it.manifest.as_ref().ok_or(Error::BadState)?;
            if !manifest.mmio_contains(ipa, frames * 4096) {
                return Err(Error::BadAddress);
            }
        }
        let beyond = device.end > 1 << (self.setup.ipa_bits - 12);
        if beyond || device.clone().any(|pfn| !self.is_free_device(pfn)) {
            return Err(Error::BadAddress);
        }
        self.room_for_pages(vm, &(first..first + frames))?;
        seen.room(2 * (3 - self.setup.start_level), 0)?;
        for (n, pfn) in device.enumerate() {
            let mapped = Mapped {
                pfn,
                write: true,
                exec: false,
                device: true,
                block: false,
            };
            self.vm(vm)?.maps.insert(first + n as u64, mapped);
        }
        Ok(DONE)
    }

    /// A leaf of a normal VM that the host wants to change, or a part of one: its pages, and
    /// whether a larger leaf must be split for that.
    fn normal_leaf(
        &mut self,
        vm: u64,
        pages: &std::ops::Range<u64>,
        lives: &[Life],
    ) -> Result<bool, Error> {
        if self.vm(vm)?.protected {
            return Err(Error::InvalidArgument);
        }
        let ipa_end = 1 << (self.setup.ipa_bits - 12);
        let it = self.in_life(vm, lives)?;
        if pages.end > ipa_end {
            return Err(Error::BadAddress);
        }
        let whole = pages.end - pages.start == 512;
        let fits = |page| {
            it.maps
                .get(&page)
                .is_some_and(|m: &Mapped| !m.device && (m.block || !whole))
        };
        if !pages.clone().all(fits) {
            return Err(Error::NotFound);
        }
        Ok(!whole && it.maps[&pages.start].block)
    }

    pub(super) fn vm_unmap(
        &mut self,
        vm: u64,
        ipa: u64,
        order: u64,
        seen: &Seen<'_>,
    ) -> Result<Outcome, Error> {
        let pages = leaf(ipa, order)?;
        let split = self.normal_leaf(vm, &pages, &[Life::Ready, Life::PowerOff])?;
        seen.room(u64::from(split), 0)?;
        let it = self.vm(vm)?;
        if split {
            it.split(pages.start);
        }
        for page in pages {
            let it = self.vm(vm)?;
            it.used.remove(&page);
            if let Some(gone) = it.maps.remove(&page) {
                self.loans.remove(&(gone.pfn, vm as u16, page));
                self.touched.insert(gone.pfn);
            }
        }
        Ok(DONE)
    }

    pub(super) fn vm_write_protect(
        &mut self,
        vm: u64,
        ipa: u64,
        order: u64,
        seen: &Seen<'_>,
    ) -> Result<Outcome, Error> {
        let pages = leaf(ipa, order)?;
        let split = self.normal_leaf(vm, &pages, &[Life::Ready])?;
        seen.room(u64::from(split), 0)?;
        let it = self.vm(vm)?;
        // A block that is read-only already need not be split; nobody can tell but by its age.
        if split && it.maps[&pages.start].write {
            it.split(pages.start);
        }
        for page in pages {
            if let Some(mapped) = it.maps.get_mut(&page) {
                mapped.write = false;
            }
        }
        Ok(DONE)
    }

    pub(super) fn vm_age(
        &mut self,
        vm: u64,
        ipa: u64,
        order: u64,
        seen: &Seen<'_>,
    ) -> Result<Outcome, Error> {
        let pages = leaf(ipa, order)?;
        let part = self.normal_leaf(vm, &pages, &[Life::Ready])?;
        seen.room(u64::from(part), 0)?;
        let it = self.vm(vm)?;
        let pages = it.leaf_of(pages.start);
        let young = pages.clone().any(|page| it.used.contains(&page));
        for page in pages {
            it.used.remove(&page);
        }
        Ok(gives(u64::from(young)))
    }
}

impl Vm {
    /// The pages of the leaf around a mapped page.
    pub(super) fn leaf_of(&self, page: u64) -> std::ops::Range<u64> {
        if self.maps[&page].block {
            let first = page & !511;
            first..first + 512
        } else {
            page..page + 1
        }
    }

    /// A 2 MiB leaf becomes 512 pages.
    pub(super) fn split(&mut self, page: u64) {
        for page in page & !511..(page & !511) + 512 {
            if let Some(mapped) = self.maps.get_mut(&page) {
                mapped.block = false;
            }
        }
    }

    /// A page is used.
    pub(super) fn touch(&mut self, page: u64) {
        if !self.protected && self.maps.contains_key(&page) {
            self.used.extend(self.leaf_of(page));
        }
    }
}
