//! One interrupt translation service: its registers as the host sees them, and its commands
//! (IHI 0069, 5.3 and 12.19).

use super::{Bus, frames, merge, part};
use arrayvec::ArrayVec;
use hyp_core::addr::PAGE_SIZE;
use hyp_core::memory::Range;

/// `GITS_CTLR`.
pub const CTLR: u64 = 0x0;
/// `GITS_IIDR`.
const IIDR: u64 = 0x4;
/// `GITS_TYPER`.
pub const TYPER: u64 = 0x8;
/// `GITS_CBASER`.
pub const CBASER: u64 = 0x80;
/// `GITS_CWRITER`.
pub const CWRITER: u64 = 0x88;
/// `GITS_CREADR`.
pub const CREADR: u64 = 0x90;
/// `GITS_BASER0`; eight, of 8 bytes each.
pub const BASER: u64 = 0x100;
const BASER_END: u64 = 0x140;
/// Identification registers.
const ID: core::ops::Range<u64> = 0xffd0..0x1_0000;

const ENABLED: u64 = 1;
const QUIESCENT: u64 = 1 << 31;
/// What is of GICv4 in `GITS_TYPER`: virtual LPIs, `VMOVP`, virtual SGIs, `VMAPP` as of GICv4.1.
const TYPER_VIRTUAL: u64 = 1 << 1 | 1 << 37 | 1 << 39 | 1 << 40;
/// `GITS_TYPER.PTA`: redistributors are named by their address.
const TYPER_PTA: u64 = 1 << 19;
/// `Valid`, of `CBASER`, `BASERn` and commands.
pub const VALID: u64 = 1 << 63;
/// `BASERn.Indirect`.
const INDIRECT: u64 = 1 << 62;
/// `BASERn.Type` and `Entry_Size`: read-only.
const BASER_FIXED: u64 = 7 << 56 | 0x1f << 48;
/// `BASERn.Type` of the table of devices, which alone leads to memory of the host's.
const TYPE_DEVICES: u64 = 1;
/// `CWRITER`, `CREADR`: the offset. Bit 0 is `Retry`, and `Stalled`.
const OFFSET: u64 = 0xf_ffe0;
const STALLED: u64 = 1;
/// Bytes of a command.
const COMMAND: u64 = 32;
/// Bytes of Ward's own queue.
pub const QUEUE: u64 = PAGE_SIZE;
/// Commands done for one access of the host's. What is left waits for its next, for a driver that
/// has sent commands looks whether they are done.
const AT_ONCE: u32 = 64;
/// Devices that can have a table at once.
const DEVICES: usize = 128;

/// Commands, by their first byte.
mod op {
    pub(super) const MOVI: u8 = 0x01;
    pub(super) const INT: u8 = 0x03;
    pub(super) const CLEAR: u8 = 0x04;
    pub(super) const SYNC: u8 = 0x05;
    pub(super) const MAPD: u8 = 0x08;
    pub(super) const MAPC: u8 = 0x09;
    pub(super) const MAPTI: u8 = 0x0a;
    pub(super) const MAPI: u8 = 0x0b;
    pub(super) const INV: u8 = 0x0c;
    pub(super) const INVALL: u8 = 0x0d;
    pub(super) const MOVALL: u8 = 0x0e;
    pub(super) const DISCARD: u8 = 0x0f;
}

/// One ITS.
#[derive(Debug)]
pub struct Its {
    typer: u64,
    /// Any redistributor, as a command names it.
    target: u64,
    enabled: bool,
    cbaser: u64,
    /// The host's queue, pinned; `None` while it is not valid.
    queue: Option<Range>,
    basers: [u64; 8],
    /// How far the host wrote, Ward copied and the ITS has done; in the host's queue.
    written: u64,
    copied: u64,
    done: u64,
    /// How far Ward wrote, in its own.
    own: u64,
    /// Devices and the frames of their tables, pinned.
    devices: ArrayVec<(u32, Range), DEVICES>,
}

impl Its {
    /// An ITS that is off, whose tables and queue are Ward's and empty. `target` is any
    /// redistributor, in the form of a command.
    pub fn new<B: Bus>(bus: &B, target: u64) -> Self {
        let fixed = |n: u64| bus.read(BASER + 8 * n, 8) & BASER_FIXED;
        Its {
            typer: bus.read(TYPER, 8),
            target,
            enabled: false,
            cbaser: 0,
            queue: None,
            basers: core::array::from_fn(|n| fixed(n as u64)),
            written: 0,
            copied: 0,
            done: 0,
            own: bus.read(CREADR, 8) & OFFSET,
            devices: ArrayVec::new(),
        }
    }

    /// What the host reads, of 4 or 8 bytes, aligned to its size. All other sizes read 0.
    pub fn read<B: Bus>(&mut self, bus: &B, offset: u64, size: u8) -> u64 {
        if !(size == 4 || size == 8) || !offset.is_multiple_of(size.into()) {
            return 0;
        }
        let value = match offset & !7 {
            // Two registers of 4 bytes.
            CTLR if size == 4 && offset == CTLR => {
                return bus.read(CTLR, 4) & (ENABLED | QUIESCENT);
            }
            CTLR if size == 4 && offset == IIDR => return bus.read(IIDR, 4),
            TYPER => self.typer & !TYPER_VIRTUAL,
            CBASER => self.cbaser,
            CWRITER => self.written,
            CREADR => {
                self.advance(bus);
                self.done | bus.read(CREADR, 8) & STALLED
            }
            at @ BASER..BASER_END => self.basers[((at - BASER) / 8) as usize],
            _ if size == 4 && ID.contains(&offset) => return bus.read(offset, 4),
            _ => 0,
        };
        part(value, offset, size)
    }

    /// What the host writes.
    pub fn write<B: Bus>(&mut self, bus: &B, offset: u64, size: u8, value: u64) {
        if !(size == 4 || size == 8) || !offset.is_multiple_of(size.into()) {
            return;
        }
        match offset & !7 {
            CTLR if size == 4 && offset == CTLR => self.control(bus, value),
            CBASER if !self.enabled => {
                let value = merge(self.cbaser, offset, size, value);
                self.set_queue(bus, value);
            }
            CWRITER if offset == CWRITER => self.send(bus, value),
            at @ BASER..BASER_END if !self.enabled => {
                let n = ((at - BASER) / 8) as usize;
                let old = self.basers[n];
                let new = merge(old, offset, size, value) & !(INDIRECT | BASER_FIXED);
                self.basers[n] = new | old & BASER_FIXED;
                let devices = old >> 56 & 7 == TYPE_DEVICES;
                if devices && self.basers[n] != old {
                    self.reset(bus);
                }
            }
            // Read-only, or may be written only while the ITS is off; or nothing that Ward knows.
            _ => {}
        }
    }

    fn control<B: Bus>(&mut self, bus: &B, value: u64) {
        let on = value & ENABLED != 0;
        if on && self.queue.is_none() {
            bus.refused("to switch an ITS on without commands in the host's memory");
            return;
        }
        bus.write(CTLR, 4, value & ENABLED);
        if on {
            self.enabled = true;
            self.advance(bus);
        } else {
            // Until it is quiet it still uses its tables: nothing about them changes before.
            let quiet = bus.wait(&mut || bus.read(CTLR, 4) & QUIESCENT != 0);
            self.enabled = !quiet;
        }
    }

    /// `CBASER`, while the ITS is off: from now on the host's commands are elsewhere.
    fn set_queue<B: Bus>(&mut self, bus: &B, value: u64) {
        // The same queue twice has to be possible.
        let old = self.queue.take();
        let address = value & 0x000f_ffff_ffff_f000;
        let bytes = ((value & 0xff) + 1) * PAGE_SIZE;
        self.cbaser = value;
        if value & VALID != 0 {
            self.queue = frames(address, bytes).filter(|range| bus.pin(*range));
            if self.queue.is_none() {
                self.cbaser &= !VALID;
                bus.refused("commands of an ITS that are not in the host's memory");
            }
        }
        if let Some(range) = old {
            bus.unpin(range);
        }
        (self.written, self.copied, self.done) = (0, 0, 0);
    }

    /// The ITS is off and its table of devices another: it knows none of them any more.
    fn reset<B: Bus>(&mut self, bus: &B) {
        bus.clear_tables();
        for (_, range) in self.devices.drain(..) {
            bus.unpin(range);
        }
    }

    fn queue_bytes(&self) -> u64 {
        self.queue.map_or(0, |range| range.frames * PAGE_SIZE)
    }

    /// `CWRITER`: there are commands up to here.
    fn send<B: Bus>(&mut self, bus: &B, value: u64) {
        if value & OFFSET < self.queue_bytes() {
            self.written = value & OFFSET;
            if value & STALLED != 0 && self.enabled {
                bus.write(CWRITER, 8, self.own | STALLED);
            }
            self.advance(bus);
        }
    }

    fn is_idle<B: Bus>(&self, bus: &B) -> bool {
        bus.read(CREADR, 8) & OFFSET == self.own
    }

    /// Takes some commands of the host's and has them done, as far as the ITS does them in time.
    fn advance<B: Bus>(&mut self, bus: &B) {
        for _ in 0..AT_ONCE {
            if !self.is_idle(bus) {
                return;
            }
            self.done = self.copied;
            let Some(queue) = self.queue.filter(|_| self.enabled) else {
                return;
            };
            if self.copied == self.written {
                return;
            }
            let command = bus.host_command(queue.first.pa() + self.copied);
            self.copied = (self.copied + COMMAND) % self.queue_bytes();
            self.command(bus, command);
        }
        if self.is_idle(bus) {
            self.done = self.copied;
        }
    }

    /// Adds a command to Ward's queue, and waits for it; `false` if that takes too long.
    fn run<B: Bus>(&mut self, bus: &B, command: [u64; 4]) -> bool {
        bus.put(self.own, command);
        self.own = (self.own + COMMAND) % QUEUE;
        bus.write(CWRITER, 8, self.own);
        bus.wait(&mut || self.is_idle(bus))
    }

    /// One command of the host's. What is refused is left out.
    fn command<B: Bus>(&mut self, bus: &B, command: [u64; 4]) {
        let target = |word: u64| {
            self.typer & TYPER_PTA == 0 || bus.is_redistributor(word & 0x000f_ffff_ffff_0000)
        };
        match command[0] as u8 {
            op::MAPD => self.map_device(bus, command),
            op::MAPC | op::SYNC if !target(command[2]) => bus.refused("a target of an ITS command"),
            op::MOVALL if !target(command[2]) || !target(command[3]) => {
                bus.refused("a target of an ITS command");
            }
            op::MOVI
            | op::INT
            | op::CLEAR
            | op::SYNC
            | op::MAPC
            | op::MAPTI
            | op::MAPI
            | op::INV
            | op::INVALL
            | op::MOVALL
            | op::DISCARD => {
                self.run(bus, command);
            }
            _ => bus.refused("a command of an ITS that Ward does not know"),
        }
    }

    /// `MAPD`: a device gets a table of its own, or has none any more.
    fn map_device<B: Bus>(&mut self, bus: &B, command: [u64; 4]) {
        let device = (command[0] >> 32) as u32;
        let old = self.devices.iter().position(|(of, _)| *of == device);
        let new = if command[2] & VALID != 0 {
            // ID_bits 12:8: more events than there are would be a table without end. Entry size
            // 7:4, and 2^(Size + 1) entries.
            let size = command[1] & 0x1f;
            let entry = (self.typer >> 4 & 0xf) + 1;
            let range = frames(command[2] & 0x000f_ffff_ffff_ff00, entry << (size + 1))
                .filter(|_| size <= self.typer >> 8 & 0x1f);
            let room = old.is_some() || !self.devices.is_full();
            let Some(range) = range.filter(|range| room && bus.pin(*range)) else {
                bus.refused("a device's table of interrupts that is not in the host's memory");
                return;
            };
            Some(range)
        } else {
            None
        };
        // An old table is in use until the ITS and a redistributor are done with it.
        let sync = [op::SYNC.into(), 0, self.target, 0];
        let done = self.run(bus, command) && self.run(bus, sync);
        if let Some(at) = old {
            let (_, range) = self.devices.swap_remove(at);
            if done {
                bus.unpin(range);
            }
        }
        if let Some(range) = new {
            self.devices.push((device, range));
        }
    }
}
