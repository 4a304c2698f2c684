//! The guest's memory in this process: anonymous, so that its pages can be given away.

use super::HostError;
use std::io;
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap};

/// Allocates memory for these regions (guest address, bytes). No page is taken from the system
/// before it is touched, or given to the guest.
///
/// # Errors
/// [`HostError::Memory`] when the system has no room for a region.
pub fn allocate(regions: &[(u64, u64)]) -> Result<GuestMemoryMmap, HostError> {
    let mut made = Vec::new();
    for &(ipa, bytes) in regions {
        let failed = |source| HostError::Memory { ipa, bytes, source };
        let region = region(ipa, bytes).map_err(failed)?;
        // Huge pages go to the guest in one call and are one entry in its TLB. A core file must
        // neither hold the guest's memory nor touch pages that are not ours any more.
        for advice in [libc::MADV_HUGEPAGE, libc::MADV_DONTDUMP] {
            // SAFETY: address and length are those of the mapping that `region` owns; neither
            // advice changes what the memory holds.
            unsafe { libc::madvise(region.as_ptr().cast(), region.size(), advice) };
            // Advice that a kernel does not know costs speed and nothing else.
        }
        made.push(region);
    }
    GuestMemoryMmap::from_regions(made).map_err(|error| HostError::System {
        doing: "lay out the guest's memory".into(),
        source: io::Error::other(error.to_string()),
    })
}

fn region(ipa: u64, bytes: u64) -> io::Result<GuestRegionMmap> {
    let size = usize::try_from(bytes).map_err(io::Error::other)?;
    let mapping = MmapRegionBuilder::new(size)
        .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
        .with_mmap_flags(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE)
        .build();
    let mapping = mapping.map_err(|error| match error {
        vm_memory::mmap::MmapRegionError::Mmap(source) => source,
        other => io::Error::other(other.to_string()),
    })?;
    GuestRegionMmap::new(mapping, GuestAddress(ipa))
        .ok_or_else(|| io::Error::other("it wraps around"))
}
