//! The owner's signature (Ed25519, RFC 8032).

use super::Refusal;
use crate::abi::manifest::{MAX_BYTES, Manifest, SIGN_PREFIX, SIGNATURE_BYTES, split_signature};
use ed25519_dalek::{Signature, VerifyingKey};

/// Bytes that a signature covers, at most.
const MAX_SIGNED: usize = SIGN_PREFIX.len() + MAX_BYTES - SIGNATURE_BYTES;

/// Reads a signed manifest and checks that one of the `trusted` keys signed it.
///
/// The check is the strict one: beyond RFC 8032's, keys and commitments of small order are
/// refused. With them one signature would fit many messages. Whether the manifest makes sense is
/// for [`Manifest::check`].
///
/// # Errors
/// [`Refusal::Manifest`], [`Refusal::UntrustedKey`] or [`Refusal::BadSignature`], in this order.
pub fn check_signature(bytes: &[u8], trusted: &[[u8; 32]]) -> Result<Manifest, Refusal> {
    let manifest = Manifest::parse(bytes)?;
    if !trusted.contains(&manifest.key) {
        return Err(Refusal::UntrustedKey);
    }
    let (body, signature) = split_signature(bytes).ok_or(Refusal::BadSignature)?;
    // The strict check takes its message in one piece.
    let mut buffer = [0; MAX_SIGNED];
    let signed = SIGN_PREFIX.len() + body.len();
    buffer[..SIGN_PREFIX.len()].copy_from_slice(SIGN_PREFIX);
    buffer[SIGN_PREFIX.len()..signed].copy_from_slice(body);
    VerifyingKey::from_bytes(&manifest.key)
        .and_then(|key| key.verify_strict(&buffer[..signed], &Signature::from_bytes(signature)))
        .map_err(|_| Refusal::BadSignature)?;
    Ok(manifest)
}
