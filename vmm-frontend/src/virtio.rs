//! Virtio devices (version 1.2 of the standard) behind the MMIO transport.
//!
//! Two threads meet at a device: vCPUs write registers ([`mmio::Transport`], which holds the state
//! that the driver negotiates), and the device thread ([`crate::event_loop`]) moves data when a
//! queue is notified ([`Worker`]). Lock order: transport, then device.
//!
//! Everything in guest memory is an allegation, and may change while it is looked at. A device
//! never panics on it, never works without bound on one notification ([`Progress::More`]), and
//! never allocates by a length that the guest chose. A broken ring stops the device until the
//! driver resets it. Memory that a protected guest has not shared cannot be read: for the data of
//! requests that is an I/O error, as the kernel copies it and says `EFAULT`.

mod channel;
mod notifier;
mod request;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod vhost;
mod worker;

pub mod blk;
#[cfg(any(test, fuzzing))]
pub mod hostile;
pub mod mmio;
pub mod net;
pub mod rng;
pub mod vsock;

pub use notifier::Notifier;
pub use worker::Worker;

use crate::bus::lock;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use virtio_queue::Queue;
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::EventFd;

/// A guest's memory.
pub type Memory = vm_memory::GuestMemoryMmap;

/// A device as transport and worker share it.
pub type SharedDevice = Arc<Mutex<dyn VirtioDevice>>;

/// What a virtio device is, apart from its transport.
pub trait VirtioDevice: Send {
    /// Its number in the standard, section 5.
    fn device_type(&self) -> u32;

    /// The largest size of each queue: powers of two.
    fn queue_sizes(&self) -> &[u16];

    /// The features it offers, without those of the transport.
    fn features(&self) -> u64;

    /// Reads the configuration space; what lies beyond its end stays zero.
    fn read_config(&self, offset: u64, data: &mut [u8]);

    /// Writes the configuration space. Most have nothing that can be written.
    fn write_config(&mut self, offset: u64, data: &[u8]) {
        let _ = (offset, data);
    }

    /// The driver is ready: takes the queues. They are checked; their rings lie in memory.
    ///
    /// # Errors
    /// The system's; the driver then sees a device that needs a reset.
    fn activate(&mut self, activation: Activation) -> io::Result<()>;

    /// Back to the state before [`Self::activate`]: no memory of the guest is touched any more.
    fn reset(&mut self);

    /// Files whose readiness calls [`Self::process`], besides the queues. They are watched from the
    /// start and edge-triggered: process until they would block.
    fn sources(&self) -> Vec<(RawFd, EventSet)> {
        Vec::new()
    }

    /// Whether notifications of queues come to [`Self::process`]; otherwise the kernel's vhost
    /// takes them.
    fn wants_queue_events(&self) -> bool {
        true
    }

    /// Does the work that is there, up to a limit.
    fn process(&mut self, ready: Ready) -> Progress;

    /// What it has done so far.
    fn counters(&self) -> Arc<Counters>;
}

/// What a device gets when its driver is ready.
pub struct Activation {
    /// The guest's memory.
    pub memory: Memory,
    /// The features that driver and device agreed on.
    pub features: u64,
    /// A queue for each of [`VirtioDevice::queue_sizes`]; `None` where the driver has set up none.
    pub queues: Vec<Option<ActiveQueue>>,
    /// How to tell the driver.
    pub notifier: Arc<Notifier>,
}

impl Activation {
    /// The queues of a device that needs all `N`.
    pub(crate) fn channels<const N: usize>(self) -> io::Result<[channel::Channel; N]> {
        let (memory, notifier) = (&self.memory, &self.notifier);
        let queues = self.queues.into_iter().flatten();
        let channels: Vec<_> = queues
            .map(|queue| channel::Channel::new(queue, memory, notifier))
            .collect();
        let missing = |_| io::Error::other("its driver has not set up all queues");
        channels.try_into().map_err(missing)
    }
}

/// A queue that the driver has set up.
pub struct ActiveQueue {
    /// Its rings.
    pub queue: Queue,
    /// Written when the driver notifies.
    pub kick: Arc<EventFd>,
}

/// Why [`VirtioDevice::process`] is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ready {
    /// The driver notified this queue.
    Queue(usize),
    /// This one of [`VirtioDevice::sources`] is ready.
    Source(usize),
    /// The device was activated, or had [`Progress::More`] to do.
    Again,
}

/// What is left after [`VirtioDevice::process`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Progress {
    /// Nothing until the next event.
    Done,
    /// More than one turn may take: call again after the other devices.
    More,
}

/// What a device has done since it was made; `ward stats` prints it.
#[derive(Default, Debug)]
pub struct Counters {
    /// Requests or packets.
    pub requests: AtomicU64,
    /// Bytes that the guest gave (written, sent).
    pub from_guest: AtomicU64,
    /// Bytes that the guest got (read, received).
    pub to_guest: AtomicU64,
    /// Requests that failed, packets dropped.
    pub errors: AtomicU64,
}

/// [`Counters`] at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Requests or packets.
    pub requests: u64,
    /// Bytes that the guest gave.
    pub from_guest: u64,
    /// Bytes that the guest got.
    pub to_guest: u64,
    /// Requests that failed, packets dropped.
    pub errors: u64,
}

impl Counters {
    /// The numbers now.
    pub fn now(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            requests: get(&self.requests),
            from_guest: get(&self.from_guest),
            to_guest: get(&self.to_guest),
            errors: get(&self.errors),
        }
    }

    /// Counts `amount` more.
    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}

/// Copies from a configuration space; beyond its end `data` stays as it is (zero).
pub(crate) fn read_bytes(config: &[u8], offset: u64, data: &mut [u8]) {
    let rest = usize::try_from(offset).ok().and_then(|at| config.get(at..));
    for (to, from) in data.iter_mut().zip(rest.unwrap_or_default()) {
        *to = *from;
    }
}

/// The device's lock; see [`lock`].
pub(crate) fn device(
    shared: &SharedDevice,
) -> std::sync::MutexGuard<'_, dyn VirtioDevice + 'static> {
    lock(shared)
}
