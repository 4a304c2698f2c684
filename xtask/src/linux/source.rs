//! Where the kernel's source comes from.

use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::{apt, cache};
use crate::run::{self, say};
use crate::{paths, run::CannotStart};

/// Debian's package, and the tarball in it. Any later upload is as good; change all four together.
const PACKAGE: &str = "linux-source-7.3";
const VERSION: &str = "7.3.4-1~bpo13+1";
const PACKAGE_SHA256: &str = "703e369ddd4cce971452f5a593ee55df3a5c10c83caf0fa0df039633ed181ee3";
const TARBALL_SHA256: &str = "76df1affb19f24926949369be1d74b60071c963c598ce8780bddd4bbf0fc3bc4";

/// The tarball that the package holds.
const TARBALL: &str = "linux-source-7.3.tar.xz";
/// Where it may lie beside the checkout.
const BESIDE: [&str; 2] = ["..", "../shared/linux"];

/// A kernel source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Debian's, which is looked for only when something is to be built.
    Debian,
    /// A tarball, and the digest of its content.
    Tarball { file: PathBuf, sha256: String },
    /// A directory that someone works in.
    Directory(PathBuf),
}

/// The source to build. `named` is what the user asked for.
pub(super) fn choose(named: Option<&Path>) -> Result<Source> {
    let from_environment = env::var_os("WARD_LINUX_SOURCE").map(PathBuf::from);
    match named.map(Path::to_path_buf).or(from_environment) {
        Some(path) => given(&path),
        None => Ok(Source::Debian),
    }
}

impl Source {
    /// What tells this source from others; nothing for a directory, which changes as we look.
    pub(super) fn identity(&self) -> Option<&str> {
        match self {
            Source::Debian => Some(TARBALL_SHA256),
            Source::Tarball { sha256, .. } => Some(sha256),
            Source::Directory(_) => None,
        }
    }
}

/// Debian's tarball, fetched when it is neither in the cache nor beside the checkout.
pub(super) fn debian() -> Result<PathBuf> {
    let downloads = cache::dir("download")?;
    let beside = BESIDE.map(|dir| paths::root().join(dir));
    for dir in [&downloads].into_iter().chain(&beside) {
        let file = dir.join(TARBALL);
        if !file.is_file() {
            continue;
        }
        let sha256 = cache::digest(&file)?;
        if sha256 == TARBALL_SHA256 {
            return Ok(file);
        }
        say(&format!(
            "{} is not {PACKAGE} {VERSION} (its SHA-256 is {sha256}): not used",
            file.display()
        ));
    }
    download(&downloads)
}

/// What the user named, whatever it is.
fn given(path: &Path) -> Result<Source> {
    let path = fs::canonicalize(path).map_err(|error| {
        CannotStart(format!(
            "there is no kernel source at {} ({error}): --source and WARD_LINUX_SOURCE take a tarball or a directory",
            path.display()
        ))
    })?;
    if path.is_file() {
        if !is_tarball(&path)? {
            bail!(CannotStart(format!(
                "{} is no tarball (tar, or tar packed by xz, gzip, bzip2 or zstd)",
                path.display()
            )));
        }
        let sha256 = cache::digest(&path)?;
        return Ok(Source::Tarball { file: path, sha256 });
    }
    if !path.join("Kbuild").is_file() || !path.join("arch/arm64").is_dir() {
        bail!(CannotStart(format!(
            "{} is no kernel source: it lacks the file Kbuild or the directory arch/arm64",
            path.display()
        )));
    }
    if path.join(".config").is_file() {
        bail!(CannotStart(format!(
            "{} was built in place, so it cannot be built outside: run `make mrproper` there",
            path.display()
        )));
    }
    Ok(Source::Directory(path))
}

/// By how it begins.
fn is_tarball(path: &Path) -> Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(512).read_to_end(&mut head)?;
    let packed: [&[u8]; 4] = [b"\xfd7zXZ", b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd"];
    Ok(packed.iter().any(|magic| head.starts_with(magic)) || head.get(257..262) == Some(b"ustar"))
}

fn download(dir: &Path) -> Result<PathBuf> {
    let _lock = cache::lock(dir, PACKAGE)?;
    let package = dir.join(format!("{PACKAGE}.deb"));
    let name = format!("{PACKAGE}_{VERSION}_all.deb");
    say(&format!("fetching {PACKAGE} {VERSION}, 167 MB"));
    let fetched = apt::mirrors().and_then(|mirrors| {
        apt::fetch_from_pool(
            &mirrors,
            &format!("pool/main/l/linux/{name}"),
            PACKAGE_SHA256,
            &package,
        )
    });
    if let Err(error) = fetched {
        bail!(CannotStart(format!(
            "no kernel source: {error:#}\nGet {name} or the {TARBALL} in it yourself, and either name the tarball with --source or put it beside the checkout"
        )));
    }
    say(&format!("unpacking {name}"));
    let mut unpack = Command::new("sh");
    unpack.current_dir(dir).args([
        "-c",
        &format!(
            "set -e; dpkg-deb --fsys-tarfile {PACKAGE}.deb | tar -xO ./usr/src/{TARBALL} > {TARBALL}.part; mv {TARBALL}.part {TARBALL}; rm {PACKAGE}.deb"
        ),
    ]);
    run::status(&mut unpack)?;
    let file = dir.join(TARBALL);
    let sha256 = cache::digest(&file)?;
    if sha256 != TARBALL_SHA256 {
        bail!(
            "{} has the SHA-256 {sha256}, not {TARBALL_SHA256}: delete it and try again",
            file.display()
        );
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_must_be_a_kernel_source() {
        let missing = given(Path::new("/nonexistent/linux"))
            .unwrap_err()
            .to_string();
        assert!(missing.contains("--source"), "{missing}");
        let other = given(&paths::root()).unwrap_err().to_string();
        assert!(other.contains("no kernel source"), "{other}");
        let text = given(&paths::root().join("Cargo.toml"))
            .unwrap_err()
            .to_string();
        assert!(text.contains("no tarball"), "{text}");
        let packed = std::env::temp_dir().join(format!("ward-tarball-{}", std::process::id()));
        fs::write(&packed, b"\xfd7zXZ\0rest").unwrap();
        let file = given(&packed);
        fs::remove_file(&packed).unwrap();
        assert!(matches!(file.unwrap(), Source::Tarball { sha256, .. } if sha256.len() == 64));
    }
}
