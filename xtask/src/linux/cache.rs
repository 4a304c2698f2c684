//! The cache outside the tree: where it is, that only one process fills it, and keys.

use std::env;
use std::fs::{self, File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::run::say;

/// `~/.cache/ward/NAME`, made when it is missing.
pub(crate) fn dir(name: &str) -> Result<PathBuf> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .or_else(home)
        .context("neither XDG_CACHE_HOME nor HOME says where to cache kernels: set one of them")?;
    let dir = cache.join("ward").join(name);
    fs::create_dir_all(&dir).with_context(|| {
        format!(
            "cannot make the directory {}: is the disk full or read-only?",
            dir.display()
        )
    })?;
    Ok(dir)
}

/// Held while a cache entry is made; the system drops it when the process ends, however it ends.
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not used")] File);

/// Waits until nobody else makes the entry of that name.
pub(crate) fn lock(dir: &Path, name: &str) -> Result<Lock> {
    let path = dir.join(format!("{name}.lock"));
    let failed = || format!("cannot lock {}", path.display());
    let file = File::create(&path).with_context(failed)?;
    match file.try_lock() {
        Ok(()) => return Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => {
            say(&format!(
                "waiting: another process holds {}",
                path.display()
            ));
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(failed),
    }
    file.lock().with_context(failed)?;
    Ok(Lock(file))
}

/// SHA-256 over named parts, none of which can be mistaken for two others.
#[derive(Default)]
pub(crate) struct Key(Sha256);

impl Key {
    /// Adds a part.
    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        for part in [name.as_bytes(), value] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    /// The key: enough digits that no two builds share it.
    pub(crate) fn finish(self) -> String {
        hex(&self.0.finalize())[..24].to_owned()
    }
}

/// SHA-256 of a file, in hexadecimal.
pub(crate) fn digest(path: &Path) -> Result<String> {
    let failed = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(failed)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).with_context(failed)? {
            0 => return Ok(hex(&hash.finalize())),
            len => hash.update(&buffer[..len]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[(&str, &str)]) -> String {
        let mut key = Key::default();
        parts
            .iter()
            .for_each(|(name, value)| key.add(name, value.as_bytes()));
        key.finish()
    }

    #[test]
    fn a_key_depends_on_every_part_and_its_place() {
        let one = key(&[("config", "a"), ("patch", "b")]);
        assert_eq!(one, key(&[("config", "a"), ("patch", "b")]));
        assert_eq!(one.len(), 24);
        for other in [
            &[("config", "a"), ("patch", "c")][..],
            &[("config", "ab"), ("patch", "")],
            &[("patch", "b"), ("config", "a")],
            &[("config", "a")],
            &[],
        ] {
            assert_ne!(one, key(other), "{other:?}");
        }
    }

    #[test]
    fn a_file_has_the_digest_that_sha256sum_prints() {
        let file = env::temp_dir().join(format!("ward-digest-{}", std::process::id()));
        fs::write(&file, "abc").unwrap();
        let digest = digest(&file);
        fs::remove_file(&file).unwrap();
        assert_eq!(
            digest.unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
