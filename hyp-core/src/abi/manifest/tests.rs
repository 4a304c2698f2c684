//! The format byte by byte, and both sides of every bound.

use super::*;
use std::string::ToString;
use std::vec::Vec;

mod check;
mod codec;

/// RAM of 256 MiB at 1 GiB, a device page, a kernel of two pages and a device tree of one.
pub(crate) fn sample() -> Manifest {
    let mut manifest = Manifest::new([7; 32]);
    manifest.vcpus = 2;
    manifest.entry = 0x4008_0040;
    manifest.boot_arg = 0x4800_0000;
    manifest.image_version = 3;
    let regions = [
        (RegionKind::Ram, 0x4000_0000, 0x1000_0000),
        (RegionKind::Mmio, 0x0900_0000, 0x1000),
    ];
    for (kind, ipa, size) in regions {
        manifest.push_region(Region { kind, ipa, size }).unwrap();
    }
    let images = [
        (
            ImageKind::Kernel,
            0x4008_0000,
            4097,
            Digest::Sha256([0x11; 32]),
        ),
        (
            ImageKind::DeviceTree,
            0x4800_0000,
            100,
            Digest::Sha512([0x22; 64]),
        ),
    ];
    for (kind, ipa, size, digest) in images {
        let image = Image {
            kind,
            ipa,
            size,
            digest,
        };
        manifest.push_image(image).unwrap();
    }
    manifest
}

/// The bytes of a manifest with a signature of 0x55s.
pub(crate) fn encoded(manifest: &Manifest) -> Vec<u8> {
    let mut buffer = [0; MAX_BYTES];
    let body = manifest.encode_unsigned(&mut buffer);
    let mut bytes = buffer[..body].to_vec();
    bytes.extend([0x55; SIGNATURE_BYTES]);
    bytes
}

/// Numbers that look random and are the same in every run (xorshift64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

#[test]
fn a_full_list_takes_no_more() {
    let mut manifest = sample();
    for _ in 2..MAX_REGIONS {
        manifest.push_region(manifest.regions()[0]).unwrap();
    }
    for _ in 2..MAX_IMAGES {
        manifest.push_image(manifest.images()[0]).unwrap();
    }
    let full = manifest;
    let region = manifest.push_region(full.regions()[0]).unwrap_err();
    assert_eq!(region.to_string(), "regions: more than 16");
    let image = manifest.push_image(full.images()[0]).unwrap_err();
    assert_eq!(image.to_string(), "images: more than 16");
    assert_eq!(manifest, full);
    assert_eq!(encoded(&full).len(), MAX_BYTES);
    assert_eq!(Manifest::parse(&encoded(&full)), Ok(full));
}

#[test]
fn a_bad_field_names_itself_and_is_a_bad_manifest() {
    let bad = BadField::at("images", 2, "ipa", "not page aligned");
    assert_eq!(bad.to_string(), "images[2].ipa: not page aligned");
    assert_eq!(crate::abi::Error::from(bad), crate::abi::Error::BadManifest);
}
