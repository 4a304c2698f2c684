//! Bytes to manifest and back.

use super::{
    BadField, Digest, FORMAT_VERSION, HEADER_BYTES, IMAGE_BYTES, Image, ImageKind, MAGIC,
    MAX_BYTES, MAX_IMAGES, MAX_REGIONS, Manifest, REGION_BYTES, Region, RegionKind,
    SIGNATURE_BYTES,
};
use crate::abi::wire::{Reader, Writer};

impl Manifest {
    /// Reads a whole signed manifest. Looks at the form only: the signature is for
    /// [`crate::verify::check_signature`], the meaning for [`Manifest::check`].
    ///
    /// # Errors
    /// The first field, in the order of the bytes, that breaks the format.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, BadField> {
        let mut from = Reader::new(bytes);
        if from.bytes("magic")? != MAGIC {
            return Err(BadField::new("magic", "not a Ward manifest"));
        }
        if from.u32("format version")? != FORMAT_VERSION {
            return Err(BadField::new("format version", "not 1"));
        }
        if from.u32("length")? as usize != bytes.len() {
            return Err(BadField::new("length", "not the number of bytes given"));
        }
        if from.u32("flags")? != 0 {
            return Err(BadField::new("flags", "not 0"));
        }
        let vcpus = from.u32("vcpus")?;
        let entry = from.u64("entry")?;
        let boot_arg = from.u64("boot argument")?;
        let image_version = from.u64("image version")?;
        let regions = count(&mut from, "regions", MAX_REGIONS)?;
        let images = count(&mut from, "images", MAX_IMAGES)?;
        let mut manifest = Manifest::new(from.bytes("key")?);
        (manifest.vcpus, manifest.entry) = (vcpus, entry);
        (manifest.boot_arg, manifest.image_version) = (boot_arg, image_version);
        if bytes.len() != length(regions, images) {
            return Err(BadField::new("length", "does not fit the counts"));
        }
        for i in 0..regions {
            manifest.push_region(region(&mut from, i)?)?;
        }
        for i in 0..images {
            manifest.push_image(image(&mut from, i)?)?;
        }
        Ok(manifest)
    }

    /// Bytes of the manifest with its signature.
    pub fn encoded_bytes(&self) -> usize {
        length(self.regions().len(), self.images().len())
    }

    /// Writes all but the signature and returns the number of bytes written; the signature
    /// belongs right behind them. What it signs is [`super::SIGN_PREFIX`] and these bytes.
    pub fn encode_unsigned(&self, to: &mut [u8; MAX_BYTES]) -> usize {
        let mut to = Writer::new(to);
        to.bytes(&MAGIC);
        to.u32(FORMAT_VERSION);
        to.u32(self.encoded_bytes() as u32);
        to.u32(0);
        to.u32(self.vcpus);
        to.u64(self.entry);
        to.u64(self.boot_arg);
        to.u64(self.image_version);
        to.u32(self.regions().len() as u32);
        to.u32(self.images().len() as u32);
        to.bytes(&self.key);
        for region in self.regions() {
            to.u32(region.kind as u32);
            to.u32(0);
            to.u64(region.ipa);
            to.u64(region.size);
        }
        for image in self.images() {
            let (algorithm, digest, zeros): (_, &[u8], &[u8]) = match &image.digest {
                Digest::Sha256(digest) => (1, digest, &[0; 32]),
                Digest::Sha512(digest) => (2, digest, &[]),
            };
            to.u32(image.kind as u32);
            to.u32(algorithm);
            to.u64(image.ipa);
            to.u64(image.size);
            to.bytes(digest);
            to.bytes(zeros);
        }
        to.written()
    }
}

/// The signed bytes and the signature of a manifest; `None` when it is too short to have one.
pub fn split_signature(bytes: &[u8]) -> Option<(&[u8], &[u8; SIGNATURE_BYTES])> {
    bytes.split_last_chunk()
}

const fn length(regions: usize, images: usize) -> usize {
    HEADER_BYTES + regions * REGION_BYTES + images * IMAGE_BYTES + SIGNATURE_BYTES
}

fn count(from: &mut Reader<'_>, field: &'static str, max: usize) -> Result<usize, BadField> {
    let count = from.u32(field)? as usize;
    if count > max {
        return Err(BadField::new(field, "more than 16"));
    }
    Ok(count)
}

fn region(from: &mut Reader<'_>, i: usize) -> Result<Region, BadField> {
    let bad = |field, why| BadField::at("regions", i, field, why);
    let kind = RegionKind::from_number(from.u32("regions")?)
        .ok_or(bad("kind", "neither 1 (RAM) nor 2 (MMIO)"))?;
    if from.u32("regions")? != 0 {
        return Err(bad("reserved", "not 0"));
    }
    Ok(Region {
        kind,
        ipa: from.u64("regions")?,
        size: from.u64("regions")?,
    })
}

fn image(from: &mut Reader<'_>, i: usize) -> Result<Image, BadField> {
    let bad = |field, why| BadField::at("images", i, field, why);
    let kind = ImageKind::from_number(from.u32("images")?)
        .ok_or(bad("kind", "not 1 (kernel) to 4 (other)"))?;
    let algorithm = from.u32("images")?;
    let ipa = from.u64("images")?;
    let size = from.u64("images")?;
    let digest: [u8; 64] = from.bytes("images")?;
    let digest = match (algorithm, digest.split_first_chunk()) {
        (1, Some((short, rest))) if rest.iter().all(|b| *b == 0) => Digest::Sha256(*short),
        (1, _) => return Err(bad("digest", "bytes after a SHA-256 digest not 0")),
        (2, _) => Digest::Sha512(digest),
        _ => {
            return Err(bad(
                "digest algorithm",
                "neither 1 (SHA-256) nor 2 (SHA-512)",
            ));
        }
    };
    Ok(Image {
        kind,
        ipa,
        size,
        digest,
    })
}
