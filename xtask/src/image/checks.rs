//! What must hold of the linked image before it may boot: header, entry, segments, relocations.

use anyhow::Result;
use object::elf::R_AARCH64_RELATIVE;

use super::elf::Image;

const HEADER_LEN: usize = 64;
const MAGIC_AT: usize = 56;
const MAGIC: &[u8] = b"ARM\x64";
/// What an image holds that lacks a protection (`hyp-core/src/without.rs`).
const LACKING: &str = "NOT FOR USE: built without the protection ";

/// Was the image built without a protection, for a test?
pub(super) fn lacks_protection(flat: &[u8]) -> bool {
    let mut places = flat.windows(LACKING.len());
    places.any(|bytes| bytes == LACKING.as_bytes())
}

/// Everything that is wrong with the image, one sentence each.
pub(super) fn all(image: &Image) -> Result<Vec<String>> {
    let flat = image.flat()?;
    let mut wrong = header(&flat, image.memory_size());
    if lacks_protection(&flat) {
        wrong.push(
            "it lacks a protection: is there --cfg ward_without in RUSTFLAGS or cargo's configuration?"
                .to_owned(),
        );
    }
    let base = image.segments.first().map_or(0, |segment| segment.address);
    if image.entry != base {
        wrong.push(format!(
            "the entry point {:#x} is not at the start {base:#x}, where boot loaders jump to",
            image.entry
        ));
    }
    for segment in image
        .segments
        .iter()
        .filter(|segment| segment.write && segment.execute)
    {
        wrong.push(format!(
            "the segment at {:#x} is both writable and executable",
            segment.address
        ));
    }
    for (kind, place) in image
        .relocations
        .iter()
        .filter(|(kind, _)| *kind != R_AARCH64_RELATIVE)
    {
        wrong.push(format!("the relocation at {place:#x} has type {kind:?}; the start-up code applies R_AARCH64_RELATIVE only"));
    }
    Ok(wrong)
}

/// The header that boot loaders read: Linux `Documentation/arch/arm64/booting.rst`, section 4.
fn header(flat: &[u8], memory: u64) -> Vec<String> {
    if flat.len() < HEADER_LEN || &flat[MAGIC_AT..MAGIC_AT + MAGIC.len()] != MAGIC {
        return vec![format!(
            "no arm64 Image header: bytes {MAGIC_AT} to 59 are not \"ARM\\x64\""
        )];
    }
    let size = word(flat, 16);
    // A boot loader puts the device tree right behind this size; zeroing BSS would destroy it.
    if size < memory {
        return vec![format!(
            "the Image header says {size:#x} bytes, but with zeroed data it takes {memory:#x}"
        )];
    }
    Vec::new()
}

/// Where QEMU's `virt` machine loads a flat image that `-kernel` names.
pub(crate) fn load_address(flat: &[u8]) -> u64 {
    const RAM: u64 = 0x4000_0000;
    // QEMU keeps the first 4 KiB for its own few instructions, and then goes up by 2 MiB.
    let offset = if flat.len() < HEADER_LEN || word(flat, 16) == 0 {
        0x8_0000
    } else {
        word(flat, 8)
    };
    RAM + if offset < 4096 {
        offset + 0x20_0000
    } else {
        offset
    }
}

fn word(flat: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&flat[at..at + 8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::elf::Segment;
    use super::*;
    use object::elf::R_AARCH64_ABS64;

    fn good() -> Image {
        let mut bytes = vec![0; 0x100];
        bytes[MAGIC_AT..MAGIC_AT + 4].copy_from_slice(MAGIC);
        bytes[16..24].copy_from_slice(&0x1000_u64.to_le_bytes());
        let segments = vec![Segment {
            address: 0,
            bytes,
            memory: 0x1000,
            write: false,
            execute: true,
        }];
        Image {
            segments,
            relocations: vec![(R_AARCH64_RELATIVE, 0x80)],
            ..Image::default()
        }
    }

    #[test]
    fn a_good_image_passes_and_each_fault_is_found() {
        assert_eq!(all(&good()).unwrap(), Vec::<String>::new());
        type Fault = (&'static str, fn(&mut Image));
        assert_eq!(LACKING, hyp_core::without::MARK);
        let faults: [Fault; 6] = [
            ("lacks a protection", |image| {
                let mark = LACKING.as_bytes();
                image.segments[0].bytes[0x80..0x80 + mark.len()].copy_from_slice(mark);
            }),
            ("no arm64 Image header", |image| {
                image.segments[0].bytes[57] = 0
            }),
            ("with zeroed data it takes", |image| {
                image.segments[0].memory += 1
            }),
            ("entry point", |image| image.entry = 4),
            ("writable and executable", |image| {
                image.segments[0].write = true
            }),
            ("has type", |image| {
                image.relocations.push((R_AARCH64_ABS64, 0x88))
            }),
        ];
        for (message, fault) in faults {
            let mut image = good();
            fault(&mut image);
            let wrong = all(&image).unwrap();
            assert!(
                wrong.len() == 1 && wrong[0].contains(message),
                "{message}: {wrong:?}"
            );
        }
    }

    #[test]
    fn the_load_address_follows_the_header_as_in_qemu() {
        let mut flat = good().flat().unwrap();
        assert_eq!(load_address(&flat), 0x4020_0000);
        flat[8..16].copy_from_slice(&0x8_0000_u64.to_le_bytes());
        assert_eq!(load_address(&flat), 0x4008_0000);
        assert_eq!(load_address(b""), 0x4008_0000);
    }
}
