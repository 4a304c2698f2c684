//! Which kernel a host boots.

use std::convert::Infallible;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::linux::{self, LinuxArgs, stock};

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

/// Builds, fetches or checks the kernel.
pub(crate) fn prepare(choice: &Choice) -> Result<Prepared> {
    let prepared = match choice {
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
    check(&prepared.image)?;
    Ok(prepared)
}

/// Ward takes nothing but an uncompressed arm64 `Image`.
fn check(image: &Path) -> Result<()> {
    let mut head = [0; 64];
    File::open(image)
        .and_then(|mut file| file.read_exact(&mut head))
        .with_context(|| format!("cannot read the kernel {}", image.display()))?;
    if &head[56..60] != b"ARM\x64" {
        bail!(
            "{} is no uncompressed arm64 Image: it has no `ARM\\x64` at byte 56",
            image.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_named_or_files() {
        let choice = |text: &str| text.parse::<Choice>().unwrap();
        assert_eq!(choice("small"), Choice::Small);
        assert_eq!(choice("stock"), Choice::Stock);
        assert_eq!(choice("a/Image"), Choice::File("a/Image".into()));
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        let error = check(Path::new(file!())).unwrap_err().to_string();
        assert!(
            error.contains("cannot read") || error.contains("ARM"),
            "{error}"
        );
        check(Path::new("/nonexistent")).unwrap_err();
    }
}
