//! What the kernel's vhost devices have in common: it serves the queues itself, in this process's
//! address space.
//!
//! For a protected guest that is as safe as our own system calls: vhost reaches rings and buffers
//! by copies from and to user space, and where the guest has not shared a page these fail with
//! `EFAULT`, which stops that request, or the queue when it is the ring. (`net` sees to it that no
//! packet is sent without a copy.)

use super::{Activation, Memory, Notifier};
use std::io;
use std::sync::Arc;
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use virtio_queue::{Queue, QueueT};
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// A vhost device, and how it says that it gave up.
pub(crate) struct Kernel<D> {
    pub(crate) device: D,
    memory: Arc<Memory>,
    /// Written by the kernel when it cannot use a queue.
    pub(crate) error: EventFd,
    /// What to say then.
    notifier: Option<Arc<Notifier>>,
}

impl<D: VhostBackend> Kernel<D> {
    /// Makes this process's memory the device's.
    pub(crate) fn new(device: D, memory: Arc<Memory>) -> io::Result<Self> {
        device.set_owner().map_err(io::Error::other)?;
        Ok(Kernel {
            device,
            memory,
            error: EventFd::new(EFD_NONBLOCK)?,
            notifier: None,
        })
    }

    /// What the kernel can do of these features.
    pub(crate) fn features(&self, wanted: u64) -> u64 {
        self.device.get_features().unwrap_or(0) & wanted
    }

    /// Gives it features, memory and the first `count` queues. It does not start them.
    pub(crate) fn prepare(
        &mut self,
        activation: &Activation,
        features: u64,
        count: usize,
    ) -> io::Result<()> {
        let failed = io::Error::other::<vhost::Error>;
        let queues: Vec<_> = activation.queues[..count].iter().flatten().collect();
        if queues.len() != count {
            return Err(io::Error::other("its driver has not set up all queues"));
        }
        // Addresses are the guest's own: vhost translates them by the table below, so its IOMMU
        // (ACCESS_PLATFORM) stays off.
        self.device.set_features(features).map_err(failed)?;
        let regions = regions(&self.memory)?;
        self.device.set_mem_table(&regions).map_err(failed)?;
        let Some(interrupt) = activation.notifier.for_kernel() else {
            return Err(io::Error::other("its interrupt is no event"));
        };
        let Some(call) = interrupt.event() else {
            return Err(io::Error::other("its interrupt is no event"));
        };
        for (index, active) in queues.into_iter().enumerate() {
            let ring = ring(&active.queue, &self.memory)?;
            let device = &self.device;
            device
                .set_vring_num(index, ring.queue_size)
                .map_err(failed)?;
            device.set_vring_addr(index, &ring).map_err(failed)?;
            device.set_vring_base(index, 0).map_err(failed)?;
            device.set_vring_call(index, call).map_err(failed)?;
            device.set_vring_kick(index, &active.kick).map_err(failed)?;
            device.set_vring_err(index, &self.error).map_err(failed)?;
        }
        self.notifier = Some(activation.notifier.clone());
        Ok(())
    }

    /// The kernel wrote [`Self::error`].
    pub(crate) fn failed(&mut self) -> bool {
        let failed = self.error.read().is_ok();
        if let Some(notifier) = self.notifier.as_ref().filter(|_| failed) {
            notifier.broken();
        }
        failed
    }

    /// The driver's queues are its own again.
    pub(crate) fn forget(&mut self) {
        self.notifier = None;
        let _ = self.error.read();
    }
}

fn regions(memory: &Memory) -> io::Result<Vec<VhostUserMemoryRegionInfo>> {
    let region = |region: &vm_memory::GuestRegionMmap| {
        let host = region
            .get_host_address(MemoryRegionAddress(0))
            .map_err(io::Error::other)?;
        Ok(VhostUserMemoryRegionInfo {
            guest_phys_addr: region.start_addr().0,
            memory_size: region.len(),
            userspace_addr: host as u64,
            mmap_offset: 0,
            mmap_handle: -1,
        })
    };
    memory.iter().map(region).collect()
}

/// The rings as vhost wants them. It takes their first byte's address in this process and counts
/// on from there, so each must lie in one piece of memory.
fn ring(queue: &Queue, memory: &Memory) -> io::Result<VringConfigData> {
    let size = usize::from(queue.size());
    for (address, bytes) in [
        (queue.desc_table(), 16 * size),
        (queue.avail_ring(), 6 + 2 * size),
        (queue.used_ring(), 6 + 8 * size),
    ] {
        let piece = memory.get_slice(GuestAddress(address), bytes);
        piece.map_err(|_| io::Error::other("a ring lies in two pieces of memory"))?;
    }
    Ok(VringConfigData {
        queue_max_size: queue.max_size(),
        queue_size: queue.size(),
        flags: 0,
        desc_table_addr: queue.desc_table(),
        used_ring_addr: queue.used_ring(),
        avail_ring_addr: queue.avail_ring(),
        log_addr: None,
    })
}
