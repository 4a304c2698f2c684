//! Function numbers of the standards Ward answers: SMCCC (DEN0028), PSCI (DEN0022), TRNG
//! (DEN0098) and the KVM vendor range that Linux guests know.

/// `SMCCC_VERSION`, DEN0028 7.2.
pub const SMCCC_VERSION: u32 = 0x8000_0000;
/// `SMCCC_ARCH_FEATURES`, DEN0028 7.3.
pub const SMCCC_ARCH_FEATURES: u32 = 0x8000_0001;
/// `SMCCC_ARCH_SOC_ID`, DEN0028 7.4.
pub const SMCCC_ARCH_SOC_ID: u32 = 0x8000_0002;
/// `SMCCC_ARCH_WORKAROUND_4` (prefetcher, CVE-2024-7881), DEN0028 7.8.
pub const SMCCC_ARCH_WORKAROUND_4: u32 = 0x8000_0004;
/// `SMCCC_ARCH_WORKAROUND_1` (Spectre v2), DEN0028 7.5.
pub const SMCCC_ARCH_WORKAROUND_1: u32 = 0x8000_8000;
/// `SMCCC_ARCH_WORKAROUND_2` (Spectre v4), DEN0028 7.6.
pub const SMCCC_ARCH_WORKAROUND_2: u32 = 0x8000_7fff;
/// `SMCCC_ARCH_WORKAROUND_3` (Spectre-BHB), DEN0028 7.7.
pub const SMCCC_ARCH_WORKAROUND_3: u32 = 0x8000_3fff;
/// SMCCC 1.2, the version that lets a call return in `x0..x17`.
pub const SMCCC_1_2: u64 = 0x1_0002;
/// What an unknown function returns: -1.
pub const NOT_SUPPORTED: u64 = u64::MAX;

/// Vendor hypervisor service, call UID query (both Ward's and KVM's answer here).
pub const VENDOR_UID: u32 = 0x8600_ff01;
/// The UID by which Linux knows KVM's vendor functions.
pub const KVM_UID: [u32; 4] = [0xb66f_b428, 0xe911_c52e, 0x564b_caa9, 0x743a_004d];
/// Bitmap of the KVM vendor functions present.
pub const KVM_FEATURES: u32 = 0x8600_0000;
/// pKVM's `MEMINFO`: granule in which memory can be shared.
pub const KVM_MEMINFO: u32 = 0xc600_0002;
/// pKVM's `MEM_SHARE`: shares one page with the host.
pub const KVM_MEM_SHARE: u32 = 0xc600_0003;
/// pKVM's `MEM_UNSHARE`.
pub const KVM_MEM_UNSHARE: u32 = 0xc600_0004;
/// pKVM's `MMIO_GUARD`: declares one page as emulated device memory.
pub const KVM_MMIO_GUARD: u32 = 0xc600_0007;
/// pKVM's `MEM_RELINQUISH` (Android's kernel): gives one page back to the host, zeroed.
pub const KVM_MEM_RELINQUISH: u32 = 0xc600_0009;

/// PSCI functions, DEN0022 table 5. The 64-bit forms have bit 30 set.
pub mod psci {
    /// `PSCI_VERSION`.
    pub const VERSION: u32 = 0x8400_0000;
    /// `CPU_SUSPEND`, 32-bit form.
    pub const CPU_SUSPEND: u32 = 0x8400_0001;
    /// `CPU_OFF`.
    pub const CPU_OFF: u32 = 0x8400_0002;
    /// `CPU_ON`, 32-bit form.
    pub const CPU_ON: u32 = 0x8400_0003;
    /// `AFFINITY_INFO`, 32-bit form.
    pub const AFFINITY_INFO: u32 = 0x8400_0004;
    /// `MIGRATE_INFO_TYPE`.
    pub const MIGRATE_INFO_TYPE: u32 = 0x8400_0006;
    /// `SYSTEM_OFF`.
    pub const SYSTEM_OFF: u32 = 0x8400_0008;
    /// `SYSTEM_RESET`.
    pub const SYSTEM_RESET: u32 = 0x8400_0009;
    /// `PSCI_FEATURES`.
    pub const FEATURES: u32 = 0x8400_000a;
    /// `SYSTEM_SUSPEND`, 32-bit form.
    pub const SYSTEM_SUSPEND: u32 = 0x8400_000e;
    /// `SYSTEM_RESET2`, 32-bit form.
    pub const SYSTEM_RESET2: u32 = 0x8400_0012;
    /// Bit that makes a function number its 64-bit form.
    pub const SMC64: u32 = 1 << 30;
    /// Version 1.1 as `PSCI_VERSION` returns it.
    pub const V1_1: u64 = 0x1_0001;
    /// `SUCCESS`.
    pub const SUCCESS: u64 = 0;
    /// `INVALID_PARAMETERS`.
    pub const INVALID_PARAMETERS: u64 = -2_i64 as u64;
    /// `DENIED`.
    pub const DENIED: u64 = -3_i64 as u64;
    /// `ALREADY_ON`.
    pub const ALREADY_ON: u64 = -4_i64 as u64;
    /// `ON_PENDING`.
    pub const ON_PENDING: u64 = -5_i64 as u64;
    /// `INTERNAL_FAILURE`.
    pub const INTERNAL_FAILURE: u64 = -6_i64 as u64;
    /// `INVALID_ADDRESS`.
    pub const INVALID_ADDRESS: u64 = -9_i64 as u64;
}

/// True random number service, DEN0098.
pub mod trng {
    /// `TRNG_VERSION`.
    pub const VERSION: u32 = 0x8400_0050;
    /// `TRNG_FEATURES`.
    pub const FEATURES: u32 = 0x8400_0051;
    /// `TRNG_GET_UUID`.
    pub const GET_UUID: u32 = 0x8400_0052;
    /// `TRNG_RND`, 32-bit form: at most 96 bits.
    pub const RND: u32 = 0x8400_0053;
    /// `TRNG_RND`, 64-bit form: at most 192 bits.
    pub const RND64: u32 = 0xc400_0053;
    /// Version 1.0.
    pub const V1_0: u64 = 0x1_0000;
    /// `INVALID_PARAMETERS`.
    pub const INVALID_PARAMETERS: u64 = -2_i64 as u64;
    /// `NO_ENTROPY`.
    pub const NO_ENTROPY: u64 = -3_i64 as u64;
}
