//! What the platform found at boot and hyp-core must know.

use crate::dma::DmaConfig;
use crate::memory::bank::Ranges;
use crate::stage2::Geometry;

/// The machine, as the device tree and the CPU describe it.
#[derive(Clone, Debug)]
pub struct Config {
    /// All RAM.
    pub ram: Ranges,
    /// The part of RAM that is Ward's: image, stacks, arrays, root table and boot pool.
    pub hyp: Ranges,
    /// Device pages that are Ward's and no one else's.
    pub hyp_devices: Ranges,
    /// Shape of all stage-2 tables.
    pub geometry: Geometry,
    /// Ed25519 public keys that may sign guests.
    pub keys: &'static [[u8; 32]],
    /// List registers of the virtual interrupt controller, 1 to 16.
    pub list_registers: u8,
    /// INTID of the virtual timer's interrupt.
    pub virtual_timer: u16,
    /// The host's DMA table, if there is an SMMU.
    pub dma: Option<DmaConfig>,
}

/// Why the machine described cannot be Ward's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BootError {
    /// No RAM, RAM beyond the IPA space, or Ward's memory outside RAM.
    Memory,
    /// The arrays handed over do not have the length the configuration asks for.
    Arrays,
    /// The boot pool does not hold the tables of the host's map; see [`Config::boot_pool_frames`].
    Pool,
}

impl Config {
    /// Frames to set aside for the host's translation tables: what its first map can need, one
    /// for each 16 MiB of RAM to split blocks with, and some for device memory. The host can
    /// add to it ([`Call::HostDonate`](crate::abi::Call::HostDonate)).
    pub fn boot_pool_frames(&self) -> u64 {
        let edges = 2 * (self.ram.as_slice().len() + self.hyp.as_slice().len()) as u64;
        // An edge inside a block costs a table at level 2 and one at level 3; a range may open a
        // table at level 1.
        3 * edges + 48 + self.ram.frames() / 4096
    }

    /// VM numbers to make slots for, the host's 0 included: what the VMID width allows, and no
    /// more than one for each 4 MiB of RAM.
    pub fn slots(&self, vmid_bits: u32) -> usize {
        let by_width = 1_u64 << vmid_bits.min(16);
        usize::try_from(by_width.min(self.ram.frames() / 1024).max(2)).unwrap_or(2)
    }
}
