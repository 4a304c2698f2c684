//! The bundle: one file with a signed manifest and the bytes of its images.
//!
//! A wrapper for transport, itself not trusted: `ward bundle` writes it, a host takes it apart and
//! gives Ward the pieces. It is laid out so that a host that has loaded it at a page-aligned address
//! can give the pages of the images away where they are.
//!
//! | offset | bytes | field (little-endian) |
//! |---|---|---|
//! | 0 | 8 | `WARDBND1` |
//! | 8 | 8 | offset of the manifest in the file |
//! | 16 | 8 | bytes of the manifest |
//! | 24 | 4 | images, N |
//! | 28 | 4 | 0 |
//! | 32 | 24 N | images, in the manifest's order: offset in the file, size in bytes, IPA (8 each) |
//!
//! Images begin at multiples of 4096 and are padded with zeros to whole pages. Manifest and
//! images lie inside the file, and the file is a whole number of pages.

use super::MAX_IMAGES;
use super::manifest::{BadField, Manifest};
use super::wire::{Reader, Writer};
use crate::addr::PAGE_SIZE;

#[cfg(test)]
mod tests;

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"WARDBND1";
/// Bytes before the first image entry.
pub const HEADER_BYTES: usize = 32;
/// Bytes of an image entry.
pub const ENTRY_BYTES: usize = 24;
/// Bytes of the longest header.
pub const MAX_HEADER_BYTES: usize = HEADER_BYTES + MAX_IMAGES * ENTRY_BYTES;

/// Where one image is in the file, and where it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    /// First byte in the file; a multiple of 4096.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// The address of its first byte in the guest; a multiple of 4096.
    pub ipa: u64,
}

/// A bundle whose parts are known to lie inside it.
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'a> {
    bytes: &'a [u8],
    manifest: &'a [u8],
    entries: [Entry; MAX_IMAGES],
    count: usize,
}

impl<'a> Bundle<'a> {
    /// Finds the parts of a bundle.
    ///
    /// # Errors
    /// The first field, in the order of the bytes, that breaks the format.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BadField> {
        let mut from = Reader::new(bytes);
        if from.bytes("bundle magic")? != MAGIC {
            return Err(BadField::new("bundle magic", "not a Ward bundle"));
        }
        let (offset, size) = (from.u64("manifest offset")?, from.u64("manifest length")?);
        let manifest = range(bytes, offset, size)
            .ok_or(BadField::new("manifest offset", "past the end of the file"))?;
        let count = from.u32("bundle images")? as usize;
        if count > MAX_IMAGES {
            return Err(BadField::new("bundle images", "more than 16"));
        }
        if from.u32("bundle reserved")? != 0 {
            return Err(BadField::new("bundle reserved", "not 0"));
        }
        let mut entries = [Entry::default(); MAX_IMAGES];
        for (i, entry) in entries[..count].iter_mut().enumerate() {
            *entry = Entry {
                offset: from.u64("bundle images")?,
                size: from.u64("bundle images")?,
                ipa: from.u64("bundle images")?,
            };
            let bad = |field, why| BadField::at("bundle images", i, field, why);
            if !entry.offset.is_multiple_of(PAGE_SIZE) {
                return Err(bad("offset", "not page aligned"));
            }
            pages(bytes, entry).ok_or(bad("size", "its pages pass the end of the file"))?;
        }
        Ok(Bundle {
            bytes,
            manifest,
            entries,
            count,
        })
    }

    /// The signed manifest.
    pub const fn manifest(&self) -> &'a [u8] {
        self.manifest
    }

    /// The images, in the manifest's order.
    pub fn images(&self) -> &[Entry] {
        &self.entries[..self.count]
    }

    /// The pages of an image, padding included; empty when there is no such image.
    pub fn pages(&self, index: usize) -> &'a [u8] {
        let entry = self.images().get(index);
        entry.and_then(|e| pages(self.bytes, e)).unwrap_or_default()
    }

    /// Checks that the bundle carries the images that the manifest names. Ward does not ask: a
    /// host that loads the wrong bytes fails verification. This finds the mistake earlier.
    ///
    /// # Errors
    /// The first entry that differs.
    pub fn agrees_with(&self, manifest: &Manifest) -> Result<(), BadField> {
        if self.count != manifest.images().len() {
            return Err(BadField::new(
                "bundle images",
                "not as many as in the manifest",
            ));
        }
        for (i, (entry, image)) in self.images().iter().zip(manifest.images()).enumerate() {
            if (entry.ipa, entry.size) != (image.ipa, image.size) {
                let why = "other address or size than in the manifest";
                return Err(BadField::at("bundle images", i, "ipa", why));
            }
        }
        Ok(())
    }
}

/// Writes the header of a bundle and returns its length. Entries past [`MAX_IMAGES`] are left out.
pub fn encode_header(
    to: &mut [u8; MAX_HEADER_BYTES],
    manifest_offset: u64,
    manifest_bytes: u64,
    images: &[Entry],
) -> usize {
    let images = &images[..images.len().min(MAX_IMAGES)];
    let mut to = Writer::new(to);
    to.bytes(&MAGIC);
    to.u64(manifest_offset);
    to.u64(manifest_bytes);
    to.u32(images.len() as u32);
    to.u32(0);
    for image in images {
        to.u64(image.offset);
        to.u64(image.size);
        to.u64(image.ipa);
    }
    to.written()
}

fn pages<'a>(bytes: &'a [u8], entry: &Entry) -> Option<&'a [u8]> {
    range(
        bytes,
        entry.offset,
        entry.size.checked_next_multiple_of(PAGE_SIZE)?,
    )
}

fn range(bytes: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(size).ok()?)?)
}
