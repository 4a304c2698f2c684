//! Addresses and identifiers. Each kind is its own type, so that one cannot pass for another.
//!
//! A value that a host or guest named is an *allegation* until checked: it arrives as a plain `u64`
//! register and becomes one of these types only through a constructor that checks it
//! ([`Pfn::from_host_pa`], [`Ipa::page`]) or through the lookup that proves it exists.

use crate::abi::Error;

/// log2 of the granule: 4 KiB pages everywhere (DDI 0487 D8.2, 4 KB granule).
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in one page frame.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// Frames in one 2 MiB block.
pub const BLOCK_FRAMES: u64 = 512;

/// The number of a physical page frame: physical address divided by 4096.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pfn(pub u64);

impl Pfn {
    /// The frame at a page-aligned physical address that a host named. Whether the frame exists
    /// and who owns it is for [`crate::memory`] to say.
    ///
    /// # Errors
    /// [`Error::BadAddress`] when `pa` is not page aligned or beyond 2^52 (DDI 0487 D8.1.6).
    pub fn from_host_pa(pa: u64) -> Result<Self, Error> {
        if !pa.is_multiple_of(PAGE_SIZE) || pa >> 52 != 0 {
            return Err(Error::BadAddress);
        }
        Ok(Pfn(pa >> PAGE_SHIFT))
    }

    /// The physical address of the frame's first byte.
    pub const fn pa(self) -> u64 {
        self.0 << PAGE_SHIFT
    }

    /// The frame `n` further on.
    pub const fn add(self, n: u64) -> Self {
        Pfn(self.0 + n)
    }
}

/// A page-aligned intermediate physical address: what a guest (or the host) believes physical.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ipa(u64);

impl Ipa {
    /// The page at `ipa`.
    ///
    /// # Errors
    /// [`Error::BadAddress`] when `ipa` is not page aligned or beyond 2^52.
    pub fn page(ipa: u64) -> Result<Self, Error> {
        if !ipa.is_multiple_of(PAGE_SIZE) || ipa >> 52 != 0 {
            return Err(Error::BadAddress);
        }
        Ok(Ipa(ipa))
    }

    /// The page that contains `ipa`, whose low bits are dropped; bits above 51 are dropped too
    /// (no translation regime of Ward's reaches them).
    pub const fn containing(ipa: u64) -> Self {
        Ipa(ipa & ((1 << 52) - PAGE_SIZE))
    }

    /// The host's address of a frame: its stage 2 is the identity.
    pub const fn identity(frame: Pfn) -> Self {
        Ipa(frame.pa())
    }

    /// The address as a number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The number of the page: address divided by 4096.
    pub const fn page_number(self) -> u64 {
        self.0 >> PAGE_SHIFT
    }

    /// The page `n` pages further on, `None` past 2^52.
    pub const fn checked_add(self, pages: u64) -> Option<Self> {
        match pages.checked_mul(PAGE_SIZE) {
            Some(bytes) => match self.0.checked_add(bytes) {
                Some(sum) if sum >> 52 == 0 => Some(Ipa(sum)),
                _ => None,
            },
            None => None,
        }
    }

    /// Is the address aligned to a leaf of `size`?
    pub const fn is_aligned(self, size: Size) -> bool {
        self.0.is_multiple_of(size.bytes())
    }
}

/// The size of a leaf of a translation table with the 4 KiB granule (DDI 0487 D8.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Size {
    /// 4 KiB: a page descriptor at level 3.
    Page,
    /// 2 MiB: a block descriptor at level 2.
    Block2M,
    /// 1 GiB: a block descriptor at level 1.
    Block1G,
}

impl Size {
    /// The size an order names in a call: 0 is 4 KiB, 9 is 2 MiB. 1 GiB leaves exist only in the
    /// host's own map and are never asked for.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for any other order.
    pub fn from_order(order: u64) -> Result<Self, Error> {
        match order {
            0 => Ok(Size::Page),
            9 => Ok(Size::Block2M),
            _ => Err(Error::InvalidArgument),
        }
    }

    /// Bytes a leaf of this size translates.
    pub const fn bytes(self) -> u64 {
        self.frames() * PAGE_SIZE
    }

    /// Frames a leaf of this size translates.
    pub const fn frames(self) -> u64 {
        match self {
            Size::Page => 1,
            Size::Block2M => BLOCK_FRAMES,
            Size::Block1G => BLOCK_FRAMES * BLOCK_FRAMES,
        }
    }

    /// The level of the lookup at which a leaf of this size stands.
    pub const fn level(self) -> u8 {
        match self {
            Size::Page => 3,
            Size::Block2M => 2,
            Size::Block1G => 1,
        }
    }
}

/// The number of a VM: its VMID in `VTTBR_EL2` and its handle in calls. 0 is the host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VmId(pub u16);

impl VmId {
    /// The host's own translation regime.
    pub const HOST: VmId = VmId(0);
}

/// The number of a vCPU within its VM. Affinity level 0 of the MPIDR the vCPU sees is the low
/// four bits, level 1 the rest (at most 16 CPUs answer one SGI target list, IHI 0069 12.2.22).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VcpuId(pub u8);

impl VcpuId {
    /// `MPIDR_EL1` as this vCPU reads it: bit 31 is RES1 (DDI 0487 D24.2.128).
    pub const fn mpidr(self) -> u64 {
        (1 << 31) | ((self.0 as u64 >> 4) << 8) | (self.0 as u64 & 0xf)
    }

    /// The vCPU with these affinity fields (as PSCI names a target, DEN0022 5.1.4), if it can
    /// exist.
    pub const fn from_affinity(affinity: u64) -> Option<Self> {
        if affinity & !0x0f0f != 0 {
            return None;
        }
        Some(VcpuId(((affinity >> 8) << 4 | (affinity & 0xf)) as u8))
    }
}

/// The number of a physical CPU, in the order Ward brought them up. Not its MPIDR.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CpuId(pub u16);
