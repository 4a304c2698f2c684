//! What a guest starts from.

use crate::Error;
use crate::bundle::{self, Spec};
use hyp_core::abi::bundle::Bundle;
use hyp_core::abi::manifest::{ImageKind, Manifest, RegionKind};

/// Bytes and their place in the guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Where.
    pub ipa: u64,
    /// What.
    pub bytes: Vec<u8>,
}

/// Everything that a guest starts from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload {
    /// vCPUs.
    pub vcpus: u32,
    /// Where vCPU 0 starts.
    pub entry: u64,
    /// `x0` of vCPU 0.
    pub boot_arg: u64,
    /// Memory: guest address and bytes.
    pub ram: Vec<(u64, u64)>,
    /// What lies in it at first; of a bundle, the images in the manifest's order.
    pub pieces: Vec<Piece>,
    /// The signed manifest, of a bundle.
    pub manifest: Option<Vec<u8>>,
}

impl Payload {
    /// Takes a bundle apart. Its signature is not looked at: that is Ward's to do.
    ///
    /// # Errors
    /// [`Error::Bundle`] when the file or its manifest is not one.
    pub fn from_bundle(file: &[u8]) -> Result<Self, Error> {
        let bundle = Bundle::parse(file).map_err(Error::Bundle)?;
        let manifest = Manifest::parse(bundle.manifest()).map_err(Error::Bundle)?;
        manifest.check(&bundle::WIDEST).map_err(Error::Bundle)?;
        bundle.agrees_with(&manifest).map_err(Error::Bundle)?;
        let ram = manifest.regions().iter();
        let ram = ram.filter(|region| region.kind == RegionKind::Ram);
        let images = bundle.images().iter().enumerate();
        Ok(Payload {
            vcpus: manifest.vcpus,
            entry: manifest.entry,
            boot_arg: manifest.boot_arg,
            ram: ram.map(|region| (region.ipa, region.size)).collect(),
            pieces: images
                .map(|(index, image)| Piece {
                    ipa: image.ipa,
                    bytes: bundle.pages(index).to_vec(),
                })
                .collect(),
            manifest: Some(bundle.manifest().to_vec()),
        })
    }

    /// The parts of a guest that nobody signed.
    pub fn from_spec(spec: Spec) -> Self {
        let first = |kind| spec.images.iter().find(|i| i.kind == kind).map(|i| i.ipa);
        Payload {
            vcpus: spec.vcpus,
            entry: spec.entry.or(first(ImageKind::Kernel)).unwrap_or(0),
            boot_arg: spec.boot_arg.or(first(ImageKind::DeviceTree)).unwrap_or(0),
            ram: spec.ram,
            manifest: None,
            pieces: spec
                .images
                .into_iter()
                .map(|image| Piece {
                    ipa: image.ipa,
                    bytes: image.bytes,
                })
                .collect(),
        }
    }

    /// Bytes of memory.
    pub fn ram_bytes(&self) -> u64 {
        self.ram.iter().map(|&(_, bytes)| bytes).sum()
    }

    /// The first address behind all memory.
    pub fn ram_end(&self) -> u64 {
        let ends = self.ram.iter().map(|&(ipa, bytes)| ipa + bytes);
        ends.max().unwrap_or(0)
    }
}
