//! Where a guest's MMIO accesses go: guest addresses to devices, and devices to interrupts.
//!
//! Rule: a device is called by one thread at a time (its own mutex), never while the caller holds
//! another device. What comes from the guest (address, width, value) is an allegation.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use vmm_sys_util::eventfd::EventFd;

#[cfg(test)]
mod tests;

/// A device that a guest reads and writes at addresses.
pub trait MmioDevice: Send {
    /// The guest reads `data.len()` bytes (1, 2, 4 or 8) at `offset` of the device's range. `data`
    /// comes zeroed; what the device leaves untouched reads as zero.
    fn read(&mut self, offset: u64, data: &mut [u8]);
    /// The guest writes `data` at `offset`.
    fn write(&mut self, offset: u64, data: &[u8]);
}

/// An interrupt that is an event (edge): each call is one interrupt.
pub trait Interrupt: Send + Sync {
    /// Raises it once.
    ///
    /// # Errors
    /// The system's, when the event cannot be delivered; the device then goes on without.
    fn trigger(&self) -> io::Result<()>;

    /// The descriptor that raises the interrupt when it is written, where there is one: the
    /// kernel's vhost can then do so without this process.
    fn event(&self) -> Option<&EventFd> {
        None
    }
}

impl Interrupt for EventFd {
    fn trigger(&self) -> io::Result<()> {
        self.write(1)
    }

    fn event(&self) -> Option<&EventFd> {
        Some(self)
    }
}

/// An interrupt that is a state (level).
pub trait Line: Send + Sync {
    /// Drives the line. Devices call it at changes only.
    ///
    /// # Errors
    /// The system's; the device then goes on without.
    fn set(&self, high: bool) -> io::Result<()>;
}

/// A device as the bus holds it.
pub type Shared<D = dyn MmioDevice> = Arc<Mutex<D>>;

/// The device behind a mutex. One that panicked in another thread is still used: its state is
/// plain data, and a guest must not be able to stop the others by it.
pub fn lock<D: ?Sized>(device: &Mutex<D>) -> MutexGuard<'_, D> {
    device
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Why a device could not be put on the bus.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("device at {base:#x}+{size:#x}: {why}")]
pub struct BadRange {
    /// First address.
    pub base: u64,
    /// Bytes.
    pub size: u64,
    /// What is wrong.
    pub why: &'static str,
}

/// The devices of one guest by address.
#[derive(Default)]
pub struct Bus {
    /// Disjoint ranges: base to size and device.
    ranges: BTreeMap<u64, (u64, Shared)>,
}

impl Bus {
    /// An empty bus.
    pub fn new() -> Self {
        Bus::default()
    }

    /// Puts a device at `size` bytes from `base`.
    ///
    /// # Errors
    /// [`BadRange`] when the range is empty, wraps, or overlaps another.
    pub fn insert(&mut self, base: u64, size: u64, device: Shared) -> Result<(), BadRange> {
        let bad = |why| Err(BadRange { base, size, why });
        let Some(last) = size.checked_sub(1).and_then(|n| base.checked_add(n)) else {
            return bad("empty, or beyond the address space");
        };
        let before = self.ranges.range(..=last).next_back();
        if before.is_some_and(|(&other, &(bytes, _))| other + (bytes - 1) >= base) {
            return bad("overlaps another device");
        }
        self.ranges.insert(base, (size, device));
        Ok(())
    }

    /// Reads `data.len()` bytes at `address`; `false`, and `data` zeroed, when no device has them.
    pub fn read(&self, address: u64, data: &mut [u8]) -> bool {
        data.fill(0);
        let Some((offset, device)) = self.find(address, data.len()) else {
            return false;
        };
        lock(device).read(offset, data);
        true
    }

    /// Writes `data` at `address`; `false` when no device has it.
    pub fn write(&self, address: u64, data: &[u8]) -> bool {
        let Some((offset, device)) = self.find(address, data.len()) else {
            return false;
        };
        lock(device).write(offset, data);
        true
    }

    /// The device that has all of these bytes.
    fn find(&self, address: u64, bytes: usize) -> Option<(u64, &Shared)> {
        let (&base, (size, device)) = self.ranges.range(..=address).next_back()?;
        let offset = address - base;
        let end = offset.checked_add(bytes as u64)?;
        (end <= *size).then_some((offset, device))
    }
}
