//! Building a VM by KVM's ioctls.

use std::os::fd::{AsRawFd, RawFd};

use anyhow::{Context, Result, bail, ensure};
use hyp_core::abi::bundle::Bundle;
use hyp_core::abi::manifest::{self, Manifest};
use kvm_bindings as kvm;
use kvm_ioctls::{Kvm, VcpuFd, VmFd};

use crate::guest::protocol::{RAM, RAM_SIZE};
use crate::memory::{Kind, Memory};

/// Bit 31 of a VM's type: protected.
const PROTECTED: u64 = 1 << 31;
/// The capability that says that Ward is below: its interface's version, or 0.
const CAP_WARD: u32 = 0x5741_5244;
const BOOT_INFO: u64 = 0;
const REMAP_IMAGE: u64 = 1;
const VERIFY: u64 = 2;
/// `_IOW(KVMIO, 0xa3, struct kvm_enable_cap)`; the result may be more than 0.
const KVM_ENABLE_CAP: libc::c_int = 0x4068_aea3;
/// Where the guest finds its interrupt controller.
const GICD: u64 = 0x0800_0000;
const GICR: u64 = 0x080a_0000;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// A protected VM.
    pub(crate) protected: bool,
    /// vCPUs: 1 or 2, as the bundle says.
    pub(crate) cpus: u64,
    /// What its memory is made of.
    pub(crate) memory: Kind,
}

impl Config {
    /// What most tests use.
    pub(crate) const PROTECTED: Config = Config {
        protected: true,
        cpus: 2,
        memory: Kind::Huge,
    };
}

/// A VM that is ready to run.
pub(crate) struct Vm {
    pub(crate) vcpus: Vec<VcpuFd>,
    pub(crate) fd: VmFd,
    // Behind the VM, which uses it.
    pub(crate) memory: Memory,
}

/// A VM that was begun: what a caller may do next is up to it.
pub(crate) struct Begun {
    pub(crate) vm: Vm,
    pub(crate) ward: bool,
    protected: bool,
    manifest: Manifest,
}

/// The bundle's bytes.
pub(crate) fn bundle() -> Result<Vec<u8>> {
    let path = std::env::var("WARD_BUNDLE").unwrap_or_else(|_| "/bundle".to_owned());
    std::fs::read(&path).with_context(|| format!("cannot read the bundle {path}"))
}

impl Vm {
    /// Builds one to the point where it may run.
    pub(crate) fn build(bundle: &[u8], config: Config, stage: &dyn Fn(&str)) -> Result<Self> {
        let begun = Begun::new(bundle, config, stage)?;
        let bundle = parse(bundle)?;
        begun.seal(&bundle, stage)?;
        Ok(begun.vm)
    }
}

fn parse(bytes: &[u8]) -> Result<Bundle<'_>> {
    Bundle::parse(bytes).map_err(|bad| anyhow::anyhow!("the bundle is broken: {bad:?}"))
}

impl Begun {
    /// A VM with memory, vCPUs and an interrupt controller, and the images in the memory.
    pub(crate) fn new(bytes: &[u8], config: Config, stage: &dyn Fn(&str)) -> Result<Self> {
        let bundle = parse(bytes)?;
        let (signed, _) =
            manifest::split_signature(bundle.manifest()).context("a manifest without signature")?;
        let manifest = Manifest::parse(bundle.manifest())
            .or_else(|_| Manifest::parse(signed))
            .map_err(|bad| anyhow::anyhow!("the manifest is broken: {bad:?}"))?;
        let kvm = Kvm::new().context("cannot open /dev/kvm")?;
        let kind = if config.protected { PROTECTED } else { 0 };
        let fd = kvm
            .create_vm_with_type(kind)
            .context("KVM_CREATE_VM: is the host's KVM able to protect?")?;
        let ward = fd.check_extension_raw(u64::from(CAP_WARD)) > 0;
        stage("created");
        let memory = Memory::new(usize::try_from(RAM_SIZE)?, config.memory)?;
        for (index, image) in bundle.images().iter().enumerate() {
            let offset = image.ipa.checked_sub(RAM).context("an image below RAM")?;
            memory.put(usize::try_from(offset)?, bundle.pages(index))?;
        }
        set_slot(&fd, 0, 0, RAM, Some(&memory))?;
        stage("memory");
        let vcpus = vcpus(&fd, config.cpus)?;
        gic(&fd)?;
        stage("vcpus");
        let vm = Vm { vcpus, fd, memory };
        Ok(Begun {
            vm,
            ward,
            protected: config.protected,
            manifest,
        })
    }

    /// Has Ward verify it, or says itself where it begins.
    pub(crate) fn seal(&self, bundle: &Bundle<'_>, stage: &dyn Fn(&str)) -> Result<()> {
        if !(self.ward && self.protected) {
            return self.registers();
        }
        self.boot_info(bundle)?;
        stage("boot-info");
        for index in 0..bundle.images().len() {
            self.image(bundle, index)?;
            stage("image");
        }
        self.verify()?;
        stage("verified");
        Ok(())
    }

    /// Hands the manifest over.
    pub(crate) fn boot_info(&self, bundle: &Bundle<'_>) -> Result<()> {
        let manifest = bundle.manifest();
        let args = [
            BOOT_INFO,
            manifest.as_ptr() as u64,
            manifest.len() as u64,
            0,
        ];
        self.enable(args).context("boot info").map(drop)
    }

    /// Gives an image's pages away.
    pub(crate) fn image(&self, bundle: &Bundle<'_>, index: usize) -> Result<()> {
        let image = bundle.images()[index];
        let (mut page, pages) = (0, image.size.div_ceil(4096));
        while page < pages {
            let what = index as u64 | page << 32;
            let address = image.ipa + page * 4096;
            let done = self
                .enable([REMAP_IMAGE, what, address, pages - page])
                .with_context(|| format!("image {index}, page {page}"))?;
            page += u64::try_from(done)?.max(1);
        }
        Ok(())
    }

    /// Has Ward hash the images.
    pub(crate) fn verify(&self) -> Result<()> {
        self.enable([VERIFY, 0, 0, 0]).context("verify").map(drop)
    }

    /// One step of Ward's, repeated when a signal came between.
    pub(crate) fn enable(&self, args: [u64; 4]) -> Result<i32> {
        let mut cap = kvm::kvm_enable_cap {
            cap: CAP_WARD,
            ..Default::default()
        };
        cap.args = args;
        loop {
            // SAFETY: the structure lives, and what the arguments name is this process's memory.
            let done =
                unsafe { libc::ioctl(self.vm.fd.as_raw_fd(), KVM_ENABLE_CAP, &raw const cap) };
            if done >= 0 {
                return Ok(done);
            }
            let error = std::io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::EINTR) {
                bail!(error);
            }
        }
    }

    /// Where vCPU 0 begins, where nobody verifies.
    fn registers(&self) -> Result<()> {
        const CORE: u64 = 0x6030_0000_0010_0000;
        let pc = CORE | 0x40;
        for (id, value) in [(CORE, self.manifest.boot_arg), (pc, self.manifest.entry)] {
            self.vm.vcpus[0]
                .set_one_reg(id, &value.to_le_bytes())
                .context("KVM_SET_ONE_REG")?;
        }
        Ok(())
    }
}

/// Gives a VM memory at an address, with flags of `KVM_SET_USER_MEMORY_REGION`, changes the flags,
/// or takes it away again. The caller keeps the memory for as long as the VM has it.
pub(crate) fn set_slot(
    vm: &VmFd,
    slot: u32,
    flags: u32,
    at: u64,
    memory: Option<&Memory>,
) -> Result<()> {
    let region = kvm::kvm_userspace_memory_region {
        slot,
        flags,
        guest_phys_addr: at,
        memory_size: memory.map_or(0, |memory| memory.size() as u64),
        userspace_addr: memory.map_or(0, |memory| memory.start() as u64),
    };
    // SAFETY: the memory lives as long as the VM has it, and no Rust object lies in it.
    unsafe { vm.set_user_memory_region(region) }.context("KVM_SET_USER_MEMORY_REGION")
}

fn vcpus(vm: &VmFd, count: u64) -> Result<Vec<VcpuFd>> {
    let mut init = kvm::kvm_vcpu_init::default();
    vm.get_preferred_target(&mut init)
        .context("KVM_ARM_PREFERRED_TARGET")?;
    init.features[0] |= 1 << kvm::KVM_ARM_VCPU_PSCI_0_2;
    (0..count)
        .map(|index| {
            let vcpu = vm.create_vcpu(index).context("KVM_CREATE_VCPU")?;
            let mut init = init;
            if index > 0 {
                init.features[0] |= 1 << kvm::KVM_ARM_VCPU_POWER_OFF;
            }
            vcpu.vcpu_init(&init).context("KVM_ARM_VCPU_INIT")?;
            Ok(vcpu)
        })
        .collect()
}

fn gic(vm: &VmFd) -> Result<()> {
    let mut device = kvm::kvm_create_device {
        type_: kvm::kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3,
        fd: 0,
        flags: 0,
    };
    let gic = vm.create_device(&mut device).context("no virtual GICv3")?;
    let set = |group: u32, attr: u32, value: u64| {
        gic.set_device_attr(&kvm::kvm_device_attr {
            flags: 0,
            group,
            attr: attr.into(),
            addr: &raw const value as u64,
        })
        .context("the virtual GICv3 cannot be set up")
    };
    set(
        kvm::KVM_DEV_ARM_VGIC_GRP_ADDR,
        kvm::KVM_VGIC_V3_ADDR_TYPE_DIST,
        GICD,
    )?;
    set(
        kvm::KVM_DEV_ARM_VGIC_GRP_ADDR,
        kvm::KVM_VGIC_V3_ADDR_TYPE_REDIST,
        GICR,
    )?;
    set(
        kvm::KVM_DEV_ARM_VGIC_GRP_CTRL,
        kvm::KVM_DEV_ARM_VGIC_CTRL_INIT,
        0,
    )
}

/// Reads a register of a vCPU that rests, by its file descriptor alone.
pub(crate) fn register(vcpu: RawFd, id: u64) -> Result<Vec<u8>, std::io::Error> {
    one_reg(vcpu, 0x4010_aeab, id, vec![0; 1 << (id >> 52 & 0xf)])
}

/// Writes one.
pub(crate) fn set_register(vcpu: RawFd, id: u64, value: Vec<u8>) -> Result<(), std::io::Error> {
    one_reg(vcpu, 0x4010_aeac, id, value).map(drop)
}

fn one_reg(
    vcpu: RawFd,
    call: libc::c_int,
    id: u64,
    mut value: Vec<u8>,
) -> std::io::Result<Vec<u8>> {
    let what = kvm::kvm_one_reg {
        id,
        addr: value.as_mut_ptr() as u64,
    };
    // SAFETY: the value is as long as its number says, and lives.
    if unsafe { libc::ioctl(vcpu, call, &raw const what) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(value)
}

/// Numbers of a vCPU's registers.
pub(crate) fn register_list(vcpu: RawFd) -> Result<Vec<u64>> {
    let mut list = vec![0_u64; 2048];
    list[0] = 2047;
    // SAFETY: a count and room for so many words.
    let done = unsafe { libc::ioctl(vcpu, 0xc008_aeb0_u32.cast_signed(), list.as_mut_ptr()) };
    ensure!(
        done == 0,
        "KVM_GET_REG_LIST: {}",
        std::io::Error::last_os_error()
    );
    let count = usize::try_from(list[0])?;
    Ok(list[1..=count].to_vec())
}
