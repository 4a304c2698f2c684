//! The block device: a file, or a block device of the host, as a disk.
//!
//! Requests are served one after the other on the device thread, through the host's page cache
//! (never past it: the kernel then copies, and a page that a protected guest has not shared is an
//! error of that request). What the guest flushed is on the disk; a guest that cannot flush has
//! each write on the disk when it ends.

use super::channel::{Channel, Served};
use super::request::{Malformed, Request};
use super::{Activation, Counters, Progress, Ready, VirtioDevice, read_bytes};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

mod disk;
#[cfg(test)]
mod tests;

pub use disk::{Disk, SECTOR};

/// Feature bits, virtio 1.2 section 5.2.3.
mod feature {
    pub(super) const SIZE_MAX: u64 = 1 << 1;
    pub(super) const SEG_MAX: u64 = 1 << 2;
    pub(super) const RO: u64 = 1 << 5;
    pub(super) const BLK_SIZE: u64 = 1 << 6;
    pub(super) const FLUSH: u64 = 1 << 9;
    pub(super) const DISCARD: u64 = 1 << 13;
    pub(super) const WRITE_ZEROES: u64 = 1 << 14;
}

/// Request types.
mod kind {
    pub(super) const IN: u32 = 0;
    pub(super) const OUT: u32 = 1;
    pub(super) const FLUSH: u32 = 4;
    pub(super) const GET_ID: u32 = 8;
    pub(super) const DISCARD: u32 = 11;
    pub(super) const WRITE_ZEROES: u32 = 13;
}

/// Entries of the queue; pieces of a request, and bytes of a piece, that drivers keep to.
const QUEUE: u16 = 256;
const PIECES: u32 = 126;
const PIECE_BYTES: u32 = 256 << 10;
/// Ranges of a discard, and sectors of each.
const RANGES: u32 = 16;
const RANGE_SECTORS: u32 = 4 << 20 >> 9;
/// Bytes of an identification.
const ID: usize = 20;

/// How a request ended, as the driver reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Status {
    Ok = 0,
    Failed = 1,
    Unsupported = 2,
}

/// A disk for a guest.
pub struct Block {
    disk: Disk,
    id: [u8; ID],
    config: [u8; 60],
    channel: Option<Channel>,
    /// The driver knows how to flush.
    flushes: bool,
    counters: Arc<Counters>,
}

impl Block {
    /// A device for `disk`; the guest reads the first 20 bytes of `id` as its serial number.
    pub fn new(disk: Disk, id: &str) -> Self {
        let mut serial = [0; ID];
        for (to, from) in serial.iter_mut().zip(id.bytes()) {
            *to = from;
        }
        Block {
            config: config(&disk),
            disk,
            id: serial,
            channel: None,
            flushes: false,
            counters: Arc::default(),
        }
    }
}

/// The configuration space: struct virtio_blk_config.
fn config(disk: &Disk) -> [u8; 60] {
    let mut config = [0; 60];
    config[..8].copy_from_slice(&disk.sectors().to_le_bytes());
    for (at, value) in [
        (8, PIECE_BYTES),
        (12, PIECES),
        (20, SECTOR as u32),
        // Discards: sectors, ranges, alignment in sectors.
        (36, RANGE_SECTORS),
        (40, RANGES),
        (44, 1),
        // Zeroes: sectors, ranges.
        (48, RANGE_SECTORS),
        (52, RANGES),
        // Zeroing may give the space back.
        (56, 1),
    ] {
        config[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    config
}

impl VirtioDevice for Block {
    fn device_type(&self) -> u32 {
        2
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE]
    }

    fn features(&self) -> u64 {
        let fixed = feature::SIZE_MAX | feature::SEG_MAX | feature::BLK_SIZE | feature::FLUSH;
        fixed
            | if self.disk.read_only() {
                feature::RO
            } else {
                feature::DISCARD | feature::WRITE_ZEROES
            }
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_bytes(&self.config, offset, data);
    }

    fn activate(&mut self, activation: Activation) -> io::Result<()> {
        self.flushes = activation.features & feature::FLUSH != 0;
        let [channel] = activation.channels()?;
        self.channel = Some(channel);
        Ok(())
    }

    fn reset(&mut self) {
        self.channel = None;
    }

    fn process(&mut self, _: Ready) -> Progress {
        let Some(channel) = &mut self.channel else {
            return Progress::Done;
        };
        let server = Server {
            disk: &self.disk,
            id: &self.id,
            through: !self.flushes,
            counters: &self.counters,
        };
        channel.serve(|request| server.serve(request))
    }

    fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }
}

/// What a request needs.
struct Server<'a> {
    disk: &'a Disk,
    id: &'a [u8; ID],
    /// Each write goes to the disk at once.
    through: bool,
    counters: &'a Counters,
}

impl Server<'_> {
    fn serve(&self, request: Result<Request<'_>, Malformed>) -> Served {
        Counters::add(&self.counters.requests, 1);
        let (status, written, cost) = match request {
            Ok(mut request) => {
                let cost = request.input.len() + request.output.len();
                let (status, written) = self.answer(&mut request);
                (status, written, cost)
            }
            Err(_) => (Status::Failed, 0, 0),
        };
        if status != Status::Ok {
            Counters::add(&self.counters.errors, 1);
        }
        Served { written, cost }
    }

    /// Does a request and writes its status; returns it with the bytes written.
    fn answer(&self, request: &mut Request<'_>) -> (Status, usize) {
        // Without a place for the status there is no way to answer.
        let Some(place) = request.output.split_last() else {
            return (Status::Failed, 0);
        };
        let room = request.output.len();
        let status = match request.input.take::<16>() {
            Some(header) => self.act(&header, request),
            None => Status::Failed,
        };
        place.copy_from(&[status as u8]);
        (status, room - request.output.len() + 1)
    }

    fn act(&self, header: &[u8; 16], request: &mut Request<'_>) -> Status {
        let [kind, _, low, high] = words(header);
        let sector = u64::from(high) << 32 | u64::from(low);
        let (input, output) = (&mut request.input, &mut request.output);
        let done = match kind {
            kind::IN => {
                let bytes = output.len();
                self.range(sector, bytes)
                    .and_then(|at| output.read_at(self.disk.file().as_fd(), at))
                    .and_then(|done| all(done, bytes))
                    .map(|()| Counters::add(&self.counters.to_guest, bytes as u64))
            }
            kind::OUT if !self.disk.read_only() => {
                let bytes = input.len();
                self.range(sector, bytes)
                    .and_then(|at| input.write_at(self.disk.file().as_fd(), at))
                    .and_then(|done| all(done, bytes))
                    .and_then(|()| self.settle())
                    .map(|()| Counters::add(&self.counters.from_guest, bytes as u64))
            }
            kind::FLUSH => self.disk.flush(),
            kind::GET_ID => {
                output.put(self.id);
                Ok(())
            }
            kind::DISCARD | kind::WRITE_ZEROES if !self.disk.read_only() => {
                return self.clear(kind == kind::DISCARD, request);
            }
            kind::OUT | kind::DISCARD | kind::WRITE_ZEROES => return Status::Failed,
            _ => return Status::Unsupported,
        };
        done.map_or(Status::Failed, |()| Status::Ok)
    }

    /// Where a transfer begins in the file, when all of it is on the disk.
    fn range(&self, sector: u64, bytes: usize) -> io::Result<u64> {
        let bytes = bytes as u64;
        let end = bytes.is_multiple_of(SECTOR).then_some(bytes / SECTOR);
        let end = end.and_then(|sectors| sector.checked_add(sectors));
        if end.is_some_and(|end| end <= self.disk.sectors()) {
            Ok(sector * SECTOR)
        } else {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }

    /// A write has ended: a driver that cannot flush relies on it.
    fn settle(&self) -> io::Result<()> {
        if self.through {
            self.disk.flush()
        } else {
            Ok(())
        }
    }

    /// Discards ranges of sectors, or makes them zero. All are checked before the first is done.
    fn clear(&self, discard: bool, request: &mut Request<'_>) -> Status {
        let mut ranges = Vec::new();
        let count = request.input.len() / 16;
        if count == 0 || count > RANGES as usize || !request.input.len().is_multiple_of(16) {
            return Status::Failed;
        }
        while let Some(range) = request.input.take::<16>() {
            let [low, high, sectors, flags] = words(&range);
            // Bit 0: the space may be given back. A discard does so anyway, and has no flags.
            if flags & !1 != 0 || (discard && flags != 0) {
                return Status::Unsupported;
            }
            let bytes = u64::from(sectors) * SECTOR;
            let at = self.range(u64::from(high) << 32 | u64::from(low), bytes as usize);
            match at {
                Ok(at) if (1..=RANGE_SECTORS).contains(&sectors) => {
                    ranges.push((at, bytes, flags & 1 != 0));
                }
                _ => return Status::Failed,
            }
        }
        let mut done = ranges.iter().map(|&(at, bytes, unmap)| {
            if discard {
                self.disk.discard(at, bytes)
            } else {
                self.disk.zero(at, bytes, unmap)
            }
        });
        let done = done.try_for_each(|done| done).and_then(|()| self.settle());
        done.map_or(Status::Failed, |()| Status::Ok)
    }
}

/// A transfer that ended early (the file is shorter than it was) failed.
fn all(done: usize, wanted: usize) -> io::Result<()> {
    if done == wanted {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn words(bytes: &[u8; 16]) -> [u32; 4] {
    let (words, _) = bytes.as_chunks::<4>();
    [0, 1, 2, 3].map(|i: usize| u32::from_le_bytes(words[i]))
}
