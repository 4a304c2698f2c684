//! `/dev/kvm`, and whether Ward is below it.

use super::HostError;
use super::ward::{KVM_CAP_ARM_WARD, Version};
use kvm_ioctls::{Cap, Kvm};
use std::io;
use std::os::fd::FromRawFd;
use std::path::Path;

/// What KVM's interface has been since its first release.
const KVM_API_VERSION: i32 = 12;

/// An open `/dev/kvm`.
pub struct Host {
    pub(super) kvm: Kvm,
    ward: Option<Version>,
}

impl Host {
    /// Opens the device (`/dev/kvm`) and looks at what is there.
    ///
    /// # Errors
    /// [`HostError`]: no KVM, no access to it, or one that lacks what every guest needs.
    pub fn open(path: &Path) -> Result<Self, HostError> {
        let failed = |source| HostError::Open {
            path: path.into(),
            source,
        };
        let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|error| failed(error.into()))?;
        let fd = Kvm::open_with_cloexec_at(&name, true).map_err(|e| failed(e.into()))?;
        // SAFETY: the descriptor was opened just now and nobody else has its number.
        let kvm = unsafe { Kvm::from_raw_fd(fd) };
        match kvm.get_api_version() {
            KVM_API_VERSION => (),
            // A file that is no KVM.
            -1 => return Err(failed(io::Error::from_raw_os_error(libc::ENOTTY))),
            other => return Err(HostError::KvmVersion(other)),
        }
        for (cap, name) in [
            (Cap::OneReg, "access to registers (KVM_CAP_ONE_REG)"),
            (Cap::ArmPsci02, "PSCI (KVM_CAP_ARM_PSCI_0_2)"),
            (Cap::Ioeventfd, "ioeventfd"),
            (Cap::Irqfd, "irqfd"),
        ] {
            if !kvm.check_extension(cap) {
                return Err(HostError::Missing(name));
            }
        }
        let bits = kvm.check_extension_raw(u64::from(KVM_CAP_ARM_WARD));
        let ward = u32::try_from(bits).ok().filter(|&bits| bits != 0);
        Ok(Host {
            kvm,
            ward: ward.map(Version::from_bits),
        })
    }

    /// The version of Ward's interface, where Ward is below this kernel.
    pub fn ward(&self) -> Option<Version> {
        self.ward
    }

    /// Ward of a version that can be used.
    pub(super) fn usable_ward(&self) -> Result<Version, HostError> {
        let version = self.ward.ok_or(HostError::NoWard)?;
        if !version.is_usable() {
            return Err(HostError::WardVersion(version));
        }
        Ok(version)
    }

    /// The most vCPUs of a VM.
    pub(super) fn max_vcpus(&self) -> u32 {
        u32::try_from(self.kvm.get_max_vcpus()).unwrap_or(u32::MAX)
    }

    /// The address bits to make a VM with whose memory ends at `end`.
    pub(super) fn address_bits(&self, end: u64) -> Result<u32, HostError> {
        // Without the capability all VMs have 40.
        let limit = match u32::try_from(self.kvm.get_host_ipa_limit()) {
            Ok(0) | Err(_) => 40,
            Ok(limit) => limit,
        };
        let need = u64::BITS - end.saturating_sub(1).leading_zeros();
        if need > limit {
            return Err(HostError::AddressSpace { end, bits: limit });
        }
        Ok(need.max(limit.min(40)))
    }
}
