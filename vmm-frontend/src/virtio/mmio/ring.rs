//! A queue while its driver sets it up.

use super::super::Memory;
use super::probe::Probe;
use super::regs;
use virtio_queue::{Queue, QueueT};
use vm_memory::{GuestAddress, GuestMemoryBackend};

/// What the driver wrote about one queue.
pub(super) struct Ring {
    max: u16,
    size: u32,
    /// Descriptor table, available ring, used ring: as registers, low half first.
    addresses: [u64; 3],
    ready: bool,
}

impl Ring {
    pub(super) fn new(max: u16) -> Self {
        Ring {
            max,
            size: max.into(),
            addresses: [0; 3],
            ready: false,
        }
    }

    pub(super) fn max(&self) -> u16 {
        self.max
    }

    pub(super) fn ready(&self) -> bool {
        self.ready
    }

    /// Writes a register of the queue; nothing while it is ready.
    pub(super) fn set(&mut self, offset: u64, value: u32) {
        if self.ready {
            return;
        }
        let (index, high) = match offset {
            regs::QUEUE_NUM => return self.size = value,
            regs::QUEUE_DESC => (0, false),
            0x84 => (0, true),
            regs::QUEUE_DRIVER => (1, false),
            0x94 => (1, true),
            regs::QUEUE_DEVICE => (2, false),
            0xa4 => (2, true),
            _ => return,
        };
        let address = &mut self.addresses[index];
        *address = if high {
            *address & 0xffff_ffff | u64::from(value) << 32
        } else {
            *address >> 32 << 32 | u64::from(value)
        };
    }

    /// Makes the queue ready if it can be used: a power of two of entries, aligned rings that lie
    /// in memory.
    pub(super) fn set_ready(&mut self, ready: bool, memory: &Memory) {
        self.ready = ready && self.usable(memory);
    }

    /// Whether the rings can be touched. A protected guest's memory cannot where the guest has not
    /// shared it: then reading it would end this process.
    pub(super) fn shared(&self, memory: &Memory, probe: &Probe) -> bool {
        let rings = self.addresses.iter().zip(self.bytes());
        rings.into_iter().all(|(&address, bytes)| {
            let mut pieces = memory.get_slices(GuestAddress(address), bytes as usize);
            pieces.all(|piece| piece.is_ok_and(|piece| probe.readable(&piece)))
        })
    }

    /// Bytes of each ring.
    fn bytes(&self) -> [u64; 3] {
        let size = u64::from(self.size);
        [16 * size, 6 + 2 * size, 6 + 8 * size]
    }

    fn usable(&self, memory: &Memory) -> bool {
        let size = u64::from(self.size);
        let align = [16, 2, 4];
        let sized = size.is_power_of_two() && size <= self.max.into();
        let rings = self.addresses.iter().zip(self.bytes()).zip(align);
        sized
            && rings.into_iter().all(|((&address, bytes), align)| {
                // The standard allows address 0; virtio-queue and drivers take it for "none".
                address != 0
                    && address % align == 0
                    && memory.check_range(GuestAddress(address), bytes as usize)
            })
    }

    /// The queue, when it is ready.
    pub(super) fn queue(&self, event_idx: bool) -> Option<Queue> {
        if !self.ready {
            return None;
        }
        let mut queue = Queue::new(self.max).ok()?;
        queue.try_set_size(self.size as u16).ok()?;
        let [desc, avail, used] = self.addresses.map(GuestAddress);
        queue.try_set_desc_table_address(desc).ok()?;
        queue.try_set_avail_ring_address(avail).ok()?;
        queue.try_set_used_ring_address(used).ok()?;
        queue.set_event_idx(event_idx);
        queue.set_ready(true);
        Some(queue)
    }
}
