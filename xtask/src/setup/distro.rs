//! Which distribution this is, and what its QEMU package is called.

use std::fs;

use super::plan::Fix;
use super::qemu::OLDEST;

/// What `/etc/os-release` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Distro {
    /// `ID`, such as `debian`.
    pub(super) id: String,
    /// `ID_LIKE`, the parents.
    pub(super) like: String,
    /// `VERSION_ID`; empty on rolling distributions.
    pub(super) version: String,
}

/// The command that installs QEMU, for each distribution where setup does not run it.
const COMMANDS: &[(&str, &str)] = &[
    ("fedora", "sudo dnf install qemu-system-aarch64"),
    (
        "rhel",
        "sudo dnf install epel-release && sudo dnf install qemu-system-aarch64",
    ),
    ("arch", "sudo pacman -S qemu-system-aarch64"),
    ("suse", "sudo zypper install qemu-arm"),
    ("opensuse", "sudo zypper install qemu-arm"),
    ("alpine", "sudo apk add qemu-system-aarch64"),
    ("void", "sudo xbps-install qemu-system-aarch64"),
    (
        "gentoo",
        "sudo QEMU_SOFTMMU_TARGETS=aarch64 emerge app-emulation/qemu",
    ),
    ("nixos", "nix-shell -p qemu"),
];

impl Distro {
    /// The distribution of this machine; empty where `/etc/os-release` is missing.
    pub(super) fn here() -> Self {
        Self::parse(&fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    fn parse(os_release: &str) -> Self {
        let value = |key: &str| {
            let line = os_release
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default()
                .trim_matches(['"', '\''])
                .to_owned()
        };
        Distro {
            id: value("ID"),
            like: value("ID_LIKE"),
            version: value("VERSION_ID"),
        }
    }

    /// Whether this is `name` or descends from it.
    pub(super) fn is(&self, name: &str) -> bool {
        self.id.split('-').next() == Some(name)
            || self.like.split_whitespace().any(|parent| parent == name)
    }

    /// What to do by hand, where setup does not drive the package manager itself.
    pub(super) fn by_hand(&self) -> Option<Fix> {
        if self.is("debian") || self.is("ubuntu") {
            return None;
        }
        let command = COMMANDS.iter().find(|(name, _)| self.is(name));
        Some(Fix::ByHand(match command {
            Some((_, command)) => format!(
                "run: {command}\n(if that is older than {OLDEST}, build QEMU from source with --target-list=aarch64-softmmu)"
            ),
            None => format!(
                "install the package with `qemu-system-aarch64`, version {OLDEST} or newer\n\
                 (macOS: `brew install qemu`; from source: --target-list=aarch64-softmmu)"
            ),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_is_read() {
        let debian =
            Distro::parse("PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID=\"12\"\nID=debian\n");
        assert_eq!(
            (debian.id.as_str(), debian.version.as_str()),
            ("debian", "12")
        );
        assert!(debian.is("debian") && !debian.is("ubuntu") && debian.by_hand().is_none());
        let mint = Distro::parse("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n");
        assert!(mint.is("ubuntu") && mint.by_hand().is_none());
    }

    #[test]
    fn other_distributions_get_an_exact_command() {
        for (os, command) in [
            ("ID=fedora", "dnf install qemu-system-aarch64"),
            ("ID=rocky\nID_LIKE=\"rhel centos fedora\"", "dnf install"),
            ("ID=arch", "pacman -S qemu-system-aarch64"),
            (
                "ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"",
                "zypper install qemu-arm",
            ),
            ("", "qemu-system-aarch64"),
        ] {
            let Some(Fix::ByHand(advice)) = Distro::parse(os).by_hand() else {
                panic!("{os}")
            };
            assert!(advice.contains(command), "{os}: {advice}");
        }
    }
}
