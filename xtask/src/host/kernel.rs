//! Which kernel a host boots.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::image::kernel_file;
use crate::linux::{self, LinuxArgs, stock};
use crate::paths;

/// The kernel that the user asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// What `cargo xtask linux` builds.
    Small,
    /// Debian's.
    Stock,
    /// A file.
    File(PathBuf),
}

impl FromStr for Choice {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "small" => Choice::Small,
            "stock" => Choice::Stock,
            path => Choice::File(path.into()),
        })
    }
}

/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// What it is, for people.
    pub(crate) what: String,
    /// The arm64 `Image`.
    pub(crate) image: PathBuf,
    /// Modules that its initramfs loads for the machine's devices.
    pub(crate) modules: Vec<PathBuf>,
    /// Set for the small kernel, against which modules can be built.
    pub(crate) small: Option<linux::Kernel>,
}

/// Builds, fetches or checks the kernel. The environment's `WARD_KERNEL` stands in for the small
/// one, for whoever works on a kernel; no module can be built against it.
pub(crate) fn prepare(choice: &Choice) -> Result<Prepared> {
    let instead = std::env::var_os("WARD_KERNEL").map(|file| Choice::File(file.into()));
    let choice = match (choice, &instead) {
        (Choice::Small, Some(file)) => file,
        _ => choice,
    };
    let mut prepared = match choice {
        Choice::Small => {
            let small = linux::small(&LinuxArgs::default())?;
            Prepared {
                what: "the small kernel".to_owned(),
                image: small.image.clone(),
                modules: Vec::new(),
                small: Some(small),
            }
        }
        Choice::Stock => {
            let stock = stock::kernel()?;
            Prepared {
                what: format!("Debian's kernel {}", stock.version),
                image: stock.vmlinuz,
                modules: stock.modules,
                small: None,
            }
        }
        Choice::File(file) => Prepared {
            what: file.display().to_string(),
            image: file.clone(),
            modules: Vec::new(),
            small: None,
        },
    };
    prepared.image = unpacked(&prepared.image)?;
    Ok(prepared)
}

/// Ward takes nothing but an unpacked arm64 `Image`: the file itself, or what is packed in it.
fn unpacked(file: &Path) -> Result<PathBuf> {
    let image = kernel_file(file)?;
    if fs::metadata(file).is_ok_and(|packed| packed.len() == image.len() as u64) {
        return Ok(file.into());
    }
    // Named by what it holds: two runs may unpack two kernels at once.
    let name = format!("unpacked-{}", &sha256(&image)[..16]);
    let plain = paths::ward_dir()?.join(name);
    if plain.is_file() {
        return Ok(plain);
    }
    let part = plain.with_extension(format!("{}.part", std::process::id()));
    fs::write(&part, image)
        .and_then(|()| fs::rename(&part, &plain))
        .with_context(|| format!("cannot write {}", plain.display()))?;
    Ok(plain)
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::CannotStart;

    #[test]
    fn kernels_are_named_or_files() {
        let choice = |text: &str| text.parse::<Choice>().unwrap();
        assert_eq!(choice("small"), Choice::Small);
        assert_eq!(choice("stock"), Choice::Stock);
        assert_eq!(choice("a/Image"), Choice::File("a/Image".into()));
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        let refused = |path: &Path| {
            let error = unpacked(path).unwrap_err();
            assert!(error.is::<CannotStart>());
            error.to_string()
        };
        let text = refused(&paths::root().join("Cargo.toml"));
        assert!(text.contains("Cargo.toml is no kernel"), "{text}");
        let missing = refused(Path::new("/nonexistent"));
        assert!(missing.contains("cannot read /nonexistent"), "{missing}");
    }
}
