//! Bundles: making them, and checking them as Ward will.

use crate::Error;
use crate::keys::{PublicKey, SecretKey};
use hyp_core::abi::bundle::{
    Bundle, ENTRY_BYTES, Entry, HEADER_BYTES, MAX_HEADER_BYTES, encode_header,
};
use hyp_core::abi::manifest::{
    Digest, Image, ImageKind, Limits, MAX_BYTES, Manifest, Region, RegionKind, SIGN_PREFIX,
    SIGNATURE_BYTES,
};
use hyp_core::verify::{self, Progress, Refusal, Step};
use sha2::{Sha256, Sha512};

mod memory;
#[cfg(test)]
mod tests;

/// What a machine is assumed to allow when nothing more is known: the guest address space of the
/// smallest common CPUs (40 bits, 1 TiB) and as many vCPUs as a VM can have.
pub const LIMITS: Limits = Limits {
    ipa_bits: 40,
    max_vcpus: hyp_core::abi::MAX_VCPUS as u32,
};

/// What the most capable machine allows.
pub const WIDEST: Limits = Limits {
    ipa_bits: 52,
    max_vcpus: LIMITS.max_vcpus,
};

/// How an image is hashed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Algorithm {
    /// With the CPU's instructions where it has them.
    #[default]
    Sha256,
    /// In software.
    Sha512,
}

/// One image of a [`Spec`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageSpec {
    /// What it is.
    pub kind: ImageKind,
    /// Where it goes; page aligned.
    pub ipa: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How it is hashed.
    pub algorithm: Algorithm,
}

impl ImageSpec {
    /// An image hashed with SHA-256.
    pub fn new(kind: ImageKind, ipa: u64, bytes: Vec<u8>) -> Self {
        let algorithm = Algorithm::Sha256;
        ImageSpec {
            kind,
            ipa,
            bytes,
            algorithm,
        }
    }

    /// A kernel hashed with SHA-256.
    pub fn kernel(ipa: u64, bytes: Vec<u8>) -> Self {
        Self::new(ImageKind::Kernel, ipa, bytes)
    }
}

/// What a bundle is made from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spec {
    /// vCPUs.
    pub vcpus: u32,
    /// Where vCPU 0 starts; the first kernel's first byte if not given.
    pub entry: Option<u64>,
    /// `x0` of vCPU 0; the first device tree's address if not given, 0 when there is none.
    pub boot_arg: Option<u64>,
    /// The owner's count.
    pub image_version: u64,
    /// Memory: (IPA, bytes).
    pub ram: Vec<(u64, u64)>,
    /// Device memory that the VMM emulates: (IPA, bytes).
    pub mmio: Vec<(u64, u64)>,
    /// Images, in the order Ward will number them.
    pub images: Vec<ImageSpec>,
    /// What the machine must allow.
    pub limits: Limits,
}

impl Spec {
    /// A guest with these many vCPUs and nothing else yet.
    pub fn new(vcpus: u32) -> Self {
        Spec {
            vcpus,
            entry: None,
            boot_arg: None,
            image_version: 0,
            ram: Vec::new(),
            mmio: Vec::new(),
            images: Vec::new(),
            limits: LIMITS,
        }
    }

    /// The manifest of these parts, signed by nobody.
    fn manifest(&self, key: PublicKey, progress: Bytes) -> Result<Manifest, Error> {
        let first = |kind| self.images.iter().find(|i| i.kind == kind).map(|i| i.ipa);
        let mut manifest = Manifest::new(key.0);
        manifest.vcpus = self.vcpus;
        manifest.entry = self.entry.or(first(ImageKind::Kernel)).unwrap_or(0);
        manifest.boot_arg = self.boot_arg.or(first(ImageKind::DeviceTree)).unwrap_or(0);
        manifest.image_version = self.image_version;
        let ram = self.ram.iter().map(|r| (RegionKind::Ram, r));
        let mmio = self.mmio.iter().map(|r| (RegionKind::Mmio, r));
        for (kind, &(ipa, size)) in ram.chain(mmio) {
            manifest
                .push_region(Region { kind, ipa, size })
                .map_err(Error::Spec)?;
        }
        let total = self
            .images
            .iter()
            .map(|image| image.bytes.len() as u64)
            .sum();
        let mut done = 0;
        for spec in &self.images {
            let mut each = |bytes: u64| {
                done += bytes;
                progress(done, total);
            };
            let digest = match spec.algorithm {
                Algorithm::Sha256 => Digest::Sha256(hash::<Sha256>(&spec.bytes, &mut each).into()),
                Algorithm::Sha512 => Digest::Sha512(hash::<Sha512>(&spec.bytes, &mut each).into()),
            };
            let (kind, ipa, size) = (spec.kind, spec.ipa, spec.bytes.len() as u64);
            let image = Image {
                kind,
                ipa,
                size,
                digest,
            };
            manifest.push_image(image).map_err(Error::Spec)?;
        }
        manifest.check(&self.limits).map_err(Error::Spec)?;
        Ok(manifest)
    }
}

/// Is told how many bytes of how many are hashed.
pub type Bytes<'a> = &'a mut dyn FnMut(u64, u64);

/// Bytes hashed between two words to [`Bytes`].
const PIECE: usize = 4 << 20;

fn hash<D: sha2::Digest>(bytes: &[u8], each: &mut dyn FnMut(u64)) -> sha2::digest::Output<D> {
    let mut state = D::new();
    for piece in bytes.chunks(PIECE) {
        state.update(piece);
        each(piece.len() as u64);
    }
    state.finalize()
}

/// Makes a bundle: checks the parts, hashes and signs them. The same parts and key give the same
/// bytes.
///
/// # Errors
/// [`Error::Spec`] when Ward could not start a guest of these parts.
pub fn build(spec: &Spec, key: &SecretKey) -> Result<Vec<u8>, Error> {
    build_with(spec, key, &mut |_, _| ())
}

/// [`build`], which tells how far it is.
///
/// # Errors
/// As there.
pub fn build_with(spec: &Spec, key: &SecretKey, progress: Bytes) -> Result<Vec<u8>, Error> {
    const PAGE: usize = hyp_core::addr::PAGE_SIZE as usize;
    let manifest = sign(&spec.manifest(key.public(), progress)?, key);
    let manifest_at = HEADER_BYTES + spec.images.len() * ENTRY_BYTES;
    let mut file = vec![0; (manifest_at + manifest.len()).next_multiple_of(PAGE)];
    let mut entries = Vec::new();
    for image in &spec.images {
        let (offset, size) = (file.len() as u64, image.bytes.len() as u64);
        let ipa = image.ipa;
        entries.push(Entry { offset, size, ipa });
        file.extend_from_slice(&image.bytes);
        file.resize(file.len().next_multiple_of(PAGE), 0);
    }
    let mut header = [0; MAX_HEADER_BYTES];
    let (at, len) = (manifest_at as u64, manifest.len() as u64);
    let header_len = encode_header(&mut header, at, len, &entries);
    file[..header_len].copy_from_slice(&header[..header_len]);
    file[manifest_at..][..manifest.len()].copy_from_slice(&manifest);
    Ok(file)
}

fn sign(manifest: &Manifest, key: &SecretKey) -> Vec<u8> {
    let mut buffer = [0; MAX_BYTES];
    let body = manifest.encode_unsigned(&mut buffer);
    let message = [SIGN_PREFIX, &buffer[..body]].concat();
    buffer[body..][..SIGNATURE_BYTES].copy_from_slice(&key.sign(&message));
    buffer[..body + SIGNATURE_BYTES].to_vec()
}

/// Reads the manifest of a bundle without believing it.
///
/// # Errors
/// [`Error::Bundle`] when the file or its manifest is not one.
pub fn read_manifest(file: &[u8]) -> Result<Manifest, Error> {
    let bundle = Bundle::parse(file).map_err(Error::Bundle)?;
    Manifest::parse(bundle.manifest()).map_err(Error::Bundle)
}

/// Checks a bundle with the code that runs at EL2: form, key, signature, the machine's shape,
/// and the digest of every image.
///
/// # Errors
/// [`Error::Bundle`] when the file is not a whole bundle, [`Error::Refused`] for what Ward would
/// refuse, [`Error::Changed`] for an image that is not the signed one.
pub fn verify(file: &[u8], trusted: &[PublicKey], limits: &Limits) -> Result<Manifest, Error> {
    verify_with(file, trusted, limits, &mut |_, _| ())
}

/// [`verify()`], which tells how far it is.
///
/// # Errors
/// As there.
pub fn verify_with(
    file: &[u8],
    trusted: &[PublicKey],
    limits: &Limits,
    bytes: Bytes,
) -> Result<Manifest, Error> {
    let bundle = Bundle::parse(file).map_err(Error::Bundle)?;
    let keys: Vec<[u8; 32]> = trusted.iter().map(|key| key.0).collect();
    let manifest = verify::check_signature(bundle.manifest(), &keys).map_err(Error::Refused)?;
    let shape = manifest.check(limits).map_err(Refusal::Manifest);
    shape.map_err(Error::Refused)?;
    bundle.agrees_with(&manifest).map_err(Error::Bundle)?;
    let memory = memory::FileMemory::new(file, &bundle);
    let mut progress = Progress::new();
    let total = manifest.images().iter().map(|image| image.size).sum();
    loop {
        let budget = PIECE as u64 / hyp_core::addr::PAGE_SIZE;
        let frame_of = |ipa| memory.frame_of(ipa);
        match progress.step(&memory, &manifest, frame_of, budget) {
            Ok(Step::Done) => return Ok(manifest),
            Ok(Step::Again { bytes_left }) => bytes(total - bytes_left.min(total), total),
            Err(Refusal::BadDigest { image }) => return Err(changed(&manifest, image)),
            Err(refusal) => return Err(Error::Refused(refusal)),
        }
    }
}

fn changed(manifest: &Manifest, index: usize) -> Error {
    let image = manifest.images().get(index);
    let kind = match image.map(|image| image.kind) {
        Some(ImageKind::Kernel) => "the kernel",
        Some(ImageKind::Initrd) => "the initrd",
        Some(ImageKind::DeviceTree) => "the device tree",
        Some(ImageKind::Other) | None => "data",
    };
    let ipa = image.map_or(0, |image| image.ipa);
    Error::Changed { index, kind, ipa }
}

/// The bytes of image `index`, for who wants to look into it; `None` when there is no such image.
pub fn image(file: &[u8], index: usize) -> Option<&[u8]> {
    let bundle = Bundle::parse(file).ok()?;
    let size = usize::try_from(bundle.images().get(index)?.size).ok()?;
    bundle.pages(index).get(..size)
}
