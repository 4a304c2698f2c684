//! The guest's interrupt controller: KVM's GICv3 with its ITS.

use super::HostError;
use crate::layout;
use kvm_bindings as b;
use kvm_ioctls::{DeviceFd, VmFd};

/// The descriptors keep the devices alive.
pub(super) struct Gic {
    _gic: DeviceFd,
    _its: Option<DeviceFd>,
}

impl Gic {
    /// Makes the controller of a VM that has all its vCPUs.
    pub(super) fn new(vm: &VmFd, vcpus: u32) -> Result<Self, HostError> {
        let gic = create(vm, b::kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3)
            .map_err(|_| HostError::Missing("GICv3 for guests; the machine needs a GICv3"))?;
        set(
            &gic,
            b::KVM_DEV_ARM_VGIC_GRP_ADDR,
            b::KVM_VGIC_V3_ADDR_TYPE_DIST,
            &layout::GICD.start,
        )?;
        // Bits 63:52 count of redistributors, 51:16 address, 11:0 index of the region.
        let region = u64::from(vcpus) << 52 | layout::GICR_BASE;
        set(
            &gic,
            b::KVM_DEV_ARM_VGIC_GRP_ADDR,
            b::KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION,
            &region,
        )?;
        set(
            &gic,
            b::KVM_DEV_ARM_VGIC_GRP_NR_IRQS,
            0,
            &layout::INTERRUPTS,
        )?;
        set(
            &gic,
            b::KVM_DEV_ARM_VGIC_GRP_CTRL,
            b::KVM_DEV_ARM_VGIC_CTRL_INIT,
            &0u64,
        )?;
        Ok(Gic {
            _its: its(vm)?,
            _gic: gic,
        })
    }
}

/// The ITS, where KVM makes one: no device of the machine needs it.
fn its(vm: &VmFd) -> Result<Option<DeviceFd>, HostError> {
    let Ok(its) = create(vm, b::kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_ITS) else {
        log::warn!("KVM makes no ITS here; the guest goes on without message interrupts");
        return Ok(None);
    };
    set(
        &its,
        b::KVM_DEV_ARM_VGIC_GRP_ADDR,
        b::KVM_VGIC_ITS_ADDR_TYPE,
        &layout::ITS.start,
    )?;
    set(
        &its,
        b::KVM_DEV_ARM_VGIC_GRP_CTRL,
        b::KVM_DEV_ARM_VGIC_CTRL_INIT,
        &0u64,
    )?;
    Ok(Some(its))
}

fn create(vm: &VmFd, kind: b::kvm_device_type) -> Result<DeviceFd, kvm_ioctls::Error> {
    let mut request = b::kvm_create_device {
        type_: kind,
        ..Default::default()
    };
    vm.create_device(&mut request)
}

/// `value` is what KVM reads for this attribute.
fn set<T>(device: &DeviceFd, group: u32, attr: u32, value: &T) -> Result<(), HostError> {
    let request = b::kvm_device_attr {
        group,
        attr: u64::from(attr),
        addr: std::ptr::from_ref(value) as u64,
        flags: 0,
    };
    let set = device.set_device_attr(&request);
    set.map_err(|error| HostError::Kvm {
        doing: "set up the guest's interrupt controller",
        source: error.into(),
    })
}
