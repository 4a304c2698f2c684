//! The MMIO transport, version 2 (virtio 1.2, section 4.2): registers between driver and device.
//!
//! The status register is a state machine: a driver adds bits in their order and starts again by
//! writing zero. A write that does not fit the state changes nothing. Queues can be set up before
//! DRIVER_OK and only while they are not ready; they are checked when they are made ready, and a
//! running device's rings cannot be moved.

use super::{Activation, ActiveQueue, Memory, Notifier, SharedDevice, Worker, device};
use crate::bus::{Interrupt, MmioDevice};
use probe::Probe;
use regs::{feature, status};
use ring::Ring;
use std::io;
use std::sync::Arc;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

mod probe;
pub mod regs;
mod ring;
#[cfg(test)]
mod tests;

/// Bytes of a device's registers.
pub const SIZE: u64 = 0x1000;

/// The registers of one device.
pub struct Transport {
    device: SharedDevice,
    memory: Memory,
    interrupt: Arc<dyn Interrupt>,
    /// Features without which a driver cannot work.
    required: u64,
    kicks: Vec<Arc<EventFd>>,
    again: Arc<EventFd>,
    /// To look at the guest's memory by the kernel's eyes.
    probe: Probe,
    state: State,
    /// Something was told about this driver: once, for a guest must not fill the log.
    told: bool,
}

/// What a reset forgets.
struct State {
    status: u32,
    /// Half of the features that the driver reads, and writes.
    device_features_sel: u32,
    driver_features_sel: u32,
    driver_features: u64,
    queue_sel: u32,
    rings: Vec<Ring>,
    notifier: Arc<Notifier>,
}

impl State {
    fn new(sizes: &[u16], interrupt: Arc<dyn Interrupt>) -> Self {
        State {
            status: 0,
            device_features_sel: 0,
            driver_features_sel: 0,
            driver_features: 0,
            queue_sel: 0,
            rings: sizes.iter().map(|&max| Ring::new(max)).collect(),
            notifier: Arc::new(Notifier::new(interrupt)),
        }
    }

    fn has(&self, bits: u32) -> bool {
        self.status & bits == bits
    }

    /// The selected queue.
    fn ring(&self) -> Option<&Ring> {
        self.rings.get(self.queue_sel as usize)
    }

    /// The selected queue, while it may be changed.
    fn ring_mut(&mut self) -> Option<&mut Ring> {
        if self.has(status::DRIVER_OK) {
            return None;
        }
        self.rings.get_mut(self.queue_sel as usize)
    }
}

impl Transport {
    /// Registers for `device`, whose driver is told by `interrupt`. A protected guest's driver
    /// must use the addresses of memory that it shared: without that feature it is refused.
    ///
    /// # Errors
    /// The system's, when it gives no descriptors.
    pub fn new(
        device: SharedDevice,
        memory: Memory,
        interrupt: Arc<dyn Interrupt>,
        protected: bool,
    ) -> io::Result<Self> {
        let sizes = self::device(&device).queue_sizes().to_vec();
        let kicks = sizes
            .iter()
            .map(|_| EventFd::new(EFD_NONBLOCK).map(Arc::new));
        let access = if protected {
            feature::ACCESS_PLATFORM
        } else {
            0
        };
        Ok(Transport {
            kicks: kicks.collect::<io::Result<_>>()?,
            again: Arc::new(EventFd::new(EFD_NONBLOCK)?),
            state: State::new(&sizes, interrupt.clone()),
            required: feature::VERSION_1 | access,
            told: false,
            probe: Probe::new()?,
            device,
            memory,
            interrupt,
        })
    }

    /// What a notification of each queue writes: the queue's number, written at
    /// [`regs::QUEUE_NOTIFY`], can be made an ioeventfd.
    pub fn queue_events(&self) -> &[Arc<EventFd>] {
        &self.kicks
    }

    /// The device's place on the device thread ([`crate::event_loop`]).
    pub fn worker(&self) -> Worker {
        Worker::new(self.device.clone(), self.kicks.clone(), self.again.clone())
    }

    fn offered(&self) -> u64 {
        device(&self.device).features() | feature::COMMON
    }

    fn register(&self, offset: u64) -> u32 {
        let state = &self.state;
        let half = |features: u64, sel: u32| match sel {
            0 => features as u32,
            1 => (features >> 32) as u32,
            _ => 0,
        };
        match offset {
            regs::MAGIC => regs::MAGIC_VALUE,
            regs::VERSION => 2,
            regs::DEVICE_ID => device(&self.device).device_type(),
            regs::VENDOR_ID => regs::VENDOR,
            regs::DEVICE_FEATURES => half(self.offered(), state.device_features_sel),
            regs::QUEUE_NUM_MAX => state.ring().map_or(0, |ring| ring.max().into()),
            regs::QUEUE_READY => state.ring().is_some_and(Ring::ready).into(),
            regs::INTERRUPT_STATUS => state.notifier.causes(),
            regs::STATUS if state.notifier.is_broken() => state.status | status::NEEDS_RESET,
            regs::STATUS => state.status,
            // No shared memory regions: length and base of all ones.
            regs::SHM_LEN..=regs::SHM_BASE_END => u32::MAX,
            regs::CONFIG_GENERATION => state.notifier.generation(),
            _ => 0,
        }
    }

    fn set_register(&mut self, offset: u64, value: u32) {
        let state = &mut self.state;
        match offset {
            regs::DEVICE_FEATURES_SEL => state.device_features_sel = value,
            regs::DRIVER_FEATURES_SEL => state.driver_features_sel = value,
            regs::DRIVER_FEATURES if !state.has(status::FEATURES_OK) => {
                let kept = match state.driver_features_sel {
                    0 => state.driver_features >> 32 << 32 | u64::from(value),
                    1 => u64::from(value) << 32 | state.driver_features & 0xffff_ffff,
                    _ => state.driver_features,
                };
                state.driver_features = kept;
            }
            regs::QUEUE_SEL => state.queue_sel = value,
            regs::QUEUE_READY if state.has(status::DRIVER_OK) => self.stop_queue(value),
            regs::QUEUE_READY => {
                if let Some(ring) = state.ring_mut() {
                    ring.set_ready(value == 1, &self.memory);
                }
            }
            regs::QUEUE_NUM | regs::QUEUE_DESC..regs::SHM_LEN => {
                if let Some(ring) = state.ring_mut() {
                    ring.set(offset, value);
                }
            }
            regs::QUEUE_NOTIFY => {
                if let Some(kick) = self.kicks.get(value as usize) {
                    // Full means notified.
                    let _ = kick.write(1);
                }
            }
            regs::INTERRUPT_ACK => state.notifier.acknowledge(value),
            regs::STATUS => self.set_status(value),
            _ => {}
        }
    }

    /// A driver takes back a queue of a running device. No driver that we know does so without a
    /// reset (it is a feature that we do not offer), but it may: then nothing is touched any more.
    fn stop_queue(&mut self, value: u32) {
        let sel = self.state.queue_sel as usize;
        if value == 0 && self.state.rings.get(sel).is_some_and(Ring::ready) {
            self.state.rings[sel].set_ready(false, &self.memory);
            self.halt();
        }
    }

    fn set_status(&mut self, value: u32) {
        if value == 0 {
            return self.reset();
        }
        let old = self.state.status;
        let value = value & (status::DRIVERS | status::NEEDS_RESET);
        let added = value & !old & status::DRIVERS;
        // Bits are taken back by a reset only.
        if old & !value != 0 {
            return;
        }
        if added & status::FAILED != 0 {
            self.state.status |= status::FAILED;
            return self.halt();
        }
        for (bit, before) in [
            (status::ACKNOWLEDGE, 0),
            (status::DRIVER, status::ACKNOWLEDGE),
            (status::FEATURES_OK, status::ACKNOWLEDGE | status::DRIVER),
            (status::DRIVER_OK, status::FEATURES_OK),
        ] {
            let allowed = added & bit != 0 && self.state.has(before);
            if allowed && (bit != status::FEATURES_OK || self.agreed()) {
                self.state.status |= bit;
                if bit == status::DRIVER_OK {
                    self.activate();
                }
            }
        }
    }

    /// Tells the host's user about the driver; the first thing only.
    fn tell(&mut self, text: impl FnOnce(u32) -> String) {
        if !std::mem::replace(&mut self.told, true) {
            log::warn!("{}", text(device(&self.device).device_type()));
        }
    }

    /// Whether device and driver can work with the driver's choice of features.
    fn agreed(&mut self) -> bool {
        let chosen = self.state.driver_features;
        let missing = self.required & !chosen;
        if missing & feature::ACCESS_PLATFORM != 0 {
            // Debian's arm64 kernel is such a guest: tell, or its user looks for the disk in vain.
            self.tell(|kind| {
                format!(
                    "the guest's virtio driver (device type {kind}) does not bounce through \
                     shared memory, as a protected guest must: its kernel needs \
                     CONFIG_ARM_PKVM_GUEST"
                )
            });
        }
        missing == 0 && chosen & !self.offered() == 0
    }

    fn activate(&mut self) {
        let mut rings = self.state.rings.iter().filter(|ring| ring.ready());
        if !rings.all(|ring| ring.shared(&self.memory, &self.probe)) {
            self.tell(|kind| {
                format!(
                    "the guest has not shared the queues of its virtio device of type {kind}, \
                     which does not start: its kernel needs CONFIG_ARM_PKVM_GUEST and \
                     CONFIG_DMA_RESTRICTED_POOL"
                )
            });
            return self.halt();
        }
        let features = self.state.driver_features;
        let event_idx = features & feature::EVENT_IDX != 0;
        let rings = self.state.rings.iter().zip(&self.kicks);
        let queues = rings.map(|(ring, kick)| {
            let queue = ring.queue(event_idx)?;
            let kick = kick.clone();
            Some(ActiveQueue { queue, kick })
        });
        let activated = device(&self.device).activate(Activation {
            memory: self.memory.clone(),
            features,
            queues: queues.collect(),
            notifier: self.state.notifier.clone(),
        });
        match activated {
            // What the driver put in the queues, or another in the files, before.
            Ok(()) => drop(self.again.write(1)),
            Err(error) => {
                self.tell(|kind| format!("virtio device of type {kind} does not start: {error}"));
                self.halt();
            }
        }
    }

    /// The device does nothing until it is reset.
    fn halt(&mut self) {
        device(&self.device).reset();
        self.state.notifier.broken();
    }

    fn reset(&mut self) {
        let mut device = device(&self.device);
        device.reset();
        self.state = State::new(device.queue_sizes(), self.interrupt.clone());
    }
}

impl MmioDevice for Transport {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        if let Some(offset) = offset.checked_sub(regs::CONFIG) {
            device(&self.device).read_config(offset, data);
        } else if let Ok(word) = <&mut [u8; 4]>::try_from(data) {
            *word = self.register(offset).to_le_bytes();
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if let Some(offset) = offset.checked_sub(regs::CONFIG) {
            // Section 2.5.1: not before the driver knows the features.
            if self.state.has(status::DRIVER) {
                device(&self.device).write_config(offset, data);
            }
        } else if let Ok(word) = <[u8; 4]>::try_from(data) {
            self.set_register(offset, u32::from_le_bytes(word));
        }
    }
}

/// A slot of the guest's device tree that has no device in this run.
pub struct Unused;

impl MmioDevice for Unused {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        if let Ok(word) = <&mut [u8; 4]>::try_from(data) {
            *word = match offset {
                regs::MAGIC => regs::MAGIC_VALUE,
                regs::VERSION => 2,
                // DeviceID 0: nothing here.
                _ => 0,
            }
            .to_le_bytes();
        }
    }

    fn write(&mut self, _: u64, _: &[u8]) {}
}
