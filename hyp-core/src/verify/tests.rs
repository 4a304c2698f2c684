//! Signatures and digests, right and wrong.

use super::*;
use crate::abi::manifest::{
    Digest, Image, ImageKind, MAX_BYTES, Manifest, Region, RegionKind, SIGN_PREFIX,
};
use crate::addr::{PAGE_SIZE, Pfn};
use std::cell::RefCell;
use std::vec::Vec;

mod images;
mod signature;
mod vectors;

/// Frames in a vector; frame n is page n.
pub(super) struct Ram(pub(super) RefCell<Vec<u8>>);

impl ImageMemory for Ram {
    fn read(&self, frame: Pfn, offset: usize, buffer: &mut [u8]) {
        assert!(offset + buffer.len() <= PAGE_SIZE as usize);
        let at = frame.pa() as usize + offset;
        buffer.copy_from_slice(&self.0.borrow()[at..at + buffer.len()]);
    }
    fn write(&self, frame: Pfn, offset: usize, data: &[u8]) {
        assert!(offset + data.len() <= PAGE_SIZE as usize);
        let at = frame.pa() as usize + offset;
        self.0.borrow_mut()[at..at + data.len()].copy_from_slice(data);
    }
    fn sha256(&self, state: &mut [u32; 8], frame: Pfn) {
        let ram = self.0.borrow();
        let page = ram[frame.pa() as usize..].first_chunk().unwrap();
        soft_sha256_frame(state, page);
    }
}

#[test]
fn refusals_are_told_to_the_host_and_the_operator() {
    let ipa = Ipa::page(0x4000_1000).unwrap();
    let cases = [
        (
            Refusal::Manifest(BadField::new("flags", "not 0")),
            Error::BadManifest,
            "bad manifest: flags: not 0",
        ),
        (
            Refusal::UntrustedKey,
            Error::UntrustedKey,
            "manifest signed by an untrusted key",
        ),
        (
            Refusal::BadSignature,
            Error::BadSignature,
            "bad signature of the manifest",
        ),
        (
            Refusal::MissingPage { image: 1, ipa },
            Error::BadState,
            "images[1]: no frame at 0x40001000 yet",
        ),
        (
            Refusal::BadDigest { image: 2 },
            Error::BadDigest,
            "images[2]: not the signed bytes",
        ),
    ];
    for (refusal, error, line) in cases {
        assert_eq!(Error::from(refusal), error);
        assert_eq!(std::format!("{refusal}"), line);
    }
}
