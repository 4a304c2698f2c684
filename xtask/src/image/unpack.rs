//! Unpacks a kernel file: EL2 takes plain arm64 Images only.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::run::{CannotStart, named_file};

/// A kernel larger than this is none.
const MAX: u64 = 512 << 20;
/// Levels of packing: a zboot image in a gzip file, and one more.
const LAYERS: usize = 3;

/// The arm64 `Image` in a file that the user named.
pub(crate) fn kernel_file(path: &Path) -> Result<Vec<u8>> {
    unpack_kernel(named_file(path)?).map_err(|error| {
        CannotStart(format!(
            "{} is no kernel for Ward: {error:#}",
            path.display()
        ))
        .into()
    })
}

/// The arm64 `Image` in a kernel file: as it is, packed with gzip or zstd, or an EFI zboot image
/// (Linux `drivers/firmware/efi/libstub/zboot-header.S`) with either inside.
fn unpack_kernel(file: Vec<u8>) -> Result<Vec<u8>> {
    let mut bytes = file;
    for _ in 0..LAYERS {
        if bytes.get(56..60) == Some(b"ARM\x64") {
            return Ok(bytes);
        }
        bytes = layer(&bytes)?;
    }
    bail!("it is packed more than {LAYERS} times")
}

/// Takes one layer of packing off.
fn layer(bytes: &[u8]) -> Result<Vec<u8>> {
    if bytes.starts_with(b"\x1f\x8b") {
        read(flate2::read::GzDecoder::new(bytes)).context("it is packed with gzip and damaged")
    } else if bytes.starts_with(b"\x28\xb5\x2f\xfd") {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?.single_frame();
        // The kernel's build packs with the largest window.
        decoder.window_log_max(31)?;
        read(decoder).context("it is packed with zstd and damaged")
    } else if bytes.get(4..8) == Some(b"zimg") {
        zboot(bytes)
    } else if bytes.starts_with(b"\xfd7zXZ\0") {
        bail!("it is packed with xz: unpack it with unxz")
    } else if bytes.starts_with(b"\x7fELF") {
        bail!("it is an ELF file (vmlinux): take the file arch/arm64/boot/Image")
    } else if bytes.starts_with(b"MZ") {
        bail!("it is a PE program, but no arm64 Image: is it for another architecture?")
    } else {
        bail!(
            "it is no arm64 Image (bytes 56 to 59 are not \"ARM\\x64\") and not packed with gzip or zstd"
        )
    }
}

/// The packed kernel in a zboot image.
fn zboot(bytes: &[u8]) -> Result<Vec<u8>> {
    let field = |at: usize| -> Result<usize> {
        let word = bytes.get(at..at + 4).context("the header is cut off")?;
        Ok(u32::from_le_bytes(word.try_into()?) as usize)
    };
    let (offset, size) = (field(8)?, field(12)?);
    let kind = bytes.get(24..56).context("the header is cut off")?;
    let kind = String::from_utf8_lossy(kind);
    let kind = kind.split('\0').next().unwrap_or("");
    let packed = offset
        .checked_add(size)
        .and_then(|end| bytes.get(offset..end))
        .context("it is an EFI zboot image that is cut off")?;
    if !["gzip", "zstd", "zstd22"].contains(&kind) {
        bail!("it is an EFI zboot image packed with {kind:?}: gzip and zstd are known");
    }
    layer(packed).context("in its EFI zboot image")
}

fn read(from: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX {
        bail!("it unpacks to more than {} MiB", MAX >> 20);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn image() -> Vec<u8> {
        let mut image: Vec<u8> = (0..100_000_u32).map(|n| (n / 7) as u8).collect();
        image[56..60].copy_from_slice(b"ARM\x64");
        image
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        // As the kernel's build does it: from a pipe, so that the window is not cut to the size.
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn in_zboot(kind: &str, packed: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..8].copy_from_slice(b"MZ\0\0zimg");
        bytes[8..12].copy_from_slice(&64_u32.to_le_bytes());
        bytes[12..16].copy_from_slice(&(packed.len() as u32).to_le_bytes());
        bytes[24..24 + kind.len()].copy_from_slice(kind.as_bytes());
        bytes.extend(packed);
        // What the build appends: the size.
        bytes.extend([0xff; 4]);
        bytes
    }

    #[test]
    fn every_form_gives_the_image() {
        let image = image();
        for file in [
            image.clone(),
            gzip(&image),
            zstd(&image),
            in_zboot("gzip", &gzip(&image)),
            in_zboot("zstd22", &zstd(&image)),
            gzip(&in_zboot("zstd", &zstd(&image))),
        ] {
            assert!(unpack_kernel(file).unwrap() == image);
        }
    }

    #[test]
    fn what_is_no_kernel_is_named() {
        let packed = gzip(&image());
        let mut cut = in_zboot("gzip", &packed);
        cut.truncate(100);
        for (file, word) in [
            (b"\x7fELF\x02".to_vec(), "vmlinux"),
            (b"MZ\x90\0\x03\0\0\0".to_vec(), "PE program"),
            (Vec::new(), "no arm64 Image"),
            (packed[..packed.len() / 2].to_vec(), "damaged"),
            (in_zboot("lzma", &packed), "lzma"),
            (cut, "cut off"),
            (gzip(&gzip(&packed)), "more than 3 times"),
        ] {
            let error = format!("{:#}", unpack_kernel(file).unwrap_err());
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
