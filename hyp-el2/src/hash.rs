//! SHA-256 of what boot finds in memory, for its report.

use sha2::{Digest, Sha256};

/// The digest of some pieces, one after the other.
#[derive(Debug, Default)]
pub struct Measurement(Sha256);

impl Measurement {
    /// Adds a piece.
    pub fn add(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of all.
    pub fn finish(self) -> Digest256 {
        Digest256(self.0.finalize().into())
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
