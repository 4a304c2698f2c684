//! The filters against a model that knows what each frame is pinned for, and takes no write that
//! would lead the interrupt controller elsewhere.

use super::its::{self, Its};
use super::redistributor::{self as redist, Redistributor};
use super::*;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// Pages of the host's from here on.
const HOST: u64 = 0x4000_0000;
const HOST_PAGES: u64 = 512;
/// A page of somebody else's.
const OTHER: u64 = 0x8000_0000;
const QUEUE: u64 = HOST;
const ITT: u64 = HOST + 0x10_0000;
const ITT2: u64 = HOST + 0x11_0000;
const LPIS: u64 = HOST + 0x18_0000;

const MAPD: u64 = 8;

#[derive(Default)]
struct Model {
    pins: RefCell<HashMap<u64, u32>>,
    memory: RefCell<HashMap<u64, [u64; 4]>>,
    /// Commands that the ITS did.
    done: RefCell<Vec<[u64; 4]>>,
    own: RefCell<HashMap<u64, [u64; 4]>>,
    read: Cell<u64>,
    control: Cell<u64>,
    lpis: RefCell<HashMap<u64, u64>>,
    refused: Cell<u32>,
    cleared: Cell<u32>,
    by_address: bool,
    /// It neither runs commands nor becomes quiet.
    stuck: Cell<bool>,
    /// Which tables devices have, as the ITS knows it.
    tables: RefCell<HashMap<u32, Range>>,
}

impl Model {
    fn pinned(&self, range: Range) -> bool {
        let pins = self.pins.borrow();
        (range.first.0..range.end().0).all(|frame| pins.get(&frame).is_some_and(|n| *n > 0))
    }

    fn pins(&self) -> u32 {
        self.pins.borrow().values().sum()
    }

    fn its_does(&self, command: [u64; 4]) {
        let op = command[0] as u8;
        assert!([1, 3, 4, 5, 8, 9, 0xa, 0xb, 0xc, 0xd, 0xe, 0xf].contains(&op));
        if op == 8 {
            let device = (command[0] >> 32) as u32;
            if command[2] >> 63 != 0 {
                let bytes = 8 << ((command[1] & 0x1f) + 1);
                let range = frames(command[2] & 0x000f_ffff_ffff_ff00, bytes).unwrap();
                assert!(
                    self.pinned(range),
                    "a table that is not pinned: {command:x?}"
                );
                self.tables.borrow_mut().insert(device, range);
            } else {
                self.tables.borrow_mut().remove(&device);
            }
        }
        if self.by_address && [5, 9].contains(&op) {
            assert!(self.is_redistributor(command[2] & 0x000f_ffff_ffff_0000));
        }
        self.done.borrow_mut().push(command);
    }

    /// Whatever the interrupt controller may still use is pinned.
    fn check(&self) {
        for range in self.tables.borrow().values() {
            assert!(self.pinned(*range));
        }
        if self.control.get() & 1 != 0 && !self.lpis.borrow().is_empty() {
            let lpis = self.lpis.borrow();
            let at = |register| lpis.get(&register).copied().unwrap_or(0);
            let bits = ((at(redist::PROPBASER) & 0x1f) + 1).min(16);
            let table = |address, bytes| assert!(self.pinned(frames(address, bytes).unwrap()));
            table(
                at(redist::PROPBASER) & 0x000f_ffff_ffff_f000,
                (1 << bits) - 8192,
            );
            table(
                at(redist::PENDBASER) & 0x000f_ffff_ffff_0000,
                (1 << bits) / 8,
            );
        }
    }
}

impl Bus for Model {
    fn read(&self, offset: u64, size: u8) -> u64 {
        match (offset, size) {
            (its::CTLR, 4) if !self.lpis.borrow().is_empty() => self.control.get(),
            (its::CTLR, 4) => {
                let quiet = self.control.get() & 1 == 0 && !self.stuck.get();
                self.control.get() | u64::from(quiet) << 31
            }
            // Entries of 8 bytes, events and devices of 16 bits, and all of GICv4.
            (its::TYPER, 8) => {
                0xf << 13 | 0xf << 8 | 7 << 4 | 3 | 1 << 37 | u64::from(self.by_address) << 19
            }
            (its::CREADR, 8) => self.read.get(),
            (0x100, 8) => 1 << 56 | 7 << 48,
            (0x108, 8) => 4 << 56 | 7 << 48,
            (redist::PROPBASER | redist::PENDBASER, 8) => {
                self.lpis.borrow().get(&offset).copied().unwrap_or(0)
            }
            _ => 0,
        }
    }

    fn write(&self, offset: u64, size: u8, value: u64) {
        match (offset, size) {
            (its::CTLR, 4) => self.control.set(value),
            (its::CWRITER, 8) => {
                while self.read.get() != value & 0xf_ffe0 && !self.stuck.get() {
                    let at = self.read.get();
                    let command = self.own.borrow()[&at];
                    self.its_does(command);
                    self.read.set((at + 32) % its::QUEUE);
                }
            }
            (redist::PROPBASER | redist::PENDBASER, 8) => {
                assert_eq!(self.control.get() & 1, 0, "while LPIs are on");
                self.lpis.borrow_mut().insert(offset, value);
            }
            (0x10 | 0x14, 4) | (0x40 | 0x48 | 0xa0 | 0xb0, _) => {}
            _ => panic!("a write of {value:#x} to {offset:#x}"),
        }
    }

    fn pin(&self, range: Range) -> bool {
        let host = HOST >> 12..(HOST >> 12) + HOST_PAGES;
        if range.frames == 0 || !host.contains(&range.first.0) || range.end().0 > host.end {
            return false;
        }
        for frame in range.first.0..range.end().0 {
            *self.pins.borrow_mut().entry(frame).or_default() += 1;
        }
        true
    }

    fn unpin(&self, range: Range) {
        for frame in range.first.0..range.end().0 {
            let mut pins = self.pins.borrow_mut();
            let count = pins.get_mut(&frame).unwrap();
            *count = count
                .checked_sub(1)
                .expect("unpinned more often than pinned");
        }
    }

    fn host_command(&self, at: u64) -> [u64; 4] {
        assert!(self.pinned(frames(at, 32).unwrap()), "{at:#x}");
        // The host changes it right after it was read.
        let evil = [MAPD, 0, its::VALID | OTHER, 0];
        self.memory
            .borrow_mut()
            .insert(at, evil)
            .unwrap_or_default()
    }

    fn put(&self, offset: u64, command: [u64; 4]) {
        self.own.borrow_mut().insert(offset, command);
    }

    fn clear_tables(&self) {
        assert_eq!(self.control.get() & 1, 0);
        self.tables.borrow_mut().clear();
        self.cleared.set(self.cleared.get() + 1);
    }

    fn wait(&self, done: &mut dyn FnMut() -> bool) -> bool {
        done()
    }

    fn is_redistributor(&self, address: u64) -> bool {
        address == 0x80a_0000
    }

    fn refused(&self, _what: &'static str) {
        self.refused.set(self.refused.get() + 1);
    }
}

struct Host {
    bus: Model,
    its: Its,
    sent: u64,
}

impl Host {
    /// As Linux sets one up.
    fn new(bus: Model) -> Self {
        let mut its = Its::new(&bus, 0x80a_0000);
        its.write(&bus, its::CBASER, 8, its::VALID | QUEUE | 15);
        its.write(&bus, its::CWRITER, 8, 0);
        its.write(&bus, its::CTLR, 4, 1);
        assert_eq!(its.read(&bus, its::CTLR, 4), 1);
        Host { bus, its, sent: 0 }
    }

    fn send(&mut self, command: [u64; 4]) {
        self.bus
            .memory
            .borrow_mut()
            .insert(QUEUE + self.sent, command);
        self.sent = (self.sent + 32) % 0x1_0000;
        self.its.write(&self.bus, its::CWRITER, 8, self.sent);
        self.bus.check();
    }

    fn map(&mut self, device: u64, table: u64) {
        self.send([MAPD | device << 32, 4, its::VALID | table, 0]);
    }

    fn unmap(&mut self, device: u64) {
        self.send([MAPD | device << 32, 0, 0, 0]);
    }

    fn is_done(&mut self) -> bool {
        self.its.read(&self.bus, its::CREADR, 8) == self.sent
    }
}

/// Pages of the queue.
const QUEUE_PINS: u32 = 16;

#[test]
fn commands_are_copied_once_and_done_in_order_around_the_queue() {
    let mut host = Host::new(Model::default());
    for n in 0..5000 {
        host.send([3 | n << 32, n, 0, 0]);
    }
    assert!(host.is_done());
    let done = host.bus.done.borrow();
    assert!(
        done.iter()
            .zip(0..)
            .all(|(command, n)| *command == [3 | n << 32, n, 0, 0])
    );
    assert_eq!((done.len(), host.bus.refused.get()), (5000, 0));
}

#[test]
fn many_commands_at_once_are_done_while_the_host_looks() {
    let mut host = Host::new(Model::default());
    for n in 0..1000 {
        host.bus
            .memory
            .borrow_mut()
            .insert(QUEUE + n * 32, [3, n, 0, 0]);
    }
    host.sent = 32_000;
    host.its.write(&host.bus, its::CWRITER, 8, host.sent);
    let first = host.bus.done.borrow().len();
    assert!(first < 100, "{first}: a bounded number");
    let looks = (0..).take_while(|_| !host.is_done()).count();
    assert!(looks < 20 && host.bus.done.borrow().len() == 1000);
}

#[test]
fn a_devices_table_is_pinned_while_it_is_mapped() {
    let mut host = Host::new(Model::default());
    host.map(5, ITT);
    assert_eq!(host.bus.pins(), QUEUE_PINS + 1);
    // Two in one page, and one over two pages.
    host.map(6, ITT + 0x100);
    assert_eq!(host.bus.pins(), QUEUE_PINS + 2);
    host.send([MAPD | 7 << 32, 5, its::VALID | (ITT + 0xf00), 0]);
    assert_eq!(host.bus.pins(), QUEUE_PINS + 4);
    host.map(5, ITT2);
    host.unmap(6);
    host.unmap(7);
    assert_eq!(host.bus.pins(), QUEUE_PINS + 1);
    host.unmap(5);
    host.unmap(5);
    assert_eq!((host.bus.pins(), host.bus.refused.get()), (QUEUE_PINS, 0));
}

#[test]
fn a_table_that_is_not_the_hosts_is_refused_and_the_old_one_stays() {
    let mut host = Host::new(Model::default());
    host.map(5, ITT);
    for table in [OTHER, 0, 0x000f_ffff_ffff_ff00] {
        host.map(5, table);
    }
    // The last 256 bytes of the host's, and as many of another's.
    let end = HOST + HOST_PAGES * 4096 - 0x100;
    host.send([MAPD | 5 << 32, 5, its::VALID | end, 0]);
    // More events than there are.
    host.send([MAPD | 5 << 32, 31, its::VALID | ITT, 0]);
    assert!(host.is_done());
    assert_eq!(host.bus.refused.get(), 5);
    assert_eq!(host.bus.tables.borrow()[&5], frames(ITT, 256).unwrap());
}

#[test]
fn what_is_under_way_keeps_its_table() {
    let mut host = Host::new(Model::default());
    host.map(5, ITT);
    host.bus.stuck.set(true);
    host.unmap(5);
    assert!(!host.is_done());
    assert!(host.bus.pinned(frames(ITT, 256).unwrap()));
    // Nor does it get a new one, or a queue, while it does not become quiet.
    host.its.write(&host.bus, its::CTLR, 4, 0);
    host.its.write(&host.bus, its::BASER, 8, 0x1234_5000);
    host.its.write(&host.bus, its::CBASER, 8, 0);
    assert_eq!(host.bus.pins(), QUEUE_PINS + 1);
}

#[test]
fn unknown_commands_and_targets_are_left_out() {
    let mut host = Host::new(Model {
        by_address: true,
        ..Model::default()
    });
    for op in [0, 2, 6, 7, 0x10, 0x21, 0x25, 0x2a, 0x2e, 0xff] {
        host.send([op, 0, 0, 0]);
    }
    host.send([9, 0, its::VALID | OTHER, 0]);
    host.send([5, 0, OTHER, 0]);
    host.send([0xe, 0, 0x80a_0000, OTHER]);
    assert!(host.is_done() && host.bus.done.borrow().is_empty());
    assert_eq!(host.bus.refused.get(), 13);
    host.send([9, 0, its::VALID | 0x80a_0000, 0]);
    assert_eq!(host.bus.done.borrow().len(), 1);
}

#[test]
fn commands_are_taken_from_the_hosts_memory_only() {
    let bus = Model::default();
    let mut its = Its::new(&bus, 0);
    for value in [
        OTHER,
        0x000f_ffff_ffff_f000,
        (HOST + (HOST_PAGES - 1) * 4096) | 1,
    ] {
        its.write(&bus, its::CBASER, 8, its::VALID | value);
        assert_eq!(its.read(&bus, its::CBASER, 8) & its::VALID, 0);
        its.write(&bus, its::CTLR, 4, 1);
        assert_eq!(bus.control.get() & 1, 0);
    }
    assert_eq!((bus.pins(), bus.refused.get()), (0, 6));
    // By halves, and the same twice.
    for _ in 0..2 {
        its.write(&bus, its::CBASER, 4, QUEUE);
        its.write(&bus, its::CBASER + 4, 4, its::VALID >> 32);
        assert_eq!(its.read(&bus, its::CBASER, 8), its::VALID | QUEUE);
        assert_eq!(bus.pins(), 1);
    }
}

#[test]
fn registers_of_tables_stick_for_the_host_and_lead_nowhere() {
    let bus = Model::default();
    let mut its = Its::new(&bus, 0);
    let fixed = its.read(&bus, its::BASER, 8);
    assert_eq!(fixed, 1 << 56 | 7 << 48);
    // As Linux does: it takes no for an answer for two levels, and for nothing else.
    let value = fixed | its::VALID | 7 << 59 | 1 << 10 | 2 << 8 | OTHER | 7;
    its.write(&bus, its::BASER, 8, value | 1 << 62);
    assert_eq!(its.read(&bus, its::BASER, 8), value);
    assert_eq!(its.read(&bus, its::BASER + 4, 4), value >> 32);
    assert_eq!(
        bus.cleared.get(),
        1,
        "another table of devices is an empty one"
    );
    assert_eq!(its.read(&bus, its::TYPER, 8) & 2, 0, "GICv4 is not there");
}

#[test]
fn another_table_of_devices_lets_go_of_all_of_them() {
    let mut host = Host::new(Model::default());
    host.map(5, ITT);
    host.map(6, ITT2);
    host.its.write(&host.bus, its::BASER, 8, 0x1234_5000);
    assert_eq!(host.bus.pins(), QUEUE_PINS + 2, "not while it is on");
    host.its.write(&host.bus, its::CTLR, 4, 0);
    host.its.write(&host.bus, its::BASER, 8, 0x1234_5000);
    host.its.write(&host.bus, its::CBASER, 8, 0);
    assert_eq!(host.bus.pins(), 0);
}

fn redistributor() -> (Model, Redistributor) {
    let bus = Model::default();
    bus.lpis.borrow_mut().insert(0, 0);
    (bus, Redistributor::new(16))
}

#[test]
fn lpis_come_on_with_tables_of_the_hosts_that_stay() {
    let (bus, mut cpu) = redistributor();
    cpu.write(&bus, redist::PROPBASER, 8, LPIS | 15);
    for table in [OTHER, 0] {
        cpu.write(&bus, redist::PENDBASER, 8, table);
        cpu.write(&bus, redist::CTLR, 4, 1 | 1 << 24);
        assert_eq!((bus.control.get(), bus.pins()), (1 << 24, 0));
    }
    cpu.write(&bus, redist::PENDBASER, 4, LPIS + 0x1_0000);
    cpu.write(&bus, redist::PENDBASER + 4, 4, 1 << 30);
    cpu.write(&bus, redist::CTLR, 4, 1);
    bus.check();
    // 14 pages of priorities, 2 of pending bits.
    assert_eq!((bus.control.get(), bus.pins()), (1, 16));
    cpu.write(&bus, redist::PENDBASER, 8, OTHER);
    cpu.write(&bus, redist::PROPBASER + 4, 4, OTHER >> 32);
    cpu.write(&bus, redist::CTLR, 4, 1);
    bus.check();
    cpu.write(&bus, redist::CTLR, 4, 0);
    assert_eq!((bus.control.get(), bus.pins()), (0, 0));
}

#[test]
fn fewer_bits_than_lpis_have_are_refused_and_more_than_the_controller_has_do_not_count() {
    let (bus, mut cpu) = redistributor();
    cpu.write(&bus, redist::PENDBASER, 8, LPIS + 0x1_0000);
    cpu.write(&bus, redist::PROPBASER, 8, LPIS | 12);
    cpu.write(&bus, redist::CTLR, 4, 1);
    assert_eq!(bus.control.get(), 0);
    cpu.write(&bus, redist::PROPBASER, 8, LPIS | 31);
    cpu.write(&bus, redist::CTLR, 4, 1);
    assert_eq!((bus.control.get(), bus.pins()), (1, 16));
}

#[test]
fn only_accesses_that_registers_take_are_passed_on() {
    for (offset, size, passes) in [
        (0x80, 4, true),
        (0x80, 8, false),
        (0x82, 4, false),
        (0x80, 1, false),
        (0x41b, 1, true),
        (0x460, 1, false),
        (0x400, 2, false),
    ] {
        assert_eq!(redist::is_interrupt_access(offset, size), passes);
    }
}

/// Any accesses, with any values: nothing leads elsewhere, and nothing in use is unpinned.
#[test]
fn no_accesses_lead_the_interrupt_controller_elsewhere() {
    let mut seed = 7_u64;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed.rotate_left(31)
    };
    let places = [
        HOST,
        QUEUE,
        ITT,
        ITT2,
        LPIS,
        OTHER,
        0,
        HOST + HOST_PAGES * 4096 - 4096,
    ];
    let registers = [
        0, 4, 8, 0x70, 0x78, 0x80, 0x88, 0x90, 0x100, 0x104, 0x108, 0x138, 0xffe8,
    ];
    for round in 0..200 {
        let mut host = Host::new(Model {
            by_address: round % 2 == 0,
            ..Model::default()
        });
        let (bus, mut cpu) = redistributor();
        for _ in 0..300 {
            let place = places[next() as usize % places.len()];
            let value = match next() % 4 {
                0 => next(),
                1 => place | next() & 0xfff | its::VALID,
                2 => place | (next() % 32),
                _ => next() % 2,
            };
            let offset =
                registers[next() as usize % registers.len()] + (next() % 8 / 7) * (next() % 8);
            let size = [1, 2, 4, 8, 4, 8][next() as usize % 6];
            match next() % 6 {
                0 => {
                    let _ = host.its.read(&host.bus, offset, size);
                    let _ = cpu.read(&bus, offset, size);
                }
                1 => cpu.write(&bus, offset, size, value),
                2 => host.its.write(&host.bus, offset, size, value),
                _ => {
                    let op = [8, 8, 8, 9, 5, 3, next()][next() as usize % 7];
                    let size = [4, next() % 32][next() as usize % 2];
                    let at = QUEUE + host.its.read(&host.bus, its::CWRITER, 8);
                    let command = [op | ((next() % 4) << 32), size, value, place];
                    host.bus.memory.borrow_mut().insert(at, command);
                    let end = host.its.read(&host.bus, its::CWRITER, 8) + 32;
                    host.its.write(&host.bus, its::CWRITER, 8, end % 0x1_0000);
                }
            }
            host.bus.check();
            bus.check();
        }
    }
}
