//! How a device tells its driver: the interrupt, and the registers that say why.

use super::mmio::regs::{INTERRUPT_CONFIG, INTERRUPT_QUEUE};
use crate::bus::Interrupt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Shared by the transport, which shows the causes, and the device, which raises them.
pub struct Notifier {
    interrupt: Arc<dyn Interrupt>,
    /// InterruptStatus: causes that the driver has not acknowledged.
    causes: AtomicU32,
    /// ConfigGeneration.
    generation: AtomicU32,
    /// The device gave up until the driver resets it.
    broken: AtomicBool,
    /// The kernel raises queue interrupts past this process, so that cause is always alleged.
    kernel: AtomicBool,
}

impl Notifier {
    /// Without any cause.
    pub fn new(interrupt: Arc<dyn Interrupt>) -> Self {
        Notifier {
            interrupt,
            causes: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            broken: AtomicBool::new(false),
            kernel: AtomicBool::new(false),
        }
    }

    /// Used buffers wait in a queue.
    pub fn queue(&self) {
        self.raise(INTERRUPT_QUEUE);
    }

    /// The configuration space changed.
    pub fn config(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.raise(INTERRUPT_CONFIG);
    }

    /// The device cannot go on: the driver sees DEVICE_NEEDS_RESET.
    pub fn broken(&self) {
        if !self.broken.swap(true, Ordering::AcqRel) {
            self.raise(INTERRUPT_CONFIG);
        }
    }

    /// For vhost: the interrupt, to be raised by the kernel. From now on the queues are always
    /// named as a cause, for the kernel does not say which interrupt was its own.
    pub fn for_kernel(&self) -> Option<&dyn Interrupt> {
        self.interrupt.event()?;
        self.kernel.store(true, Ordering::Release);
        Some(&*self.interrupt)
    }

    /// Whether [`Self::broken`] was called.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// ConfigGeneration: a driver that reads another one than before reads again.
    pub(super) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// InterruptStatus.
    pub(super) fn causes(&self) -> u32 {
        let kernel = self.kernel.load(Ordering::Acquire);
        self.causes.load(Ordering::Acquire) | if kernel { INTERRUPT_QUEUE } else { 0 }
    }

    /// InterruptACK.
    pub(super) fn acknowledge(&self, causes: u32) {
        self.causes.fetch_and(!causes, Ordering::AcqRel);
    }

    fn raise(&self, cause: u32) {
        let before = self.causes.fetch_or(cause, Ordering::AcqRel);
        // A cause that the driver has not acknowledged raised its interrupt then; the driver looks
        // at the rings after it has acknowledged.
        if before & cause == 0 {
            // An eventfd fails only when it is full, and then an interrupt is pending anyway.
            let _ = self.interrupt.trigger();
        }
    }
}
