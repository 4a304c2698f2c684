//! QEMU's device `edu`: it has a page of its own, and copies it to or from wherever it is told.
//!
//! It says when a transfer is over, never whether it went well.

use std::ptr;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::vfio::{Bar, Device};
use crate::system;

/// What PCI calls it.
pub(super) const VENDOR: u16 = 0x1234;
pub(super) const DEVICE: u16 = 0x11e8;

// Registers (QEMU, docs/specs/edu.rst).
const SOURCE: usize = 0x80;
const TARGET: usize = 0x88;
const COUNT: usize = 0x90;
const COMMAND: usize = 0x98;
/// Bits of the command.
const START: u64 = 1;
const TO_MEMORY: u64 = 2;
/// Where its own page is, as it counts.
const PAGE: u64 = 0x4_0000;

/// The device.
pub(super) struct Edu(Bar);

impl Edu {
    /// The device, which may do DMA from here on.
    pub(super) fn new(device: &Device) -> Result<Self> {
        device.enable()?;
        Ok(Edu(device.bar0()?))
    }

    /// It reads from there into its own page.
    pub(super) fn take(&mut self, from: u64, bytes: usize) -> Result<()> {
        self.transfer([from, PAGE], bytes, START)
    }

    /// It writes its own page there.
    pub(super) fn give(&mut self, to: u64, bytes: usize) -> Result<()> {
        self.transfer([PAGE, to], bytes, START | TO_MEMORY)
    }

    fn transfer(&mut self, [from, to]: [u64; 2], bytes: usize, command: u64) -> Result<()> {
        self.write(SOURCE, from);
        self.write(TARGET, to);
        self.write(COUNT, bytes as u64);
        self.write(COMMAND, command);
        let over = || Ok(self.read(COMMAND) & START == 0);
        ensure!(
            system::until(Duration::from_secs(20), over)?,
            "the device does not end a transfer"
        );
        Ok(())
    }

    fn write(&self, register: usize, value: u64) {
        // SAFETY: the registers are below 4 KiB, and the BAR has 1 MiB.
        unsafe { ptr::write_volatile(self.0.at.wrapping_add(register).cast::<u64>(), value) }
    }

    fn read(&self, register: usize) -> u64 {
        // SAFETY: as above.
        unsafe { ptr::read_volatile(self.0.at.wrapping_add(register).cast::<u64>()) }
    }
}
