//! Reading kernels: what a file holds, how much memory it wants, and what it can do.
//!
//! Taken are the arm64 `Image` of a Linux build, the same compressed with gzip or zstd
//! (`Image.gz`, `Image.zst`), and the EFI image that unpacks itself (`vmlinuz.efi`, zboot). A
//! protected guest starts at the first byte of what was signed, so `ward` unpacks at home.

use crate::Error;
use crate::layout::KernelShape;
use std::path::Path;

mod features;
mod foreign;
mod header;
mod unpack;

#[cfg(test)]
pub(crate) mod tests;

pub use features::Sharing;
pub use unpack::Packing;

/// Why a file is not taken for a kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unusable {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Unusable {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Unusable {
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

/// An arm64 kernel, unpacked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kernel {
    /// The bytes to load. What follows them in the kernel's memory is zero.
    pub image: Vec<u8>,
    /// What it wants of its place.
    pub shape: KernelShape,
    /// How the file held it.
    pub packing: Packing,
    /// `uname -r` of it, if it says.
    pub release: Option<String>,
    /// Whether it can share memory with devices of a protected guest.
    pub sharing: Sharing,
}

/// Reads a kernel from a file.
///
/// # Errors
/// [`Error::File`], or [`Error::Input`] when the file holds no kernel that a guest can start.
pub fn read(path: &Path) -> Result<Kernel, Error> {
    let file = std::fs::read(path).map_err(|e| Error::file("read", path, e))?;
    parse(file).map_err(|Unusable { what, remedy }| Error::Input {
        file: path.into(),
        what,
        remedy,
    })
}

/// Finds the kernel in a file's bytes.
///
/// # Errors
/// What is wrong with it.
pub fn parse(file: Vec<u8>) -> Result<Kernel, Unusable> {
    let (mut image, packing) = unpack::unpack(file)?;
    let (text_offset, image_size) = header::check(&image)?;
    if packing != Packing::Plain {
        // Zboot pads the image to all of its memory; unsigned memory of a guest is zero anyway.
        let used = image
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |at| at + 1);
        image.truncate(used.max(header::BYTES));
    }
    let shape = KernelShape {
        file: image.len() as u64,
        text_offset,
        image_size,
    };
    Ok(Kernel {
        shape,
        packing,
        release: features::release(&image),
        sharing: features::sharing(&image),
        image,
    })
}

/// The kernel that an image of a bundle is, if it has the header of one.
pub fn recognise(image: &[u8]) -> Option<Facts> {
    let (text_offset, image_size) = header::check(image).ok()?;
    Some(Facts {
        shape: KernelShape {
            file: image.len() as u64,
            text_offset,
            image_size,
        },
        release: features::release(image),
        sharing: features::sharing(image),
    })
}

/// What [`recognise`] finds in a kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// What it wants of its place.
    pub shape: KernelShape,
    /// `uname -r` of it, if it says.
    pub release: Option<String>,
    /// Whether it can share memory with devices of a protected guest.
    pub sharing: Sharing,
}
