//! PCI Express by ECAM: finds functions of bus 0, gives them an address and lets them be bus
//! masters.

use super::memory::{read_device32, write_device32};

/// Vendor and device ID, in one word.
const ID: u64 = 0;
const COMMAND: u64 = 0x04;
const BAR0: u64 = 0x10;
/// Answers its memory, and is a bus master.
const ENABLED: u32 = 1 << 1 | 1 << 2;

/// One function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function {
    config: u64,
    /// Bus, device and function in one number: with which its DMA comes to the SMMU.
    pub(crate) requester: u32,
}

impl Function {
    /// The functions 0 of bus 0 whose vendor and device ID are `id`.
    pub(crate) fn all(ecam: u64, id: u32) -> impl Iterator<Item = Function> {
        (0..32)
            .map(move |device| Function {
                config: ecam + (u64::from(device) << 15),
                requester: device << 3,
            })
            .filter(move |function| read_device32(function.config + ID) == id)
    }

    /// Puts its first BAR, one of 32-bit memory, at `address`, and lets it be a bus master.
    pub(crate) fn enable(&self, address: u64) {
        write_device32(self.config + BAR0, address as u32);
        write_device32(self.config + BAR0 + 4, 0);
        write_device32(self.config + COMMAND, ENABLED);
    }
}
