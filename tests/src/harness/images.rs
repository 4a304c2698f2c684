//! Signed bundles, small ones, with contents the test knows.

use super::Rng;
use ed25519_dalek::{Signer, SigningKey};
use hyp_core::abi::manifest::{
    Digest, Image, ImageKind, MAX_BYTES, Manifest, Region, RegionKind, SIGN_PREFIX,
};
use sha2::{Digest as _, Sha256, Sha512};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// What an image's page holds: words that are not zero.
pub type Content = BTreeMap<u16, u64>;

/// A bundle that a VM is built from.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The manifest.
    pub manifest: Manifest,
    /// The same in bytes, signed.
    pub bytes: Vec<u8>,
    /// Each image's pages, the last one's tail included.
    pub images: Vec<Vec<Content>>,
}

fn secret(n: u8) -> &'static SigningKey {
    static KEYS: OnceLock<[SigningKey; 2]> = OnceLock::new();
    &KEYS.get_or_init(|| {
        [
            SigningKey::from_bytes(&[7; 32]),
            SigningKey::from_bytes(&[9; 32]),
        ]
    })[usize::from(n)]
}

/// Keys that Ward trusts: the first of two.
pub fn keys() -> &'static [[u8; 32]] {
    static TRUSTED: OnceLock<[[u8; 32]; 1]> = OnceLock::new();
    TRUSTED.get_or_init(|| [secret(0).verifying_key().to_bytes()])
}

/// Signs a manifest, whose key field is set to that of key 0 (trusted) or 1.
pub fn sign(manifest: &mut Manifest, key: u8) -> Vec<u8> {
    manifest.key = secret(key).verifying_key().to_bytes();
    let mut bytes = [0; MAX_BYTES];
    let len = manifest.encode_unsigned(&mut bytes);
    let body = &bytes[..len];
    let signature = secret(key).sign(&[SIGN_PREFIX, body].concat());
    [body, &signature.to_bytes()].concat()
}

fn bytes_of(pages: &[Content], size: u64) -> Vec<u8> {
    let mut bytes = vec![0; pages.len() * 4096];
    for (page, content) in pages.iter().enumerate() {
        for (index, word) in content {
            let at = page * 4096 + usize::from(*index) * 8;
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
    }
    bytes.truncate(size as usize);
    bytes
}

impl Plan {
    /// First page of the guest's RAM; the entry is in the first image, at its start.
    pub const RAM_PAGE: u64 = 0x4_0000;
    /// Pages of the guest's RAM: 8 MiB.
    pub const RAM_PAGES: u64 = 2048;
    /// First page of its emulated devices.
    pub const MMIO_PAGE: u64 = 0x9_000;
    /// Pages of those.
    pub const MMIO_PAGES: u64 = 64;

    /// A bundle for `vcpus` vCPUs whose images have these sizes in bytes, back to back by page
    /// from the start of RAM, and these contents.
    ///
    /// # Panics
    /// When the images do not fit a manifest.
    pub fn new(vcpus: u32, sizes: &[u64], mut word: impl FnMut() -> u64) -> Self {
        let mut manifest = Manifest::new([0; 32]);
        manifest.vcpus = vcpus;
        let region = |kind, page: u64, pages: u64| Region {
            kind,
            ipa: page << 12,
            size: pages << 12,
        };
        manifest
            .push_region(region(RegionKind::Ram, Self::RAM_PAGE, Self::RAM_PAGES))
            .expect("room");
        manifest
            .push_region(region(RegionKind::Mmio, Self::MMIO_PAGE, Self::MMIO_PAGES))
            .expect("room");
        manifest.entry = Self::RAM_PAGE << 12;
        let mut page = Self::RAM_PAGE;
        let mut images = Vec::new();
        for (n, size) in sizes.iter().enumerate() {
            let count = size.div_ceil(4096);
            let mut content = || {
                // The first word is never zero: guests look there most.
                (0..3)
                    .map(|n| (if n == 0 { 0 } else { word() as u16 % 512 }, word()))
                    .filter(|(_, word)| *word != 0)
                    .collect()
            };
            let pages: Vec<Content> = (0..count).map(|_| content()).collect();
            let bytes = bytes_of(&pages, *size);
            let digest = if n % 2 == 0 {
                Digest::Sha256(Sha256::digest(&bytes).into())
            } else {
                Digest::Sha512(Sha512::digest(&bytes).into())
            };
            let kind = if n == 0 {
                ImageKind::Kernel
            } else {
                ImageKind::Other
            };
            manifest
                .push_image(Image {
                    kind,
                    ipa: page << 12,
                    size: *size,
                    digest,
                })
                .expect("room");
            if n == 1 {
                manifest.boot_arg = page << 12;
            }
            images.push(pages);
            page += count;
        }
        let bytes = sign(&mut manifest, 0);
        Plan {
            manifest,
            bytes,
            images,
        }
    }

    /// A random small one.
    pub fn random(rng: &mut Rng, vcpus: u32) -> Self {
        let mut sizes = Vec::new();
        for _ in 0..1 + rng.below(3) {
            let pages = match rng.below(8) {
                0 => 20,
                1 => 17,
                _ => 1 + rng.below(4),
            };
            let cut = if rng.percent(50) { rng.below(4096) } else { 0 };
            sizes.push(pages * 4096 - cut);
        }
        if rng.percent(3) {
            sizes[0] = 512 * 4096;
        }
        let mut words = rng.clone();
        rng.next();
        Plan::new(vcpus, &sizes, || words.next())
    }

    /// The bytes as words, the last one filled up with zeros.
    pub fn words(&self) -> Vec<u64> {
        let mut bytes = self.bytes.clone();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
            .chunks_exact(8)
            .map(|b| u64::from_le_bytes(b.try_into().unwrap_or([0; 8])))
            .collect()
    }
}
