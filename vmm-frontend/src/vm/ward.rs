//! What the kernel of a Ward host adds to `/dev/kvm`.
//!
//! One capability, `KVM_CAP_ARM_WARD`. Asked for, it gives the version of Ward's interface, or 0
//! without Ward below. Enabled on a protected VM, it does one step of building it. The kernel
//! documents it in `Documentation/virt/kvm/arm/ward.rst`.

use std::fmt;

/// "WARD", far from the numbers that are given out in order.
pub const KVM_CAP_ARM_WARD: u32 = 0x5741_5244;
/// `args[1]`: the signed manifest, `args[2]`: its length.
pub const BOOT_INFO: u64 = 0;
/// `args[1]`: image | first page << 32, `args[2]`: guest address, `args[3]`: pages.
pub const REMAP_IMAGE: u64 = 1;
/// Hashes all images where they are.
pub const VERIFY: u64 = 2;
/// `KVM_CREATE_VM`'s bit for a protected VM.
pub const VM_TYPE_PROTECTED: u64 = 1 << 31;

/// A version of Ward's interface. Within a major version everything that was there stays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version {
    /// Changes when something is taken away.
    pub major: u16,
    /// Changes when something is added.
    pub minor: u16,
}

impl Version {
    /// The version that this library was built with.
    pub const OURS: Self = Self::from_bits(hyp_core::abi::VERSION);

    /// `major << 16 | minor`.
    pub const fn from_bits(bits: u32) -> Self {
        Version {
            major: (bits >> 16) as u16,
            minor: bits as u16,
        }
    }

    /// Whether Ward of this version understands what this library asks of it.
    pub const fn is_usable(self) -> bool {
        self.major == Self::OURS.major
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
