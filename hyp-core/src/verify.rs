//! Does this guest start from what its owner signed?
//!
//! Two questions, in this order. [`check_signature`]: did the holder of a trusted key sign this
//! manifest? Then, when the frames of every image have left the host and are the VM's,
//! [`Progress::step`]: do the bytes *where they will run* have the digests of the manifest? The
//! host can change neither the frames nor the copied manifest by then, so nothing can be swapped
//! between check and use.
//!
//! Nothing here is secret: manifest, images and digests came from the host. Comparisons need not
//! take constant time.

mod digest;
mod images;
mod signature;

#[cfg(test)]
mod tests;

pub use digest::{SHA256_START, soft_sha256_frame};
pub use images::{ImageMemory, Progress, Step};
pub use signature::check_signature;

use crate::abi::Error;
use crate::abi::manifest::BadField;
use crate::addr::Ipa;
use core::fmt;

/// Why verification refused, in the detail a log line needs. [`Error`] is what the host gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The manifest's bytes are wrong.
    Manifest(BadField),
    /// The manifest names a key that is not trusted.
    UntrustedKey,
    /// The signature is not that key's over these bytes, or is not in canonical form.
    BadSignature,
    /// A page of an image has no frame yet.
    MissingPage {
        /// Index of the image.
        image: usize,
        /// Where the page belongs.
        ipa: Ipa,
    },
    /// An image in memory is not the signed one.
    BadDigest {
        /// Index of the image.
        image: usize,
    },
}

impl From<BadField> for Refusal {
    fn from(bad: BadField) -> Self {
        Refusal::Manifest(bad)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Manifest(bad) => bad.into(),
            Refusal::UntrustedKey => Error::UntrustedKey,
            Refusal::BadSignature => Error::BadSignature,
            Refusal::MissingPage { .. } => Error::BadState,
            Refusal::BadDigest { .. } => Error::BadDigest,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Manifest(bad) => write!(f, "bad manifest: {bad}"),
            Refusal::UntrustedKey => f.write_str("manifest signed by an untrusted key"),
            Refusal::BadSignature => f.write_str("bad signature of the manifest"),
            Refusal::MissingPage { image, ipa } => {
                write!(f, "images[{image}]: no frame at {:#x} yet", ipa.as_u64())
            }
            Refusal::BadDigest { image } => {
                write!(f, "images[{image}]: not the signed bytes")
            }
        }
    }
}

impl core::error::Error for Refusal {}
