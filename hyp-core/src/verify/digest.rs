//! SHA-256 and SHA-512 (FIPS 180-4) over page frames, as plain values that a VM's record keeps
//! between calls.

use super::ImageMemory;
use crate::abi::manifest::Digest;
use crate::addr::{PAGE_SIZE, Pfn};
use sha2::block_api::{compress256, compress512};

const PAGE: usize = PAGE_SIZE as usize;

/// The state that a SHA-256 digest begins with, FIPS 180-4 5.3.3.
#[rustfmt::skip]
pub const SHA256_START: [u32; 8] = [
    0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a,
    0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
];
/// FIPS 180-4 5.3.5.
#[rustfmt::skip]
const START_512: [u64; 8] = [
    0x6a09_e667_f3bc_c908, 0xbb67_ae85_84ca_a73b, 0x3c6e_f372_fe94_f82b, 0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1, 0x9b05_688c_2b3e_6c1f, 0x1f83_d9ab_fb41_bd6b, 0x5be0_cd19_137e_2179,
];

/// Updates a SHA-256 state with a page, in software: [`crate::Machine::sha256_frame`] of a CPU without
/// the instructions.
pub fn soft_sha256_frame(state: &mut [u32; 8], page: &[u8; PAGE]) {
    compress256(state, page.as_chunks().0);
}

/// A digest in the making.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hash {
    Sha256([u32; 8]),
    Sha512([u64; 8]),
}

impl Hash {
    /// The start of a digest of the same algorithm as `wanted`.
    pub(super) const fn start(wanted: &Digest) -> Self {
        match wanted {
            Digest::Sha256(_) => Hash::Sha256(SHA256_START),
            Digest::Sha512(_) => Hash::Sha512(START_512),
        }
    }

    /// Takes in a whole frame.
    pub(super) fn page<I: ImageMemory>(&mut self, memory: &I, frame: Pfn) {
        match self {
            Hash::Sha256(state) => memory.sha256(state, frame),
            Hash::Sha512(state) => {
                blocks(memory, frame, PAGE, |block| compress512(state, &[*block]));
            }
        }
    }

    /// Takes in the first `bytes` bytes of the last frame (fewer than a page) and the padding of
    /// a message of `total` bytes, and gives the digest.
    pub(super) fn finish<I: ImageMemory>(
        mut self,
        memory: &I,
        frame: Pfn,
        bytes: usize,
        total: u64,
    ) -> Digest {
        match &mut self {
            Hash::Sha256(state) => {
                last(memory, frame, bytes, total, |block| {
                    compress256(state, &[*block]);
                });
                let mut digest = [0; 32];
                for (to, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
                    *to = word.to_be_bytes();
                }
                Digest::Sha256(digest)
            }
            Hash::Sha512(state) => {
                last(memory, frame, bytes, total, |block| {
                    compress512(state, &[*block]);
                });
                let mut digest = [0; 64];
                for (to, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
                    *to = word.to_be_bytes();
                }
                Digest::Sha512(digest)
            }
        }
    }
}

/// Gives `compress` each whole block of the first `bytes` bytes; returns where they end.
fn blocks<I: ImageMemory, const B: usize>(
    memory: &I,
    frame: Pfn,
    bytes: usize,
    mut compress: impl FnMut(&[u8; B]),
) -> usize {
    let mut block = [0; B];
    let end = bytes - bytes % B;
    for at in (0..end).step_by(B) {
        memory.read(frame, at, &mut block);
        compress(&block);
    }
    end
}

/// [`blocks`], then the bytes after them with the padding: a one bit, zeros, and the length in
/// bits as a big-endian number of an eighth block (FIPS 180-4 5.1).
fn last<I: ImageMemory, const B: usize>(
    memory: &I,
    frame: Pfn,
    bytes: usize,
    total: u64,
    mut compress: impl FnMut(&[u8; B]),
) {
    let end = blocks(memory, frame, bytes, &mut compress);
    let rest = bytes - end;
    let mut block = [0; B];
    memory.read(frame, end, &mut block[..rest]);
    block[rest] = 0x80;
    if rest + 1 > B - B / 8 {
        compress(&block);
        block = [0; B];
    }
    // No image has 2^61 bytes.
    block[B - 8..].copy_from_slice(&(total << 3).to_be_bytes());
    compress(&block);
}
