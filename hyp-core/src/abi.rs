//! The calls: numbers, arguments, errors, and the layouts that cross the border.
//!
//! This is the one description. `docs/calls.md` and `linux/include/ward_abi.h` are printed from
//! it, the dispatcher is written against it, and `vmm-frontend` uses nothing else of this crate.

pub mod bundle;
pub mod calls;
pub mod error;
pub mod manifest;
pub mod run;
pub mod smccc;
mod wire;

pub use calls::{CALLS, Call, CallInfo, vm_state};
pub use error::Error;

/// Version of this interface: major in the upper 16 bits, minor in the lower. A host refuses to
/// run over another major.
pub const VERSION: u32 = 1 << 16 | 2;

/// The UID Ward answers a host with in `x0..x3` (SMCCC call UID query, DEN0028 6.2), as four
/// 32-bit words. Guests see the KVM vendor UID instead ([`smccc::KVM_UID`]).
pub const WARD_UID: [u32; 4] = [0x6472_6157, 0x4b9c_51f0, 0x2f6e_a2b3, 0x9d01_7e88];

/// Contiguous frames that hold a VM's record; given to [`Call::VmRegister`].
pub const VM_RECORD_FRAMES: u64 = 2;
/// Frames that hold a vCPU's record; given to [`Call::VcpuRegister`].
pub const VCPU_RECORD_FRAMES: u64 = 1;
/// vCPUs a VM may have.
pub const MAX_VCPUS: usize = 64;
/// Images a manifest may name.
pub const MAX_IMAGES: usize = 16;
/// Memory and device regions a manifest may name.
pub const MAX_REGIONS: usize = 16;
/// Frames one [`Call::VmDonate`], [`Call::VmClearRange`] or [`Call::HostDonate`] may name, and
/// leaves one [`Call::VmUnmapRange`], [`Call::VmProtect`] or [`Call::VmAgeRange`].
pub const MAX_RANGE_FRAMES: u64 = 512;
/// [`Call::VmRegister`] flag: the VM's memory and registers are kept from the host.
pub const VM_PROTECTED: u64 = 1;
/// [`Call::VmRegister`] flag, normal VMs only: the host answers what the guest reads of the ID
/// registers `S3_0_C0_C1_0` to `S3_0_C0_C7_7`.
pub const VM_HOST_IDS: u64 = 2;
/// [`Call::VmMapIo`] flag: the device's memory may be read ahead and its writes joined.
pub const IO_WRITE_COMBINING: u64 = 1;
/// [`Call::VmMapIo`] flag: the guest may not write.
pub const IO_READ_ONLY: u64 = 2;
/// [`Call::VmAgeRange`] flag: only count the leaves that were used, and leave them so.
pub const AGE_LOOK: u64 = 1;
/// List registers a run page has room for (`ICH_LR0_EL2` to `ICH_LR15_EL2`).
pub const MAX_LIST_REGISTERS: usize = 16;
