//! The guest's owner: images, manifest and signature. In a test he sits in the host, so that
//! manifests that are properly signed and still wrong can be tried.

use crate::protocol::{self, DATA, DATA_SIZE, MMIO, MMIO_SIZE, PROGRAM, RAM, RAM_SIZE};
use crate::rt::dt::Board;
use crate::rt::{memory, pages};
use ed25519_dalek::{Signer, SigningKey};
use hyp_core::abi::bundle::{self, Bundle};
use hyp_core::abi::manifest::{
    Digest, Image, ImageKind, MAX_BYTES, Manifest, Region, RegionKind, SIGN_PREFIX,
};
use sha2::{Digest as _, Sha256, Sha512};

/// Images of the test guest: its program, its data.
pub(crate) const IMAGES: usize = 2;

/// A manifest with its signature.
#[derive(Clone, Copy)]
pub(crate) struct Signed {
    bytes: [u8; MAX_BYTES],
    len: usize,
}

impl Signed {
    /// The bytes, to read.
    pub(crate) fn get(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The same with one bit flipped.
    pub(crate) fn flipped(&self, byte: usize, bit: u32) -> Self {
        let mut other = *self;
        other.bytes[byte] ^= 1 << bit;
        other
    }
}

/// The owner of the test guest.
pub(crate) struct Owner {
    key: Option<SigningKey>,
    images: [&'static [u8]; IMAGES],
    /// What the boot module brought.
    bundled: Option<Signed>,
    manifest: Manifest,
}

impl Owner {
    /// Finds guest and key in what the machine was booted with.
    ///
    /// # Panics
    /// When there is neither a bundle, nor a program with a key to sign it by.
    pub(crate) fn find(board: &Board) -> Self {
        let key = board
            .bootargs
            .split(' ')
            .find_map(|word| word.strip_prefix("signing-key="))
            .map(read_key);
        let Some(module) = board.modules.get().first() else {
            panic!("no boot module with the test guest")
        };
        let bytes = memory::bytes(module.start, module.size());
        if bytes.starts_with(&bundle::MAGIC) {
            return Self::unpack(key, bytes);
        }
        let Some(key) = key else {
            panic!("the boot module is no bundle, and no signing-key=HEX is given")
        };
        let images = [bytes, data_image()];
        let manifest = describe(&key, images);
        Owner {
            key: Some(key),
            images,
            bundled: None,
            manifest,
        }
    }

    fn unpack(key: Option<SigningKey>, bytes: &'static [u8]) -> Self {
        let bundle = match Bundle::parse(bytes) {
            Ok(bundle) => bundle,
            Err(error) => panic!("the boot module: {error:?}"),
        };
        let manifest = match Manifest::parse(bundle.manifest()) {
            Ok(manifest) => manifest,
            Err(error) => panic!("the manifest of the boot module: {error:?}"),
        };
        assert_eq!(manifest.images().len(), IMAGES, "images in the bundle");
        let images =
            core::array::from_fn(|n| &bundle.pages(n)[..manifest.images()[n].size as usize]);
        let mut signed = Signed {
            bytes: [0; MAX_BYTES],
            len: bundle.manifest().len(),
        };
        signed.bytes[..signed.len].copy_from_slice(bundle.manifest());
        Owner {
            key,
            images,
            bundled: Some(signed),
            manifest,
        }
    }

    /// The bytes of an image.
    pub(crate) fn image(&self, index: usize) -> &'static [u8] {
        self.images[index]
    }

    /// What is signed.
    pub(crate) fn manifest(&self) -> Manifest {
        self.manifest
    }

    /// The signed manifest of the test guest.
    pub(crate) fn signed(&self) -> Signed {
        self.bundled.unwrap_or_else(|| self.sign(&self.manifest))
    }

    /// Signs any manifest with the trusted key.
    ///
    /// # Panics
    /// When the boot arguments name no key.
    pub(crate) fn sign(&self, manifest: &Manifest) -> Signed {
        let Some(key) = &self.key else {
            panic!("this test needs signing-key=HEX in the boot arguments")
        };
        sign(key, manifest)
    }

    /// Signs with a key that Ward does not know. With `honest` the manifest says so, else it
    /// claims to be the trusted owner's.
    pub(crate) fn sign_as_stranger(&self, manifest: &Manifest, honest: bool) -> Signed {
        let stranger = SigningKey::from_bytes(&[0x55; 32]);
        let mut manifest = *manifest;
        if honest {
            manifest.key = stranger.verifying_key().to_bytes();
        }
        sign(&stranger, &manifest)
    }

    /// A digest of Ward's usual kind.
    pub(crate) fn digest(&self, bytes: &[u8]) -> Digest {
        Digest::Sha256(Sha256::digest(bytes).into())
    }

    /// The manifest with its regions and images replaced.
    pub(crate) fn rebuilt(&self, regions: &[Region], images: &[Image]) -> Manifest {
        let old = &self.manifest;
        let mut new = Manifest::new(old.key);
        (new.vcpus, new.entry, new.boot_arg) = (old.vcpus, old.entry, old.boot_arg);
        let fits = regions
            .iter()
            .all(|region| new.push_region(*region).is_ok())
            && images.iter().all(|image| new.push_image(*image).is_ok());
        assert!(fits, "too many regions or images");
        new
    }
}

fn sign(key: &SigningKey, manifest: &Manifest) -> Signed {
    let mut bytes = [0; MAX_BYTES];
    let body = manifest.encode_unsigned(&mut bytes);
    let mut message = [0; MAX_BYTES + SIGN_PREFIX.len()];
    message[..SIGN_PREFIX.len()].copy_from_slice(SIGN_PREFIX);
    message[SIGN_PREFIX.len()..SIGN_PREFIX.len() + body].copy_from_slice(&bytes[..body]);
    let signature = key.sign(&message[..SIGN_PREFIX.len() + body]).to_bytes();
    bytes[body..body + signature.len()].copy_from_slice(&signature);
    Signed {
        bytes,
        len: body + signature.len(),
    }
}

/// The test guest's own manifest: the program by SHA-256, the data by SHA-512.
fn describe(key: &SigningKey, images: [&[u8]; IMAGES]) -> Manifest {
    let mut manifest = Manifest::new(key.verifying_key().to_bytes());
    manifest.vcpus = 2;
    manifest.entry = PROGRAM;
    manifest.boot_arg = DATA;
    manifest.image_version = 1;
    let program = Digest::Sha256(Sha256::digest(images[0]).into());
    let data = Digest::Sha512(Sha512::digest(images[1]).into());
    let image = |kind, ipa, size, digest| Image {
        kind,
        ipa,
        size,
        digest,
    };
    let fits = manifest
        .push_region(Region {
            kind: RegionKind::Ram,
            ipa: RAM,
            size: RAM_SIZE,
        })
        .is_ok()
        && manifest
            .push_region(Region {
                kind: RegionKind::Mmio,
                ipa: MMIO,
                size: MMIO_SIZE,
            })
            .is_ok()
        && manifest
            .push_image(image(
                ImageKind::Kernel,
                PROGRAM,
                images[0].len() as u64,
                program,
            ))
            .is_ok()
        && manifest
            .push_image(image(ImageKind::Other, DATA, DATA_SIZE, data))
            .is_ok();
    assert!(fits, "too many regions or images");
    manifest
}

fn data_image() -> &'static [u8] {
    let pages = pages::take(DATA_SIZE.div_ceil(pages::PAGE) as usize, 1);
    for index in 0..DATA_SIZE {
        memory::copy_in(pages + index, &[protocol::data_byte(index)]);
    }
    memory::bytes(pages, DATA_SIZE)
}

fn read_key(hex: &str) -> SigningKey {
    let mut seed = [0; 32];
    assert_eq!(hex.len(), 64, "signing-key= takes 64 hexadecimal digits");
    for (byte, digits) in seed.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let text = core::str::from_utf8(digits).unwrap_or("");
        *byte = u8::from_str_radix(text, 16)
            .unwrap_or_else(|_| panic!("signing-key=: not hexadecimal"));
    }
    SigningKey::from_bytes(&seed)
}
