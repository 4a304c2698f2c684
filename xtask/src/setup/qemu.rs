//! QEMU for 64-bit Arm: which version is there, and is it new enough.

use std::process::Command;

use super::plan::Missing;
use super::{apt, distro};
use crate::run;

/// The oldest QEMU that will do: 9.1 brought stage 2 and nesting to its SMMUv3 model.
pub(super) const OLDEST: Version = Version { major: 9, minor: 1 };

/// A QEMU version, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    major: u32,
    minor: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// Reads the number at the start of `text`, after a Debian epoch (`1:10.0.2+ds-2`) if any.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.split_once(':').map_or(text, |(_epoch, rest)| rest);
        let mut parts = text
            .split(|c: char| !c.is_ascii_digit())
            .map(|part| part.parse().ok());
        Some(Version {
            major: parts.next()??,
            minor: parts.next()??,
        })
    }

    /// Reads the first line of `qemu-system-aarch64 --version`.
    fn of_banner(banner: &str) -> Option<Self> {
        Version::parse(
            banner
                .lines()
                .next()?
                .strip_prefix("QEMU emulator version ")?,
        )
    }
}

/// What is wrong with QEMU on this machine, if anything.
pub(super) fn missing() -> Option<Missing> {
    let need = format!("Ward needs {OLDEST} or newer");
    let what = match run::output(Command::new("qemu-system-aarch64").arg("--version")) {
        Err(_) => format!("QEMU for 64-bit Arm: no `qemu-system-aarch64` in PATH; {need}"),
        Ok(banner) => match Version::of_banner(&banner) {
            Some(version) if version >= OLDEST => return None,
            Some(version) => {
                format!("QEMU for 64-bit Arm: `qemu-system-aarch64` is version {version}; {need}")
            }
            None => format!(
                "QEMU for 64-bit Arm: `qemu-system-aarch64 --version` is not understood ({banner:?}); {need}"
            ),
        },
    };
    let distro = distro::Distro::here();
    let fix = distro
        .by_hand()
        .unwrap_or_else(|| apt::plan(&distro, &apt::Sources::here(), apt::candidate()));
    Some(Missing { what, fix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banners_and_package_versions_are_read() {
        let banner =
            "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)\nCopyright";
        assert_eq!(
            Version::of_banner(banner),
            Some(Version {
                major: 10,
                minor: 0
            })
        );
        assert_eq!(
            Version::of_banner("QEMU emulator version 9.1"),
            Some(OLDEST)
        );
        assert_eq!(
            Version::parse("1:8.2.2+ds-0ubuntu1.4"),
            Some(Version { major: 8, minor: 2 })
        );
        for wrong in ["", "(none)", "QEMU", "9", "x.y"] {
            assert_eq!(Version::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn ten_is_newer_than_nine_and_nine_zero_is_too_old() {
        assert!(Version::parse("10.0").unwrap() > OLDEST);
        assert!(Version::parse("9.0.2").unwrap() < OLDEST);
        assert!(Version::parse("9.10").unwrap() > OLDEST);
    }
}
