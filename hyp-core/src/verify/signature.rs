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
    let key = owner(bytes)?;
    if !trusted.contains(&key) {
        return Err(Refusal::UntrustedKey);
    }
    if !cfg!(ward_without = "signature") {
        check_owner(bytes, &key)?;
    }
    Ok(Manifest::parse(bytes)?)
}

/// The key that `bytes` name, if they are a manifest. Reading them twice is cheaper than keeping the
/// manifest on Ward's small stack through the arithmetic.
#[inline(never)]
fn owner(bytes: &[u8]) -> Result<[u8; 32], Refusal> {
    Ok(Manifest::parse(bytes)?.key)
}

/// Did the owner of `key` sign `bytes`?
#[inline(never)]
fn check_owner(bytes: &[u8], key: &[u8; 32]) -> Result<(), Refusal> {
    let (body, signature) = split_signature(bytes).ok_or(Refusal::BadSignature)?;
    // The strict check takes its message in one piece.
    let mut buffer = [0; MAX_SIGNED];
    let signed = SIGN_PREFIX.len() + body.len();
    buffer[..SIGN_PREFIX.len()].copy_from_slice(SIGN_PREFIX);
    buffer[SIGN_PREFIX.len()..signed].copy_from_slice(body);
    VerifyingKey::from_bytes(key)
        .and_then(|key| key.verify_strict(&buffer[..signed], &Signature::from_bytes(signature)))
        .map_err(|_| Refusal::BadSignature)
}
