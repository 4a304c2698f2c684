//! A hostile driver for tests and fuzzing: does with a device what bytes say.
//!
//! It knows enough of rings to get deep into a device, and keeps to nothing. The devices must end
//! each turn, in few turns, without panic; a disk that is only read must not change.

use super::blk::{Block, Disk};
use super::mmio::Transport;
use super::net::{Net, Tap};
use super::rng::Entropy;
use super::{Memory, Progress, Ready, SharedDevice, VirtioDevice, device};
use crate::bus::{Interrupt, MmioDevice};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use vm_memory::{Bytes, GuestAddress};

/// Two pieces of memory with a hole between them.
const PIECES: [(GuestAddress, usize); 2] = [
    (GuestAddress(0x1000), 0x1_0000),
    (GuestAddress(0x4000_0000), 0x1_0000),
];
/// Where well-formed rings are, and their entries.
const RINGS: [u64; 3] = [0x2000, 0x3000, 0x4000];
const ENTRIES: u16 = 8;
/// Bytes of the disk.
const DISK: u64 = 64 << 10;

struct Deaf;

impl Interrupt for Deaf {
    fn trigger(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What is to be done, byte by byte; zeroes when they are used up.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let count = N.min(self.0.len());
        let (now, rest) = self.0.split_at(count);
        bytes[..count].copy_from_slice(now);
        self.0 = rest;
        bytes
    }

    fn byte(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    fn half(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    /// An address: mostly of memory, sometimes any.
    fn address(&mut self) -> u64 {
        match self.byte() % 8 {
            0 => u64::from_le_bytes(self.take()),
            1 => PIECES[1].0.0 + u64::from(self.half()),
            _ => PIECES[0].0.0 + u64::from(self.half()),
        }
    }

    /// A length: mostly small.
    fn length(&mut self) -> u32 {
        match self.byte() % 8 {
            0 => u32::from_le_bytes(self.take()),
            1 => 16,
            2 => 512,
            3 => 12,
            _ => self.byte().into(),
        }
    }
}

struct World {
    memory: Memory,
    transport: Transport,
    device: SharedDevice,
    available: u16,
}

impl World {
    fn set(&mut self, register: u64, value: u32) {
        self.transport.write(register, &value.to_le_bytes());
    }

    /// As a good driver starts a device.
    fn start(&mut self, features: u64) {
        for (register, value) in [
            (0x70, 0),
            (0x70, 1),
            (0x70, 3),
            (0x24, 0),
            (0x20, features as u32),
            (0x24, 1),
            (0x20, (features >> 32) as u32 | 1),
            (0x70, 11),
        ] {
            self.set(register, value);
        }
        for queue in 0..2 {
            self.set(0x30, queue);
            self.set(0x38, ENTRIES.into());
            for (register, address) in [0x80, 0x90, 0xa0].into_iter().zip(RINGS) {
                self.set(register, address as u32);
                self.set(register + 4, 0);
            }
            self.set(0x44, 1);
        }
        self.set(0x70, 15);
        self.available = 0;
    }

    fn put<T: vm_memory::ByteValued>(&self, address: u64, value: T) {
        // Outside of memory nothing is written.
        let _ = self.memory.write_obj(value, GuestAddress(address));
    }

    fn run(&mut self, mut ready: Ready) {
        for _ in 0..100 {
            if device(&self.device).process(ready) == Progress::Done {
                return;
            }
            ready = Ready::Again;
        }
        panic!("a device does not come to an end");
    }

    /// One thing that the bytes say.
    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 10 {
            0 => {
                let (offset, width) = (script.half() % 0x180, script.byte() % 9);
                let bytes: [u8; 8] = script.take();
                self.transport.write(offset.into(), &bytes[..width.into()]);
            }
            1 => {
                let (offset, width) = (script.half() % 0x180, script.byte() % 9);
                let mut bytes = [0; 8];
                self.transport
                    .read(offset.into(), &mut bytes[..width.into()]);
            }
            2 => {
                let features = u64::from_le_bytes(script.take());
                self.start(features);
            }
            3 => {
                let (address, value) = (script.address(), script.take::<4>());
                self.put(address, u32::from_le_bytes(value));
            }
            // A request's header, or a descriptor: table, flags and next as they come.
            4..=6 => {
                let (table, index) = match script.byte() % 4 {
                    0 => (script.address(), script.half()),
                    _ => (RINGS[0], u16::from(script.byte()) % ENTRIES),
                };
                let at = table.wrapping_add(16 * u64::from(index));
                let (address, length) = (script.address(), script.length());
                let flags = u16::from(script.byte() % 8);
                self.put(at, address);
                self.put(at.wrapping_add(8), length);
                self.put(at.wrapping_add(12), flags);
                self.put(at.wrapping_add(14), u16::from(script.byte()));
            }
            7 => {
                let slot = u64::from(self.available % ENTRIES);
                self.put(RINGS[1] + 4 + 2 * slot, u16::from(script.byte()));
                self.available = self.available.wrapping_add(1);
                self.put(RINGS[1] + 2, self.available);
            }
            _ => {
                let ready = match script.byte() % 4 {
                    0 => Ready::Again,
                    1 => Ready::Source(0),
                    2 => Ready::Queue(1),
                    _ => Ready::Queue(0),
                };
                self.run(ready);
            }
        }
    }
}

/// Lets a hostile driver do what `bytes` say.
///
/// # Panics
/// When a device does what it must not.
pub fn run(bytes: &[u8]) {
    let mut script = Script(bytes);
    let kind = script.byte() % 4;
    let disk = disk_file();
    let (near, far) = UnixDatagram::pair().expect("sockets");
    for end in [&near, &far] {
        end.set_nonblocking(true).expect("sockets");
        let _ = far.send(&[0; 60]);
    }
    let device: Arc<Mutex<dyn VirtioDevice>> = match kind {
        0 => Arc::new(Mutex::new(Entropy::new())),
        1 => {
            let tap = Tap::from_file(OwnedFd::from(near).into());
            Arc::new(Mutex::new(Net::new(tap, [2; 6])))
        }
        _ => {
            let path = format!("/proc/self/fd/{}", disk.as_raw_fd());
            let disk = Disk::open(path.as_ref(), kind == 2).expect("a disk");
            Arc::new(Mutex::new(Block::new(disk, "disk")))
        }
    };
    let memory = Memory::from_ranges(&PIECES).expect("memory");
    let transport = Transport::new(device.clone(), memory.clone(), Arc::new(Deaf), false);
    let mut world = World {
        transport: transport.expect("a transport"),
        memory,
        device,
        available: 0,
    };
    world.start(u64::MAX);
    world.start(1 << 32 | u64::from(script.byte()) << 24);
    while !script.0.is_empty() {
        world.step(&mut script);
    }
    world.run(Ready::Again);
    assert_eq!(disk.metadata().expect("a disk").len(), DISK);
    if kind == 2 {
        let mut content = vec![0; DISK as usize];
        disk.read_exact_at(&mut content, 0).expect("a disk");
        assert!(content.iter().all(|&byte| byte == 0x77), "it changed");
    }
}

fn disk_file() -> File {
    // SAFETY: a plain call with a constant name.
    let fd = unsafe { libc::memfd_create(c"disk".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0, "no memory for a disk");
    // SAFETY: the descriptor is new and nobody else's.
    let file = unsafe { File::from_raw_fd(fd) };
    file.write_all_at(&vec![0x77; DISK as usize], 0)
        .expect("a disk");
    file
}
