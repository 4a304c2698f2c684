//! The signed manifest: everything a protected guest starts from.
//!
//! A guest's owner signs it; the host hands it to Ward with
//! [`Call::VmSetBootInfo`](super::Call::VmSetBootInfo). It is untrusted bytes until
//! [`crate::verify::check_signature`] has seen the signature, and a machine that Ward can build only
//! after [`Manifest::check`].
//!
//! All numbers are little-endian. A manifest has exactly one encoding: reserved bytes are zero,
//! the length is exact, nothing trails, so `encode(parse(bytes)) == bytes`.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | `WARDMAN1` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | length of the whole, signature included |
//! | 16 | 4 | flags, 0 |
//! | 20 | 4 | vCPUs |
//! | 24 | 8 | entry: IPA at which vCPU 0 starts |
//! | 32 | 8 | boot argument: `x0` of vCPU 0, the IPA of the device tree, or 0 |
//! | 40 | 8 | image version, the owner's own count |
//! | 48 | 4 | regions, R |
//! | 52 | 4 | images, N |
//! | 56 | 32 | Ed25519 public key of the owner (RFC 8032) |
//! | 88 | 24 R | regions: kind (4), 0 (4), IPA (8), size in bytes (8) |
//! | 88 + 24 R | 88 N | images: kind (4), digest algorithm (4), IPA (8), size in bytes (8), digest (64) |
//! | length - 64 | 64 | Ed25519 signature of [`SIGN_PREFIX`] and all bytes before it |
//!
//! Region kinds: 1 RAM, 2 MMIO. Image kinds: 1 kernel, 2 initrd, 3 device tree, 4 other. Digests: 1
//! SHA-256 (32 bytes, then 32 zero bytes), 2 SHA-512 (FIPS 180-4).

mod check;
mod codec;
mod error;
mod types;

#[cfg(test)]
pub(crate) mod tests;

pub use check::Limits;
pub use codec::split_signature;
pub use error::BadField;
pub use types::{Digest, Image, ImageKind, Region, RegionKind};

use super::{MAX_IMAGES, MAX_REGIONS};

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"WARDMAN1";
/// The format this module reads and writes.
pub const FORMAT_VERSION: u32 = 1;
/// What is signed begins with these bytes, so that no signature made for another purpose fits.
pub const SIGN_PREFIX: &[u8] = b"Ward manifest v1\0";
/// Bytes of the signature at the end.
pub const SIGNATURE_BYTES: usize = 64;
/// Bytes before the first region.
pub const HEADER_BYTES: usize = 88;
/// Bytes of a region.
pub const REGION_BYTES: usize = 24;
/// Bytes of an image.
pub const IMAGE_BYTES: usize = 88;
/// Bytes of the longest manifest, signature included.
pub const MAX_BYTES: usize =
    HEADER_BYTES + MAX_REGIONS * REGION_BYTES + MAX_IMAGES * IMAGE_BYTES + SIGNATURE_BYTES;

// It arrives in one frame and stays in the VM's record.
const _: () = assert!(MAX_BYTES <= 4096 && size_of::<Manifest>() <= 2560);

/// A manifest without its signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// vCPUs of the VM.
    pub vcpus: u32,
    /// IPA at which vCPU 0 starts.
    pub entry: u64,
    /// `x0` of vCPU 0 at its start.
    pub boot_arg: u64,
    /// The owner's version of what the images hold. Ward shows it; the owner gives it meaning.
    pub image_version: u64,
    /// The owner's Ed25519 public key.
    pub key: [u8; 32],
    // Entries past the counts keep their initial value, so that equality is equality.
    regions: [Region; MAX_REGIONS],
    region_count: usize,
    images: [Image; MAX_IMAGES],
    image_count: usize,
}

impl Manifest {
    /// A manifest of the owner with this key, without regions or images.
    pub const fn new(key: [u8; 32]) -> Self {
        Manifest {
            vcpus: 1,
            entry: 0,
            boot_arg: 0,
            image_version: 0,
            key,
            regions: [Region::EMPTY; MAX_REGIONS],
            region_count: 0,
            images: [Image::EMPTY; MAX_IMAGES],
            image_count: 0,
        }
    }

    /// The regions, in the order of the manifest.
    pub fn regions(&self) -> &[Region] {
        &self.regions[..self.region_count]
    }

    /// The images, in the order of the manifest: the index that calls use.
    pub fn images(&self) -> &[Image] {
        &self.images[..self.image_count]
    }

    /// Appends a region.
    ///
    /// # Errors
    /// When there are [`MAX_REGIONS`] already.
    pub fn push_region(&mut self, region: Region) -> Result<(), BadField> {
        let slot = self.regions.get_mut(self.region_count);
        *slot.ok_or(BadField::new("regions", "more than 16"))? = region;
        self.region_count += 1;
        Ok(())
    }

    /// Appends an image.
    ///
    /// # Errors
    /// When there are [`MAX_IMAGES`] already.
    pub fn push_image(&mut self, image: Image) -> Result<(), BadField> {
        let slot = self.images.get_mut(self.image_count);
        *slot.ok_or(BadField::new("images", "more than 16"))? = image;
        self.image_count += 1;
        Ok(())
    }
}
