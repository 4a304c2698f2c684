//! Interrupts of devices, as KVM takes them.

use crate::bus::Line;
use kvm_ioctls::VmFd;
use std::io;
use std::sync::Arc;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// `KVM_IRQ_LINE`: the kind of interrupt in bits 27:24, 1 is an SPI.
const KIND_SPI: u32 = 1 << 24;
/// The number of the first SPI.
const FIRST: u32 = 32;

/// A level interrupt: SPI `n` of a VM.
pub struct Spi {
    vm: Arc<VmFd>,
    number: u32,
}

impl Spi {
    pub(super) fn new(vm: Arc<VmFd>, number: u32) -> Self {
        Spi { vm, number }
    }
}

impl Line for Spi {
    fn set(&self, high: bool) -> io::Result<()> {
        let irq = KIND_SPI | (FIRST + self.number);
        Ok(self.vm.set_irq_line(irq, high)?)
    }
}

/// An edge interrupt: writing the descriptor raises SPI `number`.
pub(super) fn edge(vm: &VmFd, number: u32) -> io::Result<EventFd> {
    let event = EventFd::new(EFD_NONBLOCK)?;
    vm.register_irqfd(&event, number)?;
    Ok(event)
}
