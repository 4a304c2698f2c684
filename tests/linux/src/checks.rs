//! The checks, by what they look at.

pub(crate) mod attack;
pub(crate) mod cpus;
pub(crate) mod devices;
pub(crate) mod devmem;
pub(crate) mod guests;
pub(crate) mod hotplug;
pub(crate) mod iommu;
pub(crate) mod kexec;
pub(crate) mod load;
pub(crate) mod log;
pub(crate) mod memory;
pub(crate) mod sleep;
pub(crate) mod timer;
