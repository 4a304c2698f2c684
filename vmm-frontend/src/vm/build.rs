//! Builds a VM: everything before its first instruction.

use super::gic::Gic;
use super::ward::{BOOT_INFO, KVM_CAP_ARM_WARD, REMAP_IMAGE, VERIFY, VM_TYPE_PROTECTED};
use super::{Host, HostError, Payload, Spi, Step, allocate, allow_locked};
use hyp_core::addr::PAGE_SIZE;
use kvm_bindings as b;
use kvm_ioctls::{Cap, IoEventAddress, VcpuFd, VmFd};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
    MemoryRegionAddress,
};
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::ioctl::ioctl_with_ref;

/// How a guest is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Verified by Ward, and kept from this host by Ward.
    Protected,
    /// As a plain guest of KVM's: this host can see and change all of it.
    Normal,
    /// Kept from this host by what KVM has without Ward (pKVM), and verified by nobody: the host
    /// chose what runs. To compare with, and to develop.
    Unverified,
}

/// A VM that is ready to run.
pub struct Vm {
    pub(super) fd: Arc<VmFd>,
    pub(super) vcpus: Vec<VcpuFd>,
    memory: GuestMemoryMmap,
    mode: Mode,
    _gic: Gic,
}

vmm_sys_util::ioctl_iow_nr!(KVM_ENABLE_CAP, b::KVMIO, 0xa3, b::kvm_enable_cap);

impl Vm {
    /// Builds a VM of `payload`.
    ///
    /// # Errors
    /// [`HostError`]: what is missing, what is too little, or what Ward refused.
    pub fn build(host: &Host, payload: &Payload, mode: Mode) -> Result<Self, HostError> {
        if mode == Mode::Protected {
            host.usable_ward()?;
            payload.manifest.as_ref().ok_or(HostError::NotSigned)?;
        }
        if mode != Mode::Normal {
            allow_locked(payload.ram_bytes())?;
        }
        if payload.vcpus > host.max_vcpus() {
            return Err(HostError::Cpus {
                asked: payload.vcpus,
                most: host.max_vcpus(),
            });
        }
        let fd = Arc::new(create(host, payload, mode)?);
        let memory = allocate(&payload.ram)?;
        add_slots(&fd, &memory)?;
        let mut vcpus = Vec::new();
        for index in 0..payload.vcpus {
            vcpus.push(vcpu(&fd, index, mode)?);
        }
        let gic = Gic::new(&fd, payload.vcpus)?;
        load(&memory, payload)?;
        match mode {
            Mode::Protected => hand_over(&fd, payload)?,
            Mode::Normal | Mode::Unverified => start_at(&vcpus[0], payload)?,
        }
        Ok(Vm {
            fd,
            vcpus,
            memory,
            mode,
            _gic: gic,
        })
    }

    /// The guest's memory, as devices use it.
    pub fn memory(&self) -> &GuestMemoryMmap {
        &self.memory
    }

    /// How it is protected.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The number of the VM's descriptor: with the process's, KVM's name for it in debugfs.
    pub fn descriptor(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// A level interrupt of the guest: SPI `number`.
    pub fn level(&self, number: u32) -> Spi {
        Spi::new(self.fd.clone(), number)
    }

    /// An edge interrupt: writing the descriptor raises SPI `number`.
    ///
    /// # Errors
    /// [`HostError::System`] when there are no more descriptors.
    pub fn edge(&self, number: u32) -> Result<EventFd, HostError> {
        super::interrupt::edge(&self.fd, number).map_err(|source| HostError::System {
            doing: format!("make interrupt {number} of the guest"),
            source,
        })
    }

    /// Has KVM write `event` when the guest writes `value` (32 bits) at `address`.
    ///
    /// # Errors
    /// [`HostError::Kvm`].
    pub fn notify(&self, event: &EventFd, address: u64, value: u32) -> Result<(), HostError> {
        let address = IoEventAddress::Mmio(address);
        let made = self.fd.register_ioevent(event, &address, value);
        made.map_err(|e| kvm("take a device's notifications", e))
    }
}

fn kvm(doing: &'static str, error: kvm_ioctls::Error) -> HostError {
    let source = error.into();
    HostError::Kvm { doing, source }
}

fn create(host: &Host, payload: &Payload, mode: Mode) -> Result<VmFd, HostError> {
    let bits = u64::from(host.address_bits(payload.ram_end())?);
    let protected = match mode {
        Mode::Normal => 0,
        Mode::Protected | Mode::Unverified => VM_TYPE_PROTECTED,
    };
    loop {
        match host.kvm.create_vm_with_type(protected | bits) {
            Ok(vm) => return Ok(vm),
            Err(error) if error.errno() == libc::EINTR => (),
            Err(error) if protected != 0 && error.errno() == libc::EINVAL => {
                return Err(HostError::NoProtected(error.into()));
            }
            Err(error) => return Err(kvm("make a VM", error)),
        }
    }
}

fn add_slots(vm: &VmFd, memory: &GuestMemoryMmap) -> Result<(), HostError> {
    for (slot, region) in memory.iter().enumerate() {
        let address = region.get_host_address(MemoryRegionAddress(0));
        let slot = b::kvm_userspace_memory_region {
            slot: slot as u32,
            flags: 0,
            guest_phys_addr: region.start_addr().0,
            memory_size: region.len(),
            userspace_addr: address.map_or(0, |pointer| pointer as u64),
        };
        // SAFETY: the region is memory that `Vm` keeps mapped as long as the VM has a descriptor,
        // and nothing else of this process lies in it.
        let added = unsafe { vm.set_user_memory_region(slot) };
        added.map_err(|e| kvm("take the guest's memory", e))?;
    }
    Ok(())
}

fn vcpu(vm: &VmFd, index: u32, mode: Mode) -> Result<VcpuFd, HostError> {
    let failed = |e| kvm("make a vCPU", e);
    let vcpu = vm.create_vcpu(u64::from(index)).map_err(failed)?;
    let mut init = b::kvm_vcpu_init::default();
    vm.get_preferred_target(&mut init).map_err(failed)?;
    let mut features = vec![b::KVM_ARM_VCPU_PSCI_0_2];
    if index != 0 {
        features.push(b::KVM_ARM_VCPU_POWER_OFF);
    }
    if vm.check_extension(Cap::ArmPtrAuthAddress) && vm.check_extension(Cap::ArmPtrAuthGeneric) {
        features.push(b::KVM_ARM_VCPU_PTRAUTH_ADDRESS);
        features.push(b::KVM_ARM_VCPU_PTRAUTH_GENERIC);
    }
    let sve = mode == Mode::Normal && vm.check_extension(Cap::ArmSve);
    if sve {
        features.push(b::KVM_ARM_VCPU_SVE);
    }
    for feature in features {
        init.features[feature as usize / 32] |= 1 << (feature % 32);
    }
    vcpu.vcpu_init(&init).map_err(failed)?;
    if sve {
        let feature = b::KVM_ARM_VCPU_SVE as i32;
        vcpu.vcpu_finalize(&feature).map_err(failed)?;
    }
    Ok(vcpu)
}

/// Copies the pieces to their places.
fn load(memory: &GuestMemoryMmap, payload: &Payload) -> Result<(), HostError> {
    for (index, piece) in payload.pieces.iter().enumerate() {
        let copied = memory.write_slice(&piece.bytes, GuestAddress(piece.ipa));
        let ipa = piece.ipa;
        copied.map_err(|_| HostError::Outside { index, ipa })?;
    }
    Ok(())
}

/// Where vCPU 0 of an unverified guest starts, and with what in `x0`.
fn start_at(vcpu: &VcpuFd, payload: &Payload) -> Result<(), HostError> {
    // KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE, and the offset in 32-bit words.
    const CORE: u64 = 0x6030_0000_0010_0000;
    const X0: u64 = CORE;
    const PC: u64 = CORE + 32 * 2;
    for (register, value) in [(PC, payload.entry), (X0, payload.boot_arg)] {
        let set = vcpu.set_one_reg(register, &value.to_le_bytes());
        set.map_err(|e| kvm("set where the guest starts", e))?;
    }
    Ok(())
}

/// Gives Ward the manifest and the pages of the images, and has it verify them.
fn hand_over(vm: &VmFd, payload: &Payload) -> Result<(), HostError> {
    let manifest = payload.manifest.as_deref().unwrap_or_default();
    let (address, len) = (manifest.as_ptr() as u64, manifest.len() as u64);
    ward(vm, Step::Manifest, [BOOT_INFO, address, len, 0])?;
    for (index, piece) in payload.pieces.iter().enumerate() {
        let pages = piece.bytes.len() as u64 / PAGE_SIZE;
        let mut done = 0;
        while done < pages {
            let what = index as u64 | done << 32;
            let ipa = piece.ipa + done * PAGE_SIZE;
            let args = [REMAP_IMAGE, what, ipa, pages - done];
            // At least one, or an error; should a kernel ever say 0, this must end.
            done += ward(vm, Step::Image(index), args)?.max(1);
        }
    }
    ward(vm, Step::Verify, [VERIFY, 0, 0, 0])?;
    Ok(())
}

/// One step; gives what the kernel returned. A signal does not end it.
fn ward(vm: &VmFd, step: Step, args: [u64; 4]) -> Result<u64, HostError> {
    let request = b::kvm_enable_cap {
        cap: KVM_CAP_ARM_WARD,
        args,
        ..Default::default()
    };
    loop {
        // SAFETY: the kernel reads one `kvm_enable_cap`, which lives to the end of the call; the
        // manifest that `args` may point at does so as well, and is only read.
        let result = unsafe { ioctl_with_ref(&vm.as_raw_fd(), KVM_ENABLE_CAP(), &request) };
        if let Ok(result) = u64::try_from(result) {
            return Ok(result);
        }
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
        if errno != libc::EINTR {
            return Err(HostError::Refused { step, errno });
        }
    }
}
