//! A driver for tests: sets a device up through its registers, and puts chains in its rings, good
//! and bad ones.

use super::mmio::regs::{self, feature, status};
use super::mmio::{SIZE, Transport};
use super::{Memory, Progress, Ready, SharedDevice, VirtioDevice, device};
use crate::bus::{Interrupt, MmioDevice};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use vm_memory::{Bytes, GuestAddress};

/// Where the tests' memory is: two pieces with a hole between them.
pub(super) const RAM: u64 = 0x4000_0000;
pub(super) const RAM_SIZE: u64 = 0x20_0000;
pub(super) const RAM2: u64 = RAM + 2 * RAM_SIZE;
/// Where each queue's rings are: a page for each of three parts, four pages for a queue.
const RINGS: u64 = RAM + 0x10000;
/// Where chains put indirect tables and data.
pub(super) const DATA: u64 = RAM + 0x10_0000;

pub(super) const NEXT: u16 = 1;
pub(super) const WRITE: u16 = 2;
pub(super) const INDIRECT: u16 = 4;

/// Counts interrupts.
#[derive(Default)]
pub(super) struct TestInterrupt(AtomicU32);

impl Interrupt for TestInterrupt {
    fn trigger(&self) -> io::Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// A descriptor: address, length, flags, next.
pub(super) type Desc = (u64, u32, u16, u16);

pub(super) struct Driver {
    pub(super) memory: Memory,
    pub(super) transport: Transport,
    pub(super) device: SharedDevice,
    pub(super) interrupt: Arc<TestInterrupt>,
    pub(super) size: u16,
    /// Available and used entries so far, by queue.
    avail: Vec<u16>,
    used: Vec<u16>,
}

pub(super) fn memory() -> Memory {
    let size = RAM_SIZE as usize;
    Memory::from_ranges(&[(GuestAddress(RAM), size), (GuestAddress(RAM2), size)]).unwrap()
}

impl Driver {
    /// A device that nobody has touched.
    pub(super) fn cold(device: impl VirtioDevice + 'static, protected: bool) -> Self {
        let (memory, interrupt) = (memory(), Arc::new(TestInterrupt::default()));
        let queues = device.queue_sizes().len();
        let device: SharedDevice = Arc::new(Mutex::new(device));
        let transport =
            Transport::new(device.clone(), memory.clone(), interrupt.clone(), protected).unwrap();
        Driver {
            memory,
            transport,
            device,
            interrupt,
            size: 16,
            avail: vec![0; queues],
            used: vec![0; queues],
        }
    }

    /// A device that runs, with everything it offers but `without`.
    pub(super) fn running(device: impl VirtioDevice + 'static, without: u64) -> Self {
        let mut driver = Driver::cold(device, false);
        driver.start(without);
        assert_eq!(driver.status(), 15);
        driver
    }

    pub(super) fn get(&mut self, offset: u64) -> u32 {
        let mut data = [0; 4];
        assert!(offset < SIZE);
        self.transport.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    pub(super) fn set(&mut self, offset: u64, value: u32) {
        self.transport.write(offset, &value.to_le_bytes());
    }

    pub(super) fn status(&mut self) -> u32 {
        self.get(regs::STATUS)
    }

    pub(super) fn offered(&mut self) -> u64 {
        self.set(regs::DEVICE_FEATURES_SEL, 1);
        let high = u64::from(self.get(regs::DEVICE_FEATURES)) << 32;
        self.set(regs::DEVICE_FEATURES_SEL, 0);
        high | u64::from(self.get(regs::DEVICE_FEATURES))
    }

    pub(super) fn choose(&mut self, features: u64) {
        for half in [0, 1] {
            self.set(regs::DRIVER_FEATURES_SEL, half);
            self.set(regs::DRIVER_FEATURES, (features >> (32 * half)) as u32);
        }
    }

    pub(super) fn negotiate(&mut self, features: u64) {
        self.set(regs::STATUS, status::ACKNOWLEDGE);
        self.set(regs::STATUS, status::ACKNOWLEDGE | status::DRIVER);
        self.choose(features);
        self.set(regs::STATUS, 11);
    }

    pub(super) fn rings(queue: usize) -> [u64; 3] {
        let at = RINGS + 0x4000 * queue as u64;
        [at, at + 0x1000, at + 0x2000]
    }

    pub(super) fn set_up_queue(&mut self, queue: usize) {
        self.set(regs::QUEUE_SEL, queue as u32);
        self.set(regs::QUEUE_NUM, self.size.into());
        for (register, address) in [0x80, 0x90, 0xa0].into_iter().zip(Self::rings(queue)) {
            self.set(register, address as u32);
            self.set(register + 4, (address >> 32) as u32);
        }
        self.set(regs::QUEUE_READY, 1);
    }

    pub(super) fn start(&mut self, without: u64) {
        let features = self.offered() & !without;
        self.negotiate(features);
        for queue in 0..self.avail.len() {
            for address in Self::rings(queue) {
                let zeroes = [0; 0x1000];
                self.memory
                    .write_slice(&zeroes, GuestAddress(address))
                    .unwrap();
            }
            self.avail[queue] = 0;
            self.used[queue] = 0;
            self.set_up_queue(queue);
        }
        self.set(regs::STATUS, 15);
    }

    pub(super) fn write<T: vm_memory::ByteValued>(&self, address: u64, value: T) {
        self.memory.write_obj(value, GuestAddress(address)).unwrap();
    }

    pub(super) fn read<T: vm_memory::ByteValued>(&self, address: u64) -> T {
        self.memory.read_obj(GuestAddress(address)).unwrap()
    }

    pub(super) fn bytes(&self, address: u64, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.memory
            .read_slice(&mut bytes, GuestAddress(address))
            .unwrap();
        bytes
    }

    pub(super) fn put(&self, address: u64, bytes: &[u8]) {
        self.memory
            .write_slice(bytes, GuestAddress(address))
            .unwrap();
    }

    /// Writes one descriptor to a table.
    pub(super) fn describe(&self, table: u64, index: u16, (address, len, flags, next): Desc) {
        let at = table + 16 * u64::from(index);
        self.write(at, address);
        self.write(at + 8, len);
        self.write(at + 12, flags);
        self.write(at + 14, next);
    }

    /// Makes the chain that begins at descriptor `head` available.
    pub(super) fn offer(&mut self, queue: usize, head: u16) {
        let ring = Self::rings(queue)[1];
        let index = self.avail[queue];
        self.write(ring + 4 + 2 * u64::from(index % self.size), head);
        self.avail[queue] = index.wrapping_add(1);
        self.write(ring + 2, self.avail[queue]);
    }

    /// Puts a chain of (address, length, writable) at descriptor `head` and makes it available.
    pub(super) fn chain(&mut self, queue: usize, head: u16, parts: &[(u64, u32, bool)]) {
        let table = Self::rings(queue)[0];
        for (index, &(address, len, writable)) in parts.iter().enumerate() {
            let at = head + index as u16;
            let next = if index + 1 < parts.len() { NEXT } else { 0 };
            let flags = next | if writable { WRITE } else { 0 };
            self.describe(table, at, (address, len, flags, at + 1));
        }
        self.offer(queue, head);
    }

    /// Notifies, and lets the device work until it is done; returns its turns.
    pub(super) fn kick(&mut self, queue: usize) -> usize {
        self.set(regs::QUEUE_NOTIFY, queue as u32);
        self.run(Ready::Queue(queue))
    }

    pub(super) fn run(&mut self, mut ready: Ready) -> usize {
        for turn in 1.. {
            if device(&self.device).process(ready) == Progress::Done {
                return turn;
            }
            ready = Ready::Again;
            assert!(turn < 10_000, "a device does not end");
        }
        0
    }

    /// Used entries since the last call: (head, bytes written).
    pub(super) fn used(&mut self, queue: usize) -> Vec<(u32, u32)> {
        let ring = Self::rings(queue)[2];
        let end: u16 = self.read(ring + 2);
        let mut entries = Vec::new();
        while self.used[queue] != end {
            let at = ring + 4 + 8 * u64::from(self.used[queue] % self.size);
            entries.push((self.read(at), self.read(at + 4)));
            self.used[queue] = self.used[queue].wrapping_add(1);
        }
        entries
    }

    /// Whether the device gave up.
    pub(super) fn broken(&mut self) -> bool {
        self.status() & status::NEEDS_RESET != 0
    }

    pub(super) fn interrupts(&self) -> u32 {
        self.interrupt.0.load(Ordering::SeqCst)
    }
}

/// Feature bits that tests leave out.
pub(super) const NO_EVENT_IDX: u64 = feature::EVENT_IDX;
