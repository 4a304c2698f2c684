//! Files from the Debian mirror that apt uses on this machine, for another architecture and
//! without changing the machine: apt's lists and downloads are kept in Ward's own cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cache;
use crate::run::{self, say};

/// The directories below which this machine's Debian mirrors keep `pool`.
pub(super) fn mirrors() -> Result<Vec<String>> {
    let targets = run::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(ORIGIN) $(REPO_URI)",
        "Created-By: Packages",
    ]))
    .context("apt does not say which Debian mirror this machine uses")?;
    let mirrors = debian_mirrors(&targets);
    if mirrors.is_empty() {
        bail!("apt's sources on this machine name no Debian mirror");
    }
    Ok(mirrors)
}

/// Debian's own, each once, from lines of an origin (which may be empty or of several words) and
/// an address. The origin is known only after `apt-get update`.
fn debian_mirrors(targets: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in targets.lines() {
        let Some((origin, address)) = line.rsplit_once(' ') else {
            continue;
        };
        let address = address.trim_end_matches('/');
        let debian = origin.starts_with("Debian") || address.ends_with("/debian");
        if debian && !found.iter().any(|known| known == address) {
            found.push(address.to_owned());
        }
    }
    found
}

/// Fetches a file below one of the mirrors by its path, if its digest is right.
pub(super) fn fetch_from_pool(
    mirrors: &[String],
    path: &str,
    sha256: &str,
    to: &Path,
) -> Result<()> {
    let mut refused = Vec::new();
    for mirror in mirrors {
        let mut helper = Command::new("/usr/lib/apt/apt-helper");
        helper
            .args(["-oAPT::Sandbox::User=", "download-file"])
            .arg(format!("{mirror}/{path}"))
            .arg(to)
            .arg(format!("SHA256:{sha256}"));
        match run::output(&mut helper) {
            Ok(_) => return Ok(()),
            Err(error) => refused.push(format!("{error:#}")),
        }
    }
    bail!("no mirror has {path}: {}", refused.join("; "))
}

/// Debian's packages for arm64.
pub(crate) struct Arm64 {
    dir: PathBuf,
}

impl Arm64 {
    /// Refreshes the lists of arm64 packages when they are older than a day.
    pub(crate) fn open() -> Result<Self> {
        let arm64 = Arm64 {
            dir: cache::dir("apt-arm64")?,
        };
        let _lock = cache::lock(&arm64.dir, "update")?;
        for part in ["lists/partial", "archives/partial", "packages"] {
            let dir = arm64.dir.join(part);
            fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let stamp = arm64.dir.join("updated");
        let age = fs::metadata(&stamp)
            .and_then(|stamp| stamp.modified())
            .ok()
            .and_then(|time| time.elapsed().ok());
        if age.is_none_or(|age| age.as_secs() > 24 * 3600) {
            say("reading Debian's lists of arm64 packages");
            let update = run::output(arm64.apt("apt-get").arg("update"));
            match (update, age) {
                (Ok(_), _) => fs::write(&stamp, "")
                    .with_context(|| format!("cannot write {}", stamp.display()))?,
                // Old lists are better than none: the packages may be in the cache.
                (Err(error), Some(_)) => say(&format!("going on with old lists: {error:#}")),
                (Err(error), None) => return Err(error),
            }
        }
        Ok(arm64)
    }

    /// The newest version of a package, and what it depends on by name, as apt would install it.
    pub(super) fn package(&self, name: &str) -> Result<Package> {
        let text = run::output(
            self.apt("apt-cache")
                .args(["show", "--no-all-versions", name]),
        )
        .with_context(|| format!("Debian's lists have no package {name} for arm64"))?;
        Package::parse(&text).with_context(|| format!("apt's entry of {name} is not understood"))
    }

    /// The package unpacked, not installed: its files are below the directory that is returned.
    pub(super) fn unpack(&self, package: &Package) -> Result<PathBuf> {
        let Package {
            name,
            version,
            file,
            sha256,
            ..
        } = package;
        let entry = format!("{name}_{}", version.replace([':', '/'], "_"));
        let dir = self.dir.join("packages").join(&entry);
        let _lock = cache::lock(&self.dir.join("packages"), &entry)?;
        if dir.is_dir() {
            return Ok(dir);
        }
        say(&format!("fetching Debian's {name} {version} for arm64"));
        let deb = self.dir.join("archives").join(format!("{entry}.deb"));
        fetch_from_pool(&mirrors()?, file, sha256, &deb)?;
        let part = dir.with_extension("part");
        // Left by an unpacking that was interrupted.
        let _ = fs::remove_dir_all(&part);
        run::status(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&part))?;
        fs::rename(&part, &dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let _ = fs::remove_file(&deb);
        Ok(dir)
    }

    /// These packages and all that they need, as apt would install them on a machine without any.
    /// A name may be a pattern of apt's, such as `?essential`.
    pub(crate) fn set(&self, names: &[&str]) -> Result<Vec<Deb>> {
        // apt leaves out what its directory of downloads holds; this one stays empty.
        let empty = self.dir.join("none");
        fs::create_dir_all(empty.join("partial"))
            .with_context(|| format!("cannot make {}", empty.display()))?;
        let mut apt = self.install(&empty, names);
        let uris = apt.args(["--print-uris", "-oAcquire::ForceHash=sha256"]);
        let set: Vec<Deb> = run::output(uris)?.lines().filter_map(Deb::parse).collect();
        if set.is_empty() {
            bail!("apt names no files of the packages {}", names.join(" "));
        }
        Ok(set)
    }

    /// Downloads a set's files into a directory, and checks their digests.
    pub(crate) fn download(&self, names: &[&str], set: &[Deb], to: &Path) -> Result<()> {
        let partial = to.join("partial");
        fs::create_dir_all(&partial)
            .with_context(|| format!("cannot make {}", partial.display()))?;
        say(&format!(
            "fetching {} of Debian's arm64 packages",
            set.len()
        ));
        run::output(self.install(to, names).args(["--download-only", "-q"]))?;
        for deb in set {
            let file = to.join(&deb.file);
            if cache::digest(&file)? != deb.sha256 {
                bail!(
                    "{} is not the file that Debian's lists name",
                    file.display()
                );
            }
        }
        Ok(())
    }

    fn install(&self, archives: &Path, names: &[&str]) -> Command {
        let mut apt = self.apt("apt-get");
        apt.arg(format!("-oDir::Cache::archives={}", archives.display()));
        // Nothing of this machine's is written to.
        apt.args(["-oDebug::NoLocking=1", "-y", "--no-install-recommends"]);
        apt.arg("install").args(names);
        apt
    }

    /// An apt program that sees arm64 packages of this machine's Debian sources, and writes only
    /// into Ward's cache.
    fn apt(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        apt.args([
            "-oAPT::Architecture=arm64",
            "-oAPT::Architectures=arm64",
            "-oAPT::Sandbox::User=",
            "-oAcquire::Languages=none",
        ]);
        apt.arg(format!("-oDir::State::Lists={}/lists", self.dir.display()));
        apt.arg(format!("-oDir::Cache={}", self.dir.display()));
        apt.arg("-oDir::State::status=/dev/null");
        apt.env("LC_ALL", "C");
        apt
    }
}

/// A package's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deb {
    /// Its name among apt's downloads, with the version.
    pub(crate) file: String,
    /// Its digest, by Debian's signed lists.
    pub(crate) sha256: String,
}

impl Deb {
    /// Reads a line `'ADDRESS' FILE BYTES SHA256:DIGEST`.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix('\'')?.split(' ').skip(1);
        let (file, digest) = (words.next()?, words.nth(1)?);
        Some(Deb {
            file: file.to_owned(),
            sha256: digest.strip_prefix("SHA256:")?.to_owned(),
        })
    }
}

/// A package of the lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Package {
    /// Its name.
    pub(super) name: String,
    /// Its version.
    pub(super) version: String,
    /// Names of what it depends on.
    pub(super) depends: Vec<String>,
    file: String,
    sha256: String,
}

impl Package {
    /// Reads the first entry that `apt-cache show` prints.
    fn parse(text: &str) -> Option<Self> {
        let entry = text.split("\n\n").next()?;
        let field = |name: &str| {
            entry
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let depends = field("Depends").unwrap_or_default();
        Some(Package {
            name: field("Package")?.to_owned(),
            version: field("Version")?.to_owned(),
            depends: depends
                .split([',', '|'])
                .filter_map(|one| one.split_whitespace().next())
                .map(str::to_owned)
                .collect(),
            file: field("Filename")?.to_owned(),
            sha256: field("SHA256")?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_mirrors_are_taken() {
        let targets = "Debian Backports http://m.example/debian/\nDebian http://m.example/debian/\n\
                       . nodistro http://other.example/node_20.x/\n http://fresh.example/debian/\n";
        assert_eq!(
            debian_mirrors(targets),
            ["http://m.example/debian", "http://fresh.example/debian"]
        );
        assert!(debian_mirrors("").is_empty());
    }

    #[test]
    fn files_of_a_set_are_read() {
        let line =
            "'http://m.example/pool/b_1%3a2+d_arm64.deb' b_1%3a2+d_arm64.deb 37624 SHA256:00ff";
        let deb = Deb::parse(line).unwrap();
        assert_eq!((&*deb.file, &*deb.sha256), ("b_1%3a2+d_arm64.deb", "00ff"));
        for other in ["Need to get 33.0 MB", "'a' b 1 MD5Sum:00", "'a' b", ""] {
            assert_eq!(Deb::parse(other), None, "{other}");
        }
    }

    #[test]
    fn an_entry_is_read() {
        let text = "Package: linux-image-arm64\nVersion: 6.1.1-2\nDepends: linux-image-6.1.0-1-arm64 (= 6.1.1-2), a | b\n\
                    Filename: pool/main/l/x.deb\nSHA256: 00ff\nDescription: x\n\nPackage: older\n";
        let package = Package::parse(text).unwrap();
        assert_eq!(
            (package.name.as_str(), package.version.as_str()),
            ("linux-image-arm64", "6.1.1-2")
        );
        assert_eq!(package.depends, ["linux-image-6.1.0-1-arm64", "a", "b"]);
        assert_eq!(
            (package.file.as_str(), package.sha256.as_str()),
            ("pool/main/l/x.deb", "00ff")
        );
        assert_eq!(Package::parse("N: no packages found\n"), None);
    }
}
