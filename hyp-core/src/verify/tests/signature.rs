//! Who signed what.

use super::*;
use crate::abi::manifest::tests::{encoded, sample};
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};

/// L, the order of the base point, little-endian (RFC 8032 5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

fn public() -> [u8; 32] {
    key().verifying_key().to_bytes()
}

/// The sample, made out to `owner` and signed by `by` over `prefix` and the body.
fn signed_as(owner: [u8; 32], by: &SigningKey, prefix: &[u8]) -> Vec<u8> {
    let mut manifest = sample();
    manifest.key = owner;
    let mut bytes = encoded(&manifest);
    let body = bytes.len() - 64;
    let message = [prefix, &bytes[..body]].concat();
    bytes[body..].copy_from_slice(&by.sign(&message).to_bytes());
    bytes
}

fn signed() -> Vec<u8> {
    signed_as(public(), &key(), SIGN_PREFIX)
}

#[test]
fn a_trusted_signature_passes() {
    let mut manifest = check_signature(&signed(), &[[9; 32], public()]).unwrap();
    assert_eq!(manifest.key, public());
    manifest.key = sample().key;
    assert_eq!(manifest, sample());
}

/// Ed25519 is deterministic: format, prefix and signature are fixed by these bytes.
#[test]
#[cfg_attr(miri, ignore = "slow; the arithmetic is ed25519-dalek's")]
fn the_signature_of_the_sample_never_changes() {
    assert_eq!(SIGN_PREFIX, b"Ward manifest v1\0");
    let hex: std::string::String = signed()[312..]
        .iter()
        .map(|b| std::format!("{b:02x}"))
        .collect();
    assert_eq!(
        hex,
        "cd4f1fd57a6ea00fa5759ef0d2eb1942d0dff1a9f137ec2f29394b25ca25f0a1\
         ef166257c31719eebcbe5e73bff6c4243ab8d571b10520cd843b41a54978b205"
    );
}

#[test]
#[cfg_attr(miri, ignore = "slow; the arithmetic is ed25519-dalek's")]
fn every_flipped_bit_is_refused() {
    let bytes = signed();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            let refusal = check_signature(&bytes, &[public()]).unwrap_err();
            match at {
                56..88 => assert_eq!(refusal, Refusal::UntrustedKey),
                312.. => assert_eq!(refusal, Refusal::BadSignature),
                _ => assert!(matches!(
                    refusal,
                    Refusal::Manifest(_) | Refusal::BadSignature
                )),
            }
        }
    }
}

#[test]
fn only_trusted_keys_count() {
    let untrusted = Err(Refusal::UntrustedKey);
    assert_eq!(check_signature(&signed(), &[]), untrusted);
    assert_eq!(check_signature(&signed(), &[[9; 32], [7; 32]]), untrusted);
}

#[test]
fn the_form_is_looked_at_first() {
    let mut bytes = signed();
    bytes[0] = 0;
    let magic = BadField::new("magic", "not a Ward manifest");
    assert_eq!(check_signature(&bytes, &[]), Err(Refusal::Manifest(magic)));
    assert!(matches!(
        check_signature(&[], &[public()]),
        Err(Refusal::Manifest(_))
    ));
}

#[test]
#[cfg_attr(miri, ignore = "slow; the arithmetic is ed25519-dalek's")]
fn another_hand_or_purpose_is_refused() {
    let other = SigningKey::from_bytes(&[43; 32]);
    let bad = Err(Refusal::BadSignature);
    let forged = signed_as(public(), &other, SIGN_PREFIX);
    assert_eq!(check_signature(&forged, &[public()]), bad);
    for prefix in [&b""[..], b"Ward manifest v2\0", b"Ward manifest v1"] {
        let bytes = signed_as(public(), &key(), prefix);
        assert_eq!(check_signature(&bytes, &[public()]), bad);
    }
}

/// S + L is the same scalar in another form (RFC 8032 8.4).
#[test]
#[cfg_attr(miri, ignore = "slow; the arithmetic is ed25519-dalek's")]
fn a_scalar_not_reduced_is_refused() {
    let mut bytes = signed();
    let scalar = bytes.len() - 32;
    let mut carry = 0;
    for (byte, add) in bytes[scalar..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert_eq!(carry, 0);
    assert_eq!(
        check_signature(&bytes, &[public()]),
        Err(Refusal::BadSignature)
    );
}

/// With the neutral element as key and commitment and S = 0 the plain equation holds for every
/// message. Even if such a key were trusted, it signs nothing.
#[test]
#[cfg_attr(miri, ignore = "slow; the arithmetic is ed25519-dalek's")]
fn small_order_keys_sign_nothing() {
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut bytes = signed_as(neutral, &key(), SIGN_PREFIX);
    let body = bytes.len() - 64;
    bytes[body..body + 32].copy_from_slice(&neutral);
    bytes[body + 32..].fill(0);
    let message = [SIGN_PREFIX, &bytes[..body]].concat();
    let signature = Signature::from_slice(&bytes[body..]).unwrap();
    let weak = VerifyingKey::from_bytes(&neutral).unwrap();
    assert!(
        weak.verify(&message, &signature).is_ok(),
        "the attack is one"
    );
    assert_eq!(
        check_signature(&bytes, &[neutral]),
        Err(Refusal::BadSignature)
    );
    // A trusted "key" that is no point of the curve.
    let mut none = [0; 32];
    none[0] = 2;
    assert!(VerifyingKey::from_bytes(&none).is_err());
    let bytes = signed_as(none, &key(), SIGN_PREFIX);
    assert_eq!(check_signature(&bytes, &[none]), Err(Refusal::BadSignature));
}

#[test]
#[cfg_attr(miri, ignore = "slow; the arithmetic is ed25519-dalek's")]
fn the_longest_manifest_is_checked_to_its_end() {
    let mut manifest = sample();
    manifest.key = public();
    while manifest.push_region(manifest.regions()[0]).is_ok() {}
    while manifest.push_image(manifest.images()[0]).is_ok() {}
    let mut bytes = encoded(&manifest);
    let body = bytes.len() - 64;
    let message = [SIGN_PREFIX, &bytes[..body]].concat();
    bytes[body..].copy_from_slice(&key().sign(&message).to_bytes());
    assert_eq!(bytes.len(), MAX_BYTES);
    assert_eq!(check_signature(&bytes, &[public()]), Ok(manifest));
    bytes[body - 64] ^= 1;
    assert_eq!(
        check_signature(&bytes, &[public()]),
        Err(Refusal::BadSignature)
    );
}
