//! The owner's keys (Ed25519, RFC 8032), and the files they live in.
//!
//! A public key file holds 64 hexadecimal digits: what Ward's image is given to trust. A secret
//! key file holds [`SECRET_PREFIX`] and 64 digits, so that neither passes for the other.

use crate::Error;
use ed25519_dalek::{Signer, SigningKey};
use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[cfg(test)]
mod tests;

/// How the line of a secret key file begins.
pub const SECRET_PREFIX: &str = "ward-secret-key-ed25519:";

/// Half of a key pair that may be known. Prints as, and parses from, 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PublicKey(pub [u8; 32]);

/// The half that signs. Wiped from memory on drop; never printed.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// A new key from the system's random source.
    ///
    /// # Errors
    /// [`Error::File`] when the system gives no random bytes.
    pub fn generate() -> Result<Self, Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|e| Error::file("read", "the system's random source", e.into()))?;
        Ok(Self::from_seed(seed))
    }

    /// The key of a seed; the same seed gives the same key. For tests and key derivation.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        SecretKey(SigningKey::from_bytes(&seed))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// Reads a secret key file.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Key`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let bad = |why| Error::Key {
            wanted: "secret",
            why,
        };
        let text = read(path)?;
        let Some(digits) = text.trim().strip_prefix(SECRET_PREFIX) else {
            return Err(bad(match PublicKey::from_str(&text) {
                Ok(_) => "this is a public key",
                Err(_) => "the file does not begin with ward-secret-key-ed25519:",
            }));
        };
        unhex(digits).map(Self::from_seed).map_err(bad)
    }

    /// Writes the pair to two new files, `path` (only its owner may read it) and `path` with
    /// `.pub` appended, and returns the latter's name. Writes both or neither.
    ///
    /// # Errors
    /// [`Error::File`]; also when one of them exists.
    pub fn save(&self, path: &Path) -> Result<PathBuf, Error> {
        let public = public_path(path);
        create(&public, &format!("{}\n", self.public()), 0o644)?;
        let secret = format!("{SECRET_PREFIX}{}\n", hex(self.0.as_bytes()));
        create(path, &secret, 0o600).inspect_err(|_| {
            // The first error is the one to tell.
            let _ = fs::remove_file(&public);
        })?;
        Ok(public)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

impl PublicKey {
    /// Reads a public key file.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Key`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        read(path)?.parse()
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let why = match unhex(text.trim()) {
            Ok(bytes) => return Ok(PublicKey(bytes)),
            Err(_) if text.starts_with(SECRET_PREFIX) => "this is a secret key",
            Err(why) => why,
        };
        Err(Error::Key {
            wanted: "public",
            why,
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// The file that [`SecretKey::save`] puts the public half of `path` in.
pub fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn read(path: &Path) -> Result<String, Error> {
    let bytes = fs::read(path).map_err(|e| Error::file("read", path, e))?;
    // What is no text is no key either; the parsers say so.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn create(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options
        .open(path)
        .map_err(|e| Error::file("create", path, e))?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    written.map_err(|e| {
        // Ours, and useless.
        let _ = fs::remove_file(path);
        Error::file("write", path, e)
    })
}

/// Bytes as hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Result<[u8; 32], &'static str> {
    let digits = digits.as_bytes();
    if digits.len() != 64 {
        return Err("not 64 hexadecimal digits");
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let digit = |d: u8| char::from(d).to_digit(16);
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
            return Err("not 64 hexadecimal digits");
        };
        *byte = (high << 4 | low) as u8;
    }
    Ok(bytes)
}
