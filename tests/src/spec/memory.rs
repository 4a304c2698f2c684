//! Calls that map and unmap.

use super::calls::{DONE, Outcome, frame, gives, leaf_frames, range};
use super::{Life, Mapped, Owner, Seen, Spec, Vm};
use hyp_core::abi::Error;
use hyp_core::abi::manifest::Manifest;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

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
                    combining: false,
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
        [frames, flags]: [u64; 2],
        seen: &Seen<'_>,
    ) -> Result<Outcome, Error> {
        if flags > 3 {
            return Err(Error::InvalidArgument);
        }
        let device = range(pa, frames)?;
        let first = frame(ipa)?;
        if flags != 0 && self.vm(vm)?.protected {
            return Err(Error::InvalidArgument);
        }
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
                write: flags & 2 == 0,
                exec: false,
                device: true,
                combining: flags & 1 != 0,
                block: false,
            };
            self.vm(vm)?.maps.insert(first + n as u64, mapped);
        }
        Ok(DONE)
    }

    /// What a normal VM's host wants to change: the leaves that lie in the pages, and of blocks
    /// that reach over an end each page. `touches` says which it can be about; others are passed by.
    fn normal_leaves(
        &mut self,
        vm: u64,
        (pages, order, count): (&Range<u64>, u64, u64),
        lives: &[Life],
        touches: impl Fn(&Mapped) -> bool,
    ) -> Result<Vec<Piece>, Error> {
        if self.vm(vm)?.protected {
            return Err(Error::InvalidArgument);
        }
        let ipa_end = 1 << (self.setup.ipa_bits - 12);
        let it = self.in_life(vm, lives)?;
        if pages.end > ipa_end {
            return Err(Error::BadAddress);
        }
        if order == 9
            && it
                .maps
                .range(pages.clone())
                .any(|(_, mapped)| !mapped.block)
        {
            return Err(Error::NotFound);
        }
        let mut pieces = Vec::new();
        let mut page = pages.start;
        while page < pages.end {
            let Some(mapped) = it.maps.get(&page).filter(|mapped| touches(mapped)) else {
                page += 1;
                continue;
            };
            let leaf = it.leaf_of(page);
            let whole = leaf.start >= pages.start && leaf.end <= pages.end;
            let piece = if whole { leaf } else { page..page + 1 };
            page = piece.end;
            pieces.push(Piece {
                split: !whole && mapped.block,
                pages: piece,
            });
        }
        if count == 1 && pieces.is_empty() {
            return Err(Error::NotFound);
        }
        Ok(pieces)
    }

    /// Splits the blocks that pieces are parts of, if there are tables for it.
    fn split_for(&mut self, vm: u64, pieces: &[Piece], seen: &Seen<'_>) -> Result<(), Error> {
        let parts = pieces.iter().filter(|piece| piece.split);
        let blocks: BTreeSet<u64> = parts.map(|piece| piece.pages.start & !511).collect();
        seen.room(blocks.len() as u64, 0)?;
        for block in blocks {
            self.vm(vm)?.split(block);
        }
        Ok(())
    }

    pub(super) fn vm_unmap(
        &mut self,
        vm: u64,
        [ipa, order, count]: [u64; 3],
        seen: &Seen<'_>,
    ) -> Result<Outcome, Error> {
        let (pages, count) = places(ipa, order, count)?;
        let lives = [Life::Ready, Life::PowerOff];
        let pieces = self.normal_leaves(vm, (&pages, order, count), &lives, |_| true)?;
        self.split_for(vm, &pieces, seen)?;
        for page in pieces.iter().flat_map(|piece| piece.pages.clone()) {
            let it = self.vm(vm)?;
            it.used.remove(&page);
            if let Some(gone) = it.maps.remove(&page) {
                self.loans.remove(&(gone.pfn, vm as u16, page));
                self.touched.insert(gone.pfn);
            }
        }
        Ok(gives(pieces.len() as u64))
    }

    pub(super) fn vm_protect(
        &mut self,
        vm: u64,
        [ipa, order, count]: [u64; 3],
        [add, remove]: [u64; 2],
        seen: &Seen<'_>,
    ) -> Result<Outcome, Error> {
        if add > 3 || remove > 3 || add & remove != 0 {
            return Err(Error::InvalidArgument);
        }
        let (pages, count) = places(ipa, order, count)?;
        let mut pieces =
            self.normal_leaves(vm, (&pages, order, count), &[Life::Ready], |m| !m.device)?;
        let it = self.vm(vm)?;
        let now = |old: bool, bit: u64| (old | (add & bit != 0)) & (remove & bit == 0);
        // What has it already is not changed, nor a block split for it.
        pieces.retain(|piece| {
            let mapped = it.maps[&piece.pages.start];
            (now(mapped.write, 1), now(mapped.exec, 2)) != (mapped.write, mapped.exec)
        });
        self.split_for(vm, &pieces, seen)?;
        let it = self.vm(vm)?;
        for page in pieces.iter().flat_map(|piece| piece.pages.clone()) {
            if let Some(mapped) = it.maps.get_mut(&page) {
                (mapped.write, mapped.exec) = (now(mapped.write, 1), now(mapped.exec, 2));
            }
        }
        Ok(gives(pieces.len() as u64))
    }

    pub(super) fn vm_age(
        &mut self,
        vm: u64,
        [ipa, order, count]: [u64; 3],
        flags: u64,
    ) -> Result<Outcome, Error> {
        if flags > 1 {
            return Err(Error::InvalidArgument);
        }
        let (pages, count) = places(ipa, order, count)?;
        let pieces =
            self.normal_leaves(vm, (&pages, order, count), &[Life::Ready], |m| !m.device)?;
        let it = self.vm(vm)?;
        // A block has one flag, of whichever of its pages is asked.
        let leaves: BTreeMap<u64, Range<u64>> = pieces
            .iter()
            .map(|piece| it.leaf_of(piece.pages.start))
            .map(|leaf| (leaf.start, leaf))
            .collect();
        let young = |leaf: &&Range<u64>| Range::clone(leaf).any(|page| it.used.contains(&page));
        let count = leaves.values().filter(young).count() as u64;
        if flags == 0 {
            let old: Vec<u64> = leaves.into_values().flatten().collect();
            it.used.retain(|page| !old.contains(page));
        }
        Ok(gives(count))
    }
}

/// Pages of one leaf of a VM, or one page of a block that is to be split.
struct Piece {
    pages: Range<u64>,
    split: bool,
}

/// The pages of `count` leaves in a row, 0 for one.
fn places(ipa: u64, order: u64, count: u64) -> Result<(Range<u64>, u64), Error> {
    if count > 512 {
        return Err(Error::InvalidArgument);
    }
    let first = leaf(ipa, order)?;
    let count = count.max(1);
    let frames = first.end - first.start;
    Ok((first.start..first.start + count * frames, count))
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
