//! The host's kernel: an arm64 Image (Linux Documentation/arch/arm64/booting.rst).

pub mod appended;

/// Bytes of the header.
pub const HEADER: usize = 64;
const MAGIC: u32 = 0x644d_5241;

/// What the header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Offset of the image from a 2 MiB aligned base.
    pub text_offset: u64,
    /// Bytes the image needs in memory, BSS included.
    pub image_size: u64,
}

/// What is wrong with a kernel, to be read after "the host's kernel".
pub type Wrong = &'static str;

impl Header {
    /// Reads the first [`HEADER`] bytes of a kernel of `file_size` bytes.
    ///
    /// # Errors
    /// What the file is instead, or which of its sizes cannot be.
    pub fn parse(bytes: &[u8; HEADER], file_size: u64) -> Result<Self, Wrong> {
        let word = |at: usize| -> u64 {
            u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|n| bytes[at + n]))
        };
        if (word(56) as u32) != MAGIC {
            return Err(what_else(bytes));
        }
        if word(24) & 1 != 0 {
            return Err("is big-endian: Ward runs little-endian hosts");
        }
        // Before Linux 3.17 the size was 0 and the offset 0x80000 whatever the field said.
        let (text_offset, image_size) = match word(16) {
            0 => (0x8_0000, file_size),
            size => (word(8), size),
        };
        if image_size < file_size {
            return Err("is larger than its header says");
        }
        if image_size >= 1 << 32 || text_offset >= 1 << 21 {
            return Err("has a header that cannot be true: 4 GiB or more, or 2 MiB off its place");
        }
        Ok(Header {
            text_offset,
            image_size,
        })
    }
}

/// What begins like this and is no arm64 Image.
fn what_else(bytes: &[u8; HEADER]) -> Wrong {
    const KINDS: [(usize, &[u8], Wrong); 7] = [
        (
            0,
            b"\x1f\x8b",
            "is gzip'ed: unpack it (gunzip, or cargo xtask image --payload)",
        ),
        (
            4,
            b"zimg",
            "is a compressed EFI image (zboot): unpack it (cargo xtask image --payload)",
        ),
        (
            0,
            b"\x28\xb5\x2f\xfd",
            "is packed with zstd: unpack it (unzstd)",
        ),
        (0, b"\xfd7zXZ\0", "is packed with xz: unpack it (unxz)"),
        (
            0,
            b"\x7fELF",
            "is an ELF file: Ward takes the file named Image",
        ),
        (
            0,
            b"\x27\x05\x19\x56",
            "is a U-Boot uImage: Ward takes the file named Image",
        ),
        (0, b"MZ", "is a PE program, and no arm64 Image"),
    ];
    let found = KINDS
        .iter()
        .find(|(at, magic, _)| bytes[*at..].starts_with(magic));
    match found {
        Some((_, _, what)) => what,
        None if bytes.iter().all(|&byte| byte == 0) => "is not there: only zeros are",
        None => "is no arm64 Image: its bytes 56 to 59 are not \"ARM\\x64\"",
    }
}

#[cfg(test)]
mod tests;
