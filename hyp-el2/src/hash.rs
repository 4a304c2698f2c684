//! SHA-256 of what boot finds in memory, for its report.
//!
//! A kernel has tens of megabytes, so the blocks go through the CPU's instructions
//! (`crate::sha256`), which the `sha2` crate has no way to use at EL2.

#[cfg(target_os = "none")]
use crate::sha256::sha256_blocks;
use hyp_core::verify::SHA256_START;
#[cfg(not(target_os = "none"))]
use sha2::block_api::compress256 as sha256_blocks;

const BLOCK: usize = 64;

/// The digest of some pieces, one after the other (FIPS 180-4 6.2).
#[derive(Debug)]
pub struct Measurement {
    state: [u32; 8],
    /// The bytes after the last whole block.
    rest: [u8; BLOCK],
    /// Bytes of all pieces.
    len: u64,
}

impl Default for Measurement {
    fn default() -> Self {
        Measurement {
            state: SHA256_START,
            rest: [0; BLOCK],
            len: 0,
        }
    }
}

impl Measurement {
    fn filled(&self) -> usize {
        (self.len % BLOCK as u64) as usize
    }

    /// Adds a piece.
    pub fn add(&mut self, mut piece: &[u8]) {
        let filled = self.filled();
        self.len += piece.len() as u64;
        if filled > 0 {
            let (head, tail) = piece.split_at(piece.len().min(BLOCK - filled));
            self.rest[filled..filled + head.len()].copy_from_slice(head);
            if filled + head.len() < BLOCK {
                return;
            }
            sha256_blocks(&mut self.state, &[self.rest]);
            piece = tail;
        }
        let (blocks, tail) = piece.as_chunks();
        sha256_blocks(&mut self.state, blocks);
        self.rest[..tail.len()].copy_from_slice(tail);
    }

    /// The digest of all.
    pub fn finish(mut self) -> Digest256 {
        // A one bit, zeros, and the length in bits (FIPS 180-4 5.1.1). Memory has no 2^61 bytes.
        let bits = self.len << 3;
        self.add(&[0x80]);
        let gap = (2 * BLOCK - 8 - self.filled()) % BLOCK;
        self.add(&[0; BLOCK][..gap]);
        self.add(&bits.to_be_bytes());
        let mut digest = [0; 32];
        for (to, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *to = word.to_be_bytes();
        }
        Digest256(digest)
    }
}

/// 32 bytes that print as hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digest256(pub [u8; 32]);

impl core::fmt::Display for Digest256 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn any_pieces_have_the_digest_of_the_whole() {
        let bytes: Vec<u8> = (0..400_u32).map(|n| (n * 7 + (n >> 5)) as u8).collect();
        for len in 0..bytes.len() {
            let whole = &bytes[..len];
            let wanted: [u8; 32] = Sha256::digest(whole).into();
            for cut in [0, 1, 8, 55, 56, 63, 64, 65, 128, 200, len] {
                let (head, tail) = whole.split_at(cut.min(len));
                let (middle, tail) = tail.split_at(cut.min(tail.len()));
                let mut measurement = Measurement::default();
                [head, middle, tail]
                    .iter()
                    .for_each(|piece| measurement.add(piece));
                assert_eq!(measurement.finish().0, wanted, "{len} bytes cut at {cut}");
            }
        }
    }
}
