//! The header of an arm64 `Image`, as Linux's `Documentation/arch/arm64/booting.rst` has it.

use super::{Unusable, foreign};

/// Bytes of the header.
pub(super) const BYTES: usize = 64;
const MAGIC: &[u8] = b"ARM\x64";
/// The kernel's memory begins this far from a multiple of 2 MiB; so far at most.
const BLOCK: u64 = crate::layout::BLOCK;

/// `text_offset` and `image_size` of a kernel that can be started.
pub(super) fn check(image: &[u8]) -> Result<(u64, u64), Unusable> {
    let Some(header) = image.first_chunk::<BYTES>() else {
        let what = format!(
            "has {} bytes, less than the header of a kernel",
            image.len()
        );
        let short = || Unusable::new(what, foreign::REMEDY);
        return Err(foreign::known(image).unwrap_or_else(short));
    };
    if &header[0x38..0x3c] != MAGIC {
        return Err(foreign::explain(image));
    }
    let field = |at: usize| {
        let bytes = header[at..].first_chunk();
        u64::from_le_bytes(bytes.copied().unwrap_or_default())
    };
    let (text_offset, image_size, flags) = (field(8), field(16), field(24));
    if flags & 1 != 0 {
        return Err(Unusable::new(
            "is a big-endian kernel",
            "build it without CONFIG_CPU_BIG_ENDIAN",
        ));
    }
    if image_size == 0 {
        return Err(Unusable::new(
            "does not say how much memory it takes: it is older than Linux 3.17",
            "take a newer kernel",
        ));
    }
    if text_offset >= BLOCK || !text_offset.is_multiple_of(4096) {
        return Err(Unusable::new(
            format!("wants to start {text_offset:#x} bytes behind a multiple of 2 MiB"),
            "take the file `arch/arm64/boot/Image` of a Linux build: this header is damaged",
        ));
    }
    Ok((text_offset, image_size))
}
