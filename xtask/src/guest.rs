//! Linux guests for a host's `ward run`: what they boot, signed with this workspace's key.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::host;
use crate::initramfs::{self, Named};
use crate::linux::stock;
use crate::payload::{owner_key, ward};
use crate::run::say;

/// A guest, and what its first program does (tests/linux/src/bin/ward-guest-init).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guest {
    /// Its name and its bundle's.
    pub(crate) name: &'static str,
    /// vCPUs.
    cpus: u32,
    /// Memory in MiB.
    memory: u32,
    /// More words of its kernel's command line.
    words: &'static str,
    /// A plain kernel, without a bundle.
    normal: bool,
    /// Debian's kernel instead of the project's.
    stock: bool,
    /// Starts from its disk, without a RAM disk.
    from_disk: bool,
    /// The scenarios of tests/linux that have it.
    scenarios: &'static [&'static str],
}

/// What a guest with the disk and the network of the tests looks at.
const DEVICES: &str =
    "ward.scenario=check ward.disk=made-by-the-host ward.net=10.77.0.1 ward.address=10.77.0.2";
/// The same in a protected one that also restarts, and turns its CPUs off and on.
const WHOLE: &str = "ward.scenario=check ward.disk=made-by-the-host ward.net=10.77.0.1 ward.address=10.77.0.2 \
     ward.protected=1 ward.hotplug=1 ward.reboot=1";

const fn guest(name: &'static str, cpus: u32, memory: u32, words: &'static str) -> Guest {
    Guest {
        name,
        cpus,
        memory,
        words,
        normal: false,
        stock: false,
        from_disk: false,
        scenarios: &["guest-linux"],
    }
}

/// One with which `ward run` itself is tried.
const fn tried(name: &'static str, words: &'static str) -> Guest {
    Guest {
        scenarios: &["guest-run"],
        ..guest(name, 1, 128, words)
    }
}

/// A guest that starts from [`crate::debian::SYSTEM`].
const fn debian(words: &'static str) -> Guest {
    Guest {
        from_disk: true,
        scenarios: &["guest-debian"],
        ..guest("debian", 2, 512, words)
    }
}

/// The guests of the tests; `tests/linux/src/scenario.rs` names them again.
pub(crate) const TESTS: &[Guest] = &[
    guest("c1m128", 1, 128, "ward.scenario=check ward.protected=1"),
    guest("c2m512", 2, 512, WHOLE),
    guest("c4m2048", 4, 2048, WHOLE),
    Guest {
        normal: true,
        scenarios: &["guest-linux", "guest-qemu", "guest-alone"],
        ..guest("normal", 2, 512, DEVICES)
    },
    // Its configuration has no calls to share memory: a console, and no more.
    Guest {
        stock: true,
        ..guest("stock", 1, 512, "ward.scenario=boot")
    },
    Guest {
        normal: true,
        stock: true,
        scenarios: &["guest-linux", "guest-qemu"],
        ..guest("stock-normal", 2, 512, DEVICES)
    },
    Guest {
        scenarios: &["guest-run", "guest-alone", "guest-pkvm"],
        ..tried("boot", "ward.scenario=boot")
    },
    tried("panic", "ward.scenario=check ward.panic=1"),
    tried(
        "disks",
        "ward.scenario=check ward.protected=1 ward.readonly=vda ward.fails=vdb",
    ),
    tried("shell", "ward.scenario=shell"),
    debian(
        "root=/dev/vda rw init=/usr/local/sbin/ward-guest ward.scenario=check \
         ward.net=10.77.0.1 ward.address=10.77.0.2",
    ),
    guest("hold", 2, 256, "ward.scenario=hold"),
];

/// The guests of the demo: one that says what it sees, one that holds secrets.
pub(crate) const DEMO: &[Guest] = &[
    guest("demo", 2, 256, WHOLE),
    guest("hold", 2, 256, "ward.scenario=hold"),
];
/// The guest of `cargo xtask run`.
pub(crate) const RUN: Guest = guest("guest", 2, 256, "ward.scenario=shell");
/// The one of `cargo xtask run --debian`.
pub(crate) const RUN_DEBIAN: Guest = debian(
    "root=/dev/vda rw init=/usr/local/sbin/ward-guest ward.scenario=shell \
     ward.net=10.77.0.1 ward.address=10.77.0.2",
);

impl Guest {
    /// Its kernel's command line. The console's device is in its tree.
    fn append(&self) -> String {
        format!(
            "console=ttyAMA0 loglevel=3 ward.cpus={} ward.memory={} {}",
            self.cpus, self.memory, self.words
        )
    }
}

/// What guests are made of.
pub(crate) struct Parts {
    kernel: PathBuf,
    initrd: PathBuf,
    dir: PathBuf,
}

impl Parts {
    /// The guests' first program and its RAM disk. `kernel` is an arm64 `Image`.
    pub(crate) fn make(kernel: &Path) -> Result<Self> {
        let dir = host::dir("guests")?;
        let initrd = dir.join("guest.initramfs");
        let busybox = ("bin/busybox".to_owned(), stock::busybox()?);
        initramfs::only(&host::program("ward-guest-init")?, &[busybox], &initrd)?;
        Ok(Parts {
            kernel: kernel.into(),
            initrd,
            dir,
        })
    }

    /// Signs a guest's bundle and returns its file.
    pub(crate) fn bundle(&self, guest: &Guest) -> Result<PathBuf> {
        let out = self.dir.join(format!("{}.ward", guest.name));
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let key = owner_key()?;
        say(&format!("signing the guest {}", guest.name));
        let initrd = (!guest.from_disk).then(|| ("--initrd", text(&self.initrd)));
        let options = [
            ("--kernel", text(&self.kernel)),
            ("--append", guest.append()),
            ("--cpus", guest.cpus.to_string()),
            ("--memory", format!("{}M", guest.memory)),
            ("--image-version", "1".to_owned()),
            ("--key", text(&key)),
            ("--out", text(&out)),
        ];
        let mut words = vec!["bundle"];
        for (name, value) in initrd.iter().chain(&options) {
            words.extend([name, value.as_str()]);
        }
        ward(&words)?;
        Ok(out)
    }

    /// The files of these guests, as a host finds them in /guests.
    pub(crate) fn files(&self, guests: &[Guest], stock: Option<&Stock>) -> Result<Vec<Named>> {
        let mut files = Vec::new();
        let mut add = |name: String, file: PathBuf| {
            if !files.iter().any(|(known, _)| *known == name) {
                files.push((name, file));
            }
        };
        for guest in guests {
            let parts = match (guest.stock, stock) {
                (true, Some(stock)) => &stock.0,
                (true, None) => continue,
                _ => self,
            };
            let in_host = |file: &str| format!("guests/{file}");
            if !guest.normal {
                add(
                    in_host(&format!("{}.ward", guest.name)),
                    parts.bundle(guest)?,
                );
                continue;
            }
            let prefix = if guest.stock { "stock" } else { "own" };
            let (kernel, initrd) = (format!("{prefix}-Image"), format!("{prefix}-initramfs"));
            let (cpus, memory) = (guest.cpus.to_string(), format!("{}M", guest.memory));
            let words = [
                "--normal",
                "--kernel",
                &format!("/guests/{kernel}"),
                "--initrd",
                &format!("/guests/{initrd}"),
                "--cpus",
                &cpus,
                "--memory",
                &memory,
                "--append",
                &guest.append(),
            ];
            let list = self.dir.join(format!("{}.args", guest.name));
            fs::write(&list, words.join("\n"))
                .with_context(|| format!("cannot write {}", list.display()))?;
            add(in_host(&format!("{}.args", guest.name)), list);
            add(in_host(&kernel), parts.kernel.clone());
            add(in_host(&initrd), parts.initrd.clone());
        }
        Ok(files)
    }
}

/// Whether a host that does that scenario of [`TESTS`] has use for a file of theirs. RAM disks of hosts
/// would be large otherwise.
pub(crate) fn wanted(scenario: &str, file: &str) -> bool {
    let Some(file) = file.strip_prefix("guests/") else {
        return true;
    };
    TESTS.iter().any(|guest| {
        let there = guest.scenarios.contains(&scenario);
        let kernel = if guest.stock { "stock-" } else { "own-" };
        let own = file.strip_suffix(".ward").or(file.strip_suffix(".args"));
        there && (own == Some(guest.name) || guest.normal && file.starts_with(kernel))
    })
}

/// Debian's kernel as a guest's, with the modules that a guest's devices need.
pub(crate) struct Stock(Parts);

impl Stock {
    /// `kernel` is unpacked already.
    pub(crate) fn make(kernel: &Path, own: &Parts) -> Result<Self> {
        let initrd = own.dir.join("stock.initramfs");
        let busybox = ("bin/busybox".to_owned(), stock::busybox()?);
        let program = host::program("ward-guest-init")?;
        initramfs::guest(&program, &[busybox], &stock::guest_modules()?, &initrd)?;
        Ok(Stock(Parts {
            kernel: kernel.into(),
            initrd,
            dir: own.dir.clone(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_the_files_of_its_guests() {
        let has = |scenario, file: &str| wanted(scenario, &format!("guests/{file}"));
        for file in ["c1m128.ward", "normal.args", "own-Image", "stock-Image"] {
            assert!(has("guest-linux", file), "{file}");
            assert!(!has("guest-attack", file), "{file}");
        }
        assert!(has("guest-debian", "debian.ward") && !has("guest-debian", "hold.ward"));
        assert!(has("guest-qemu", "stock-normal.args") && has("guest-qemu", "stock-initramfs"));
        assert!(!has("guest-qemu", "c1m128.ward"));
        assert!(wanted("guest-attack", "bin/ward"));
    }

    #[test]
    fn names_are_unique_and_the_host_tries_each() {
        let scenario = concat!(
            include_str!("../../tests/linux/src/scenario.rs"),
            include_str!("../../tests/linux/src/checks/guests/run.rs")
        );
        for (index, guest) in TESTS.iter().enumerate() {
            assert!(TESTS[..index].iter().all(|other| other.name != guest.name));
            let check = if guest.scenarios.contains(&"guest-run") {
                format!("bundle(\"{}\")", guest.name)
            } else {
                format!("\"guest-{}\"", guest.name)
            };
            assert!(guest.name == "hold" || scenario.contains(&check), "{check}");
            for name in guest.scenarios {
                assert!(scenario.contains(&format!("Some(\"{name}\")")), "{name}");
            }
        }
    }

    #[test]
    fn the_published_range_is_covered() {
        let protected = || TESTS.iter().filter(|guest| !guest.normal);
        for cpus in [1, 2, 4] {
            assert!(protected().any(|guest| guest.cpus == cpus), "{cpus} CPUs");
        }
        for memory in [128, 2048] {
            assert!(
                protected().any(|guest| guest.memory == memory),
                "{memory} MiB"
            );
        }
    }
}
