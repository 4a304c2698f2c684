//! The host's kernel: an arm64 Image (Linux Documentation/arch/arm64/booting.rst).

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

impl Header {
    /// Reads the first [`HEADER`] bytes of a kernel of `file_size` bytes. `None` when it is not
    /// an arm64 Image, is big endian, or says less than the file has.
    pub fn parse(bytes: &[u8; HEADER], file_size: u64) -> Option<Self> {
        let word = |at: usize| -> u64 {
            u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|n| bytes[at + n]))
        };
        if (word(56) as u32) != MAGIC || word(24) & 1 != 0 {
            return None;
        }
        // Before Linux 3.17 the size was 0 and the offset 0x80000 whatever the field said.
        let (text_offset, image_size) = match word(16) {
            0 => (0x8_0000, file_size),
            size => (word(8), size),
        };
        let fits = image_size >= file_size && image_size < 1 << 32 && text_offset < 1 << 21;
        fits.then_some(Header {
            text_offset,
            image_size,
        })
    }
}
