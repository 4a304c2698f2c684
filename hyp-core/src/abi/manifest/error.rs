//! Which field of a manifest or bundle is wrong, and why.

use crate::abi::Error;
use core::fmt;

/// A field that does not say what it may say. Prints as `images[2].ipa: not page aligned`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadField {
    /// The field's name; of regions and images, the part after the index.
    pub field: &'static str,
    /// The list and the place in it, when the field is part of one.
    pub index: Option<(&'static str, usize)>,
    /// What is wrong.
    pub why: &'static str,
}

impl BadField {
    /// A field of the header.
    pub const fn new(field: &'static str, why: &'static str) -> Self {
        BadField {
            field,
            index: None,
            why,
        }
    }

    pub(crate) const fn at(
        list: &'static str,
        index: usize,
        field: &'static str,
        why: &'static str,
    ) -> Self {
        BadField {
            field,
            index: Some((list, index)),
            why,
        }
    }
}

impl fmt::Display for BadField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some((list, index)) => write!(f, "{list}[{index}].{}: {}", self.field, self.why),
            None => write!(f, "{}: {}", self.field, self.why),
        }
    }
}

impl core::error::Error for BadField {}

impl From<BadField> for Error {
    fn from(_: BadField) -> Self {
        Error::BadManifest
    }
}
