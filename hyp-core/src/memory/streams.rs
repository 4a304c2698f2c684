//! Streams that the host took for itself, each with a table of addresses of its choice.
//!
//! 1. *All checks come first*; a refused call has changed nothing.
//! 2. *A frame is pinned while a device may reach it*: from before its leaf is written until after
//!    the wait that follows its removal. Each leaf pins each of its frames once. A pinned frame
//!    cannot be given away, and a frame whose counter is full cannot be mapped.
//! 3. *An address that is mapped is not mapped again.*
//! 4. Table pages come from the host's pool and go back to it when a domain ends, or when a 2 MiB
//!    leaf takes the place of a table that says nothing.
//!
//! A stream of a VM's does not exist in this version: the host could still program the device, and
//! so write what it likes into the VM's memory, as long as it reaches the device's registers.

use super::dma::{Ended, Walked};
use super::{Attrs, HOST_DEVICE, Memory, MemoryKind, Range};
use crate::abi::Error;
use crate::addr::{Ipa, PAGE_SIZE, Pfn, Size, VmId};
use crate::dma::{AttachError, DmaConfig, DmaLost, DmaTable, Domain, StreamKey};
use crate::machine::Machine;
use crate::stage2::{Geometry, Leaf, Lookup, MapError, Pool, Stage2};

/// Streams that may be the host's own at once.
pub const MAX_STREAMS: usize = 64;
/// Bits of the addresses in a stream's own table, at most: those of a root of one page.
const OWN_BITS: u8 = 39;
/// Frames that one piece of an end unpins at most.
const PIECE: u64 = 512;
/// Tables that one piece of an end frees at most.
const TABLES: u64 = 16;
/// Permissions of a device: reading always, writing.
const READ: u64 = 1;
const READ_WRITE: u64 = 3;

/// A stream of the host's own.
pub(super) struct Stream {
    key: StreamKey,
    table: Stage2,
    /// It is on its way back to the default, leads nowhere, and everything of it is forgotten.
    ended: bool,
}

/// The streams that do not lead to the host's memory as it is. The place is the domain's number.
pub(super) type Streams = [Option<Stream>; MAX_STREAMS];

/// Whether the end of a stream is to be asked for again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    Done,
    Left,
}

/// A stream that a host named.
///
/// # Errors
/// [`Error::NotFound`] for numbers that none can have.
fn key(smmu: u64, stream: u64) -> Result<StreamKey, Error> {
    match (u8::try_from(smmu), u32::try_from(stream)) {
        (Ok(smmu), Ok(stream)) => Ok(StreamKey { smmu, stream }),
        _ => Err(Error::NotFound),
    }
}

fn domain(index: usize) -> Domain {
    Domain::Own(index as u8)
}

fn frames(leaf: Leaf) -> Range {
    Range {
        first: leaf.frame,
        frames: leaf.size.frames(),
    }
}

impl From<DmaLost> for Error {
    fn from(DmaLost: DmaLost) -> Self {
        Error::DeviceLost
    }
}

/// Shape of a stream's own table: as the host's DMA table, with a root of one page.
fn shape(dma: &DmaConfig) -> Geometry {
    let bits = dma.geometry.ipa_bits().min(OWN_BITS);
    Geometry::new(bits).unwrap_or(dma.geometry)
}

impl<M: Machine> Memory<M> {
    fn stream(&self, key: StreamKey) -> Result<usize, Error> {
        let is = |it: &Option<Stream>| it.as_ref().is_some_and(|it| it.key == key);
        self.streams.iter().position(is).ok_or(Error::BadState)
    }

    /// The stream, if it has a table to change.
    fn table(&mut self, index: usize) -> Result<&mut Stage2, Error> {
        match &mut self.streams[index] {
            Some(Stream {
                table,
                ended: false,
                ..
            }) => Ok(table),
            _ => Err(Error::BadState),
        }
    }

    /// [`Call::SmmuAlloc`](crate::abi::Call::SmmuAlloc) for the host itself.
    pub(crate) fn stream_alloc(
        &mut self,
        machine: &M,
        dma: &DmaConfig,
        (smmu, stream): (u64, u64),
    ) -> Result<(), Error> {
        let key = key(smmu, stream)?;
        if !machine.dma_has(key) {
            return Err(Error::NotFound);
        }
        if self.stream(key).is_ok() {
            return Err(Error::Exists);
        }
        let free = self.streams.iter().position(Option::is_none);
        let index = free.ok_or(Error::NoNumber)?;
        if self.spare_tables() == 0 {
            return Err(Error::NoMemory);
        }
        if machine.dma_lost() {
            return Err(Error::DeviceLost);
        }
        let mem = &Walked(machine);
        let root = self.pool.pop(mem).ok_or(Error::NoMemory)?;
        let geometry = shape(dma);
        let led = machine.dma_attach(
            key,
            Some(DmaTable {
                domain: domain(index),
                root,
                geometry,
            }),
        );
        // Lost on the way, it may lead to this table or to the default: the table is kept.
        if led.is_ok() || led == Err(AttachError::Lost) {
            self.streams[index] = Some(Stream {
                key,
                table: Stage2::new(VmId::HOST, root, geometry),
                ended: false,
            });
        } else {
            self.pool.push(machine, root);
        }
        led.map_err(|error| match error {
            AttachError::NoStream => Error::NotFound,
            AttachError::NoRoom => Error::NotSupported,
            AttachError::Lost => Error::DeviceLost,
        })
    }

    /// [`Call::SmmuMap`](crate::abi::Call::SmmuMap).
    pub(crate) fn stream_map(
        &mut self,
        machine: &M,
        dma: &DmaConfig,
        (smmu, stream): (u64, u64),
        [iova, pa, order, prot]: [u64; 4],
    ) -> Result<(), Error> {
        let size = Size::from_order(order)?;
        if prot != READ && prot != READ_WRITE {
            return Err(Error::InvalidArgument);
        }
        let (ipa, first) = (Ipa::page(iova)?, Pfn::from_host_pa(pa)?);
        if !ipa.is_aligned(size) || !first.0.is_multiple_of(size.frames()) {
            return Err(Error::BadAddress);
        }
        let index = self.stream(key(smmu, stream)?)?;
        self.table(index)?;
        let range = Range {
            first,
            frames: size.frames(),
        };
        let write = prot == READ_WRITE;
        let bells = dma.doorbells.as_slice().iter();
        let doorbell = size == Size::Page && bells.clone().any(|bell| bell.contains(first));
        let attrs = if doorbell {
            Attrs {
                write,
                ..HOST_DEVICE
            }
        } else {
            self.check_ram(range)?;
            for n in 0..range.frames {
                self.check_device_pin(first.add(n))?;
            }
            Attrs {
                kind: MemoryKind::Normal,
                write,
                execute: true,
            }
        };
        let spare = self.spare_tables();
        let mem = &Walked(machine);
        let table = self.table(index)?;
        let fits = |table: &Stage2| table.can_map(mem, spare, ipa, first, size);
        let mut hollow = None;
        match fits(table) {
            Ok(()) => {}
            Err(MapError::Misaligned | MapError::OutOfRange) => return Err(Error::BadAddress),
            Err(MapError::NoTables(_)) => return Err(Error::NoMemory),
            Err(MapError::Occupied) => {
                hollow = match size {
                    Size::Block2M => table.unlink_hollow(mem, ipa),
                    _ => None,
                };
                if hollow.is_none() {
                    return Err(Error::Exists);
                }
            }
        }
        if let Some(page) = hollow {
            machine.dma_forget(domain(index), ipa, size.frames());
            if let Err(lost) = machine.dma_sync() {
                table.link_hollow(mem, ipa, page);
                return Err(lost.into());
            }
            self.pool.push(machine, page);
        } else if machine.dma_lost() {
            return Err(Error::DeviceLost);
        }
        if !doorbell {
            for n in 0..range.frames {
                self.device_pin(first.add(n));
            }
        }
        if let Some(Stream { table, .. }) = &mut self.streams[index] {
            table.map(mem, &mut self.pool, ipa, first, size, attrs);
        }
        Ok(())
    }

    /// [`Call::SmmuClear`](crate::abi::Call::SmmuClear).
    pub(crate) fn stream_clear(
        &mut self,
        machine: &M,
        (smmu, stream): (u64, u64),
        [iova, order]: [u64; 2],
    ) -> Result<(), Error> {
        let size = Size::from_order(order)?;
        let ipa = Ipa::page(iova)?;
        if !ipa.is_aligned(size) {
            return Err(Error::BadAddress);
        }
        let index = self.stream(key(smmu, stream)?)?;
        let mem = &Walked(machine);
        let table = self.table(index)?;
        if machine.dma_lost() {
            return Err(Error::DeviceLost);
        }
        let leaf = table.break_leaf(mem, ipa, size).ok_or(Error::NotFound)?;
        machine.dma_forget(domain(index), ipa, size.frames());
        if let Err(lost) = machine.dma_sync() {
            // As it was, and pinned: a device may reach it for ever.
            table.map(mem, &mut Pool::new(), ipa, leaf.frame, size, leaf.attrs);
            return Err(lost.into());
        }
        self.unpin_leaf(leaf);
        Ok(())
    }

    fn unpin_leaf(&mut self, leaf: Leaf) {
        // The doorbell has no record.
        if leaf.attrs.kind == MemoryKind::Normal {
            let Range { first, frames } = frames(leaf);
            for n in 0..frames {
                self.unpin(first.add(n));
            }
        }
    }

    /// [`Call::SmmuFree`](crate::abi::Call::SmmuFree): one bounded piece.
    pub(crate) fn stream_free(
        &mut self,
        machine: &M,
        default: DmaTable,
        (smmu, stream): (u64, u64),
    ) -> Result<Ending, Error> {
        let key = key(smmu, stream)?;
        let index = self.stream(key)?;
        if machine.dma_lost() {
            return Err(Error::DeviceLost);
        }
        let Some(stream) = &mut self.streams[index] else {
            unreachable!("found above")
        };
        if !stream.ended {
            // Nothing is under way and nothing is remembered before the first frame is let go.
            machine
                .dma_attach(key, None)
                .map_err(|_| Error::DeviceLost)?;
            machine.dma_end(domain(index))?;
            stream.ended = true;
        }
        let mem = &Ended(machine);
        let mut budget = PIECE;
        // Tables that are empty already are walked through once, not for each leaf.
        let mut from = Ipa::containing(0);
        while let Some((ipa, leaf)) = self.next_leaf(mem, index, from) {
            if leaf.size.frames() > budget {
                return Ok(Ending::Left);
            }
            budget -= leaf.size.frames();
            if let Some(Stream { table, .. }) = &mut self.streams[index] {
                table.break_leaf(mem, ipa, leaf.size);
            }
            self.unpin_leaf(leaf);
            from = Ipa::containing(ipa.as_u64() + leaf.size.bytes());
        }
        for _ in 0..TABLES {
            let table = self.streams[index].as_mut();
            match table.and_then(|it| it.table.take_table(mem)) {
                Some(page) => self.pool.push(machine, page),
                None => return self.stream_back(machine, default, index),
            }
        }
        Ok(Ending::Left)
    }

    fn next_leaf(&self, mem: &Ended<'_, M>, index: usize, from: Ipa) -> Option<(Ipa, Leaf)> {
        self.streams[index].as_ref()?.table.next_leaf(mem, from)
    }

    /// Nothing is left of a stream's own table but the root.
    fn stream_back(
        &mut self,
        machine: &M,
        default: DmaTable,
        index: usize,
    ) -> Result<Ending, Error> {
        if let Some(Stream { key, table, .. }) = &self.streams[index] {
            machine
                .dma_attach(*key, Some(default))
                .map_err(|_| Error::DeviceLost)?;
            let root = table.root().root;
            self.pool.push(machine, root);
            self.streams[index] = None;
        }
        Ok(Ending::Done)
    }

    /// [`Call::SmmuIovaToPhys`](crate::abi::Call::SmmuIovaToPhys).
    pub(crate) fn stream_lookup(
        &mut self,
        machine: &M,
        (smmu, stream): (u64, u64),
        iova: u64,
    ) -> Result<u64, Error> {
        let index = self.stream(key(smmu, stream)?)?;
        let table = self.table(index)?;
        if iova >> table.geometry().ipa_bits() != 0 {
            return Err(Error::BadAddress);
        }
        match table.lookup(&Walked(machine), Ipa::containing(iova)) {
            Lookup::Leaf { ipa, leaf } => Ok(leaf.frame.pa() + (iova - ipa.as_u64())),
            Lookup::Invalid { .. } => Err(Error::NotFound),
        }
    }

    /// Bits of the addresses in a stream's own table.
    pub(crate) fn stream_bits(dma: &DmaConfig) -> u64 {
        shape(dma).ipa_bits().into()
    }
}

#[cfg(feature = "inspect")]
impl<M: Machine> Memory<M> {
    /// The tables of the streams that are the host's own, to look at.
    pub fn stream_tables(&self) -> impl Iterator<Item = (StreamKey, &Stage2)> {
        let streams = self.streams.iter().flatten();
        streams.map(|stream| (stream.key, &stream.table))
    }
}

const _: () = assert!(
    PAGE_SIZE << 27 == 1 << OWN_BITS,
    "a root of one page at level 1"
);
