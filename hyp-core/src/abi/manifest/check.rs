//! Whether a well-formed manifest describes a machine that Ward can build.

use super::{BadField, ImageKind, Manifest, Region, RegionKind};
use crate::addr::{Ipa, PAGE_SIZE};

/// What this machine can give a VM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bits of the IPA space. No more than 52 count.
    pub ipa_bits: u32,
    /// vCPUs a VM may have.
    pub max_vcpus: u32,
}

impl Manifest {
    /// Checks that the parts fit each other and `limits`. After it, region and image addresses
    /// neither wrap nor collide, and each page of an image belongs to that image alone.
    ///
    /// # Errors
    /// The first field that does not fit.
    pub fn check(&self, limits: &Limits) -> Result<(), BadField> {
        if self.vcpus == 0 || self.vcpus > limits.max_vcpus {
            return Err(BadField::new(
                "vcpus",
                "none, or more than this machine allows",
            ));
        }
        self.check_regions(1 << limits.ipa_bits.min(52))?;
        self.check_images()?;
        if !self.entry.is_multiple_of(4) {
            return Err(BadField::new("entry", "not a multiple of 4"));
        }
        let mut kernels = self.images().iter().filter(|i| i.kind == ImageKind::Kernel);
        if !kernels.any(|kernel| kernel.contains(self.entry)) {
            return Err(BadField::new("entry", "not inside a kernel image"));
        }
        if self.boot_arg != 0 && !self.images().iter().any(|i| i.contains(self.boot_arg)) {
            return Err(BadField::new(
                "boot argument",
                "neither 0 nor inside an image",
            ));
        }
        Ok(())
    }

    fn check_regions(&self, ipa_end: u64) -> Result<(), BadField> {
        for (i, region) in self.regions().iter().enumerate() {
            let bad = |field, why| Err(BadField::at("regions", i, field, why));
            if !region.ipa.is_multiple_of(PAGE_SIZE) {
                return bad("ipa", "not page aligned");
            }
            if region.size == 0 || !region.size.is_multiple_of(PAGE_SIZE) {
                return bad("size", "zero, or not a multiple of 4096");
            }
            let room = ipa_end.checked_sub(region.ipa);
            if room.is_none_or(|room| region.size > room) {
                return bad("size", "ends outside this machine's guest address space");
            }
            let span = (region.ipa, region.size);
            if self.regions()[..i]
                .iter()
                .any(|r| overlap((r.ipa, r.size), span))
            {
                return bad("ipa", "overlaps an earlier region");
            }
        }
        Ok(())
    }

    fn check_images(&self) -> Result<(), BadField> {
        for (i, image) in self.images().iter().enumerate() {
            let bad = |field, why| Err(BadField::at("images", i, field, why));
            if !image.ipa.is_multiple_of(PAGE_SIZE) {
                return bad("ipa", "not page aligned");
            }
            if image.size == 0 {
                return bad("size", "zero");
            }
            // A size whose pages pass 2^64 is in no region, and neither is this.
            let bytes = image.pages().saturating_mul(PAGE_SIZE);
            if !self.ram_contains(image.ipa, bytes) {
                return bad("size", "its pages are not all inside one RAM region");
            }
            let clash = |(first, pages): (u64, u64)| {
                overlap((first, pages * PAGE_SIZE), (image.ipa, bytes))
            };
            if self.images()[..i]
                .iter()
                .any(|other| clash((other.ipa, other.pages())))
            {
                return bad("ipa", "shares a page with an earlier image");
            }
        }
        Ok(())
    }

    /// Are the `bytes` bytes from `ipa` (at least one) inside one RAM region?
    pub fn ram_contains(&self, ipa: u64, bytes: u64) -> bool {
        self.in_region(RegionKind::Ram, ipa, bytes)
    }

    /// Are the `bytes` bytes from `ipa` (at least one) inside one MMIO region?
    pub fn mmio_contains(&self, ipa: u64, bytes: u64) -> bool {
        self.in_region(RegionKind::Mmio, ipa, bytes)
    }

    /// Pages of all images.
    pub fn total_pages(&self) -> u64 {
        self.images().iter().map(|image| image.pages()).sum()
    }

    /// Pages of image `index`; `None` when there is no such image.
    pub fn image_pages(&self, index: usize) -> Option<u64> {
        self.images().get(index).map(|image| image.pages())
    }

    /// The IPA of page `page` of image `index`; `None` when there is no such image or page.
    pub fn image_page(&self, index: usize, page: u64) -> Option<Ipa> {
        let image = self.images().get(index)?;
        if page >= image.pages() {
            return None;
        }
        Ipa::page(image.ipa).ok()?.checked_add(page)
    }

    fn in_region(&self, kind: RegionKind, ipa: u64, bytes: u64) -> bool {
        let holds = |region: &Region| region.kind == kind && region.contains(ipa, bytes);
        self.regions().iter().any(holds)
    }
}

/// Do two ranges (first byte, bytes), neither of which wraps, share a byte?
const fn overlap(a: (u64, u64), b: (u64, u64)) -> bool {
    a.0 < b.0 + b.1 && b.0 < a.0 + a.1
}
