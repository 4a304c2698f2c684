//! What a manifest lists: regions of the guest's address space and the images in its RAM.

use crate::addr::PAGE_SIZE;

/// What a region of the guest's address space is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum RegionKind {
    /// Memory: the host gives frames at fault time, zeroed.
    Ram = 1,
    /// Device memory that the host emulates: accesses exit to it.
    Mmio = 2,
}

impl RegionKind {
    /// The kind with this number.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(RegionKind::Ram),
            2 => Some(RegionKind::Mmio),
            _ => None,
        }
    }
}

/// A page-aligned range of the guest's address space.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Region {
    /// What it is.
    pub kind: RegionKind,
    /// First byte.
    pub ipa: u64,
    /// Bytes.
    pub size: u64,
}

impl Region {
    pub(super) const EMPTY: Region = Region {
        kind: RegionKind::Ram,
        ipa: 0,
        size: 0,
    };

    /// Are the `bytes` bytes from `ipa` (at least one) all in the region? True for no range that
    /// wraps.
    pub const fn contains(&self, ipa: u64, bytes: u64) -> bool {
        contains(self.ipa, self.size, ipa, bytes)
    }
}

/// What an image is. Only the kernel means something to Ward: the guest starts inside it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum ImageKind {
    /// The code that runs first.
    Kernel = 1,
    /// A RAM disk.
    Initrd = 2,
    /// The flattened device tree.
    DeviceTree = 3,
    /// Anything else the guest wants to find in memory.
    Other = 4,
}

impl ImageKind {
    /// The kind with this number.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(ImageKind::Kernel),
            2 => Some(ImageKind::Initrd),
            3 => Some(ImageKind::DeviceTree),
            4 => Some(ImageKind::Other),
            _ => None,
        }
    }
}

/// The digest of an image's bytes (FIPS 180-4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Digest {
    /// Algorithm 1. Hashed with the CPU's instructions where it has them.
    Sha256([u8; 32]),
    /// Algorithm 2. Always hashed in software.
    Sha512([u8; 64]),
}

/// Bytes that are in the guest's RAM when it starts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Image {
    /// What it is.
    pub kind: ImageKind,
    /// First byte; page aligned.
    pub ipa: u64,
    /// Bytes. The rest of the last page is zero when the guest starts.
    pub size: u64,
    /// The digest of those bytes.
    pub digest: Digest,
}

impl Image {
    pub(super) const EMPTY: Image = Image {
        kind: ImageKind::Kernel,
        ipa: 0,
        size: 0,
        digest: Digest::Sha256([0; 32]),
    };

    /// Pages the image takes.
    pub const fn pages(&self) -> u64 {
        self.size.div_ceil(PAGE_SIZE)
    }

    /// Is `address` one of the image's bytes?
    pub const fn contains(&self, address: u64) -> bool {
        contains(self.ipa, self.size, address, 1)
    }
}

const fn contains(first: u64, size: u64, ipa: u64, bytes: u64) -> bool {
    bytes > 0 && bytes <= size && ipa >= first && ipa - first <= size - bytes
}
