//! Compressed kernels.

use super::{Unusable, foreign};
use flate2::read::GzDecoder;
use ruzstd::decoding::StreamingDecoder;
use std::io::Read;

/// No kernel is larger; what unpacks to more is a trap.
const LIMIT: u64 = 512 << 20;
const GZIP: &[u8] = b"\x1f\x8b\x08";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
/// `PE\0\0` and the machine of arm64.
const PE_ARM64: &[u8] = b"PE\0\0\x64\xaa";

/// How a file holds a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    /// As it is loaded.
    Plain,
    /// Compressed with gzip.
    Gzip,
    /// Compressed with zstd.
    Zstd,
    /// In an EFI program that unpacks it, compressed with gzip.
    ZbootGzip,
    /// In an EFI program that unpacks it, compressed with zstd.
    ZbootZstd,
}

impl Packing {
    /// Its name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Packing::Plain => "plain",
            Packing::Gzip => "gzip",
            Packing::Zstd => "zstd",
            Packing::ZbootGzip => "EFI zboot, gzip",
            Packing::ZbootZstd => "EFI zboot, zstd",
        }
    }
}

/// The image in a file, and how it was in there.
pub(super) fn unpack(file: Vec<u8>) -> Result<(Vec<u8>, Packing), Unusable> {
    if file.starts_with(GZIP) {
        // A distribution may compress the EFI program once more.
        let inner = gunzip(&file)?;
        return Ok(match zboot(&inner)? {
            Some(image) => image,
            None => (inner, Packing::Gzip),
        });
    }
    if file.starts_with(ZSTD) {
        return Ok((unzstd(&file)?, Packing::Zstd));
    }
    Ok(zboot(&file)?.unwrap_or((file, Packing::Plain)))
}

/// What an EFI zboot image holds; `None` when this is none. Its header: `MZ`, two bytes, `zimg`,
/// offset and size of the payload, eight bytes, name of the compression.
fn zboot(file: &[u8]) -> Result<Option<(Vec<u8>, Packing)>, Unusable> {
    if !file.starts_with(b"MZ") || file.get(4..8) != Some(b"zimg") {
        return Ok(None);
    }
    let number = |at: usize| {
        let bytes = file.get(at..).and_then(|bytes| bytes.first_chunk());
        bytes.map(|&bytes| u32::from_le_bytes(bytes) as usize)
    };
    let cut = || Unusable::new("is an EFI zboot image that ends too early", GET_AGAIN);
    let pe = number(0x3c).ok_or_else(cut)?;
    if !file.get(pe..).is_some_and(|pe| pe.starts_with(PE_ARM64)) {
        return Err(Unusable::new(
            "is an EFI zboot image for another machine than arm64",
            foreign::REMEDY,
        ));
    }
    let (offset, size) = (number(8).ok_or_else(cut)?, number(12).ok_or_else(cut)?);
    let end = offset.checked_add(size).ok_or_else(cut)?;
    let payload = file.get(offset..end).ok_or_else(cut)?;
    let name = file.get(24..56).ok_or_else(cut)?;
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    match name {
        b"gzip" => Ok(Some((gunzip(payload)?, Packing::ZbootGzip))),
        b"zstd" => Ok(Some((unzstd(payload)?, Packing::ZbootZstd))),
        other => Err(Unusable::new(
            format!(
                "is an EFI zboot image compressed with {}",
                String::from_utf8_lossy(other).escape_debug()
            ),
            "only gzip and zstd are unpacked here: give the Image from inside it",
        )),
    }
}

const GET_AGAIN: &str = "get the file again, it is damaged";

fn gunzip(packed: &[u8]) -> Result<Vec<u8>, Unusable> {
    limited(GzDecoder::new(packed), "gzip")
}

fn unzstd(packed: &[u8]) -> Result<Vec<u8>, Unusable> {
    let broken = |error| Unusable::new(format!("cannot be unpacked (zstd): {error}"), GET_AGAIN);
    limited(StreamingDecoder::new(packed).map_err(broken)?, "zstd")
}

fn limited(from: impl Read, how: &str) -> Result<Vec<u8>, Unusable> {
    let mut image = Vec::new();
    from.take(LIMIT + 1)
        .read_to_end(&mut image)
        .map_err(|error| {
            Unusable::new(format!("cannot be unpacked ({how}): {error}"), GET_AGAIN)
        })?;
    if image.len() as u64 > LIMIT {
        let what = format!("unpacks to more than {} MiB", LIMIT >> 20);
        return Err(Unusable::new(what, foreign::REMEDY));
    }
    Ok(image)
}
