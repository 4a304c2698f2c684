//! Debian's own arm64 kernel: downloaded and unpacked, not installed, with the modules that a host
//! on QEMU needs; and Debian's static busybox.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection};

use super::apt::Arm64;

/// The package that depends on the current kernel.
const NEWEST: &str = "linux-image-arm64";
/// What the host's devices need on QEMU; Debian builds them as modules.
const WANTED: &[&str] = &[
    "nvme",
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    // For a disk with a file system; it asks for the sum by name.
    "crc32c_generic",
    "ext4",
    "rtc-pl031",
];
/// What a guest's devices need.
const GUESTS: &[&str] = &["virtio_mmio", "virtio_blk", "virtio_net", "virtio-rng"];

/// Debian's kernel.
#[derive(Clone, Debug)]
pub(crate) struct Stock {
    /// Its version, as the package says.
    pub(crate) version: String,
    /// The boot file, which may be compressed.
    pub(crate) vmlinuz: PathBuf,
    /// The modules to load, in the order in which they can be.
    pub(crate) modules: Vec<PathBuf>,
}

/// Fetches Debian's current arm64 kernel, unless the cache has it, with the modules of a host.
pub(crate) fn kernel() -> Result<Stock> {
    with_modules(WANTED)
}

/// The modules of a guest, in the order in which they can be loaded.
pub(crate) fn guest_modules() -> Result<Vec<PathBuf>> {
    Ok(with_modules(GUESTS)?.modules)
}

fn with_modules(wanted: &[&str]) -> Result<Stock> {
    let debian = Arm64::open()?;
    let newest = debian.package(NEWEST)?;
    let name = newest
        .depends
        .iter()
        .find(|name| name.starts_with("linux-image-"))
        .with_context(|| format!("{NEWEST} {} depends on no kernel", newest.version))?;
    let package = debian.package(name)?;
    let dir = debian.unpack(&package)?;
    let vmlinuz = only(&dir.join("boot"), |name| name.starts_with("vmlinuz-"))?;
    // Since Debian 13 modules are below usr/lib.
    let lib = [dir.join("usr/lib/modules"), dir.join("lib/modules")]
        .into_iter()
        .find(|lib| lib.is_dir())
        .with_context(|| format!("{name} has no modules"))?;
    let modules = Modules::read(&only(&lib, |_| true)?)?.closure(wanted)?;
    Ok(Stock {
        version: package.version,
        vmlinuz,
        modules,
    })
}

/// Debian's static busybox for arm64.
pub(crate) fn busybox() -> Result<PathBuf> {
    let debian = Arm64::open()?;
    let dir = debian.unpack(&debian.package("busybox-static")?)?;
    ["usr/bin/busybox", "bin/busybox"]
        .into_iter()
        .map(|path| dir.join(path))
        .find(|file| file.is_file())
        .context("Debian's package busybox-static holds no busybox")
}

/// The one entry of a directory with such a name.
fn only(dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .is_some_and(|name| wanted(&name.to_string_lossy()))
        })
        .with_context(|| format!("{} holds nothing of use", dir.display()))
}

/// The modules of one kernel.
struct Modules {
    files: Vec<PathBuf>,
    /// Names of what is built in.
    builtin: BTreeSet<String>,
}

impl Modules {
    fn read(dir: &Path) -> Result<Self> {
        let mut files = Vec::new();
        walk(&dir.join("kernel"), &mut files)?;
        let list = dir.join("modules.builtin");
        let text =
            fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
        Ok(Modules {
            files,
            builtin: text.lines().map(|line| name_of(Path::new(line))).collect(),
        })
    }

    /// These modules and all that they need, each after what it needs.
    fn closure(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let mut ordered = Vec::new();
        for name in names {
            self.add(&plain(name), &mut ordered)?;
        }
        Ok(ordered)
    }

    fn add(&self, name: &str, ordered: &mut Vec<PathBuf>) -> Result<()> {
        if self.builtin.contains(name) || ordered.iter().any(|file| name_of(file) == name) {
            return Ok(());
        }
        let file = self
            .files
            .iter()
            .find(|file| name_of(file) == name)
            .with_context(|| format!("Debian's kernel has no module {name}"))?;
        for needed in needs(file)? {
            self.add(&plain(&needed), ordered)?;
        }
        ordered.push(file.clone());
        Ok(())
    }
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// `kernel/drivers/nvme/host/nvme-core.ko.xz` gives `nvme_core`.
fn name_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    plain(name.split(".ko").next().unwrap_or_default())
}

/// The kernel takes `-` and `_` in names of modules for the same.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

/// The module's content, which Debian compresses since its 13th version.
pub(crate) fn content(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_none_or(|kind| kind != "xz") {
        return fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    }
    let mut xz = std::process::Command::new("xz");
    let output = xz
        .arg("-dc")
        .arg(file)
        .output()
        .context("cannot start `xz`: `cargo xtask setup` installs it")?;
    if !output.status.success() {
        bail!("`xz` cannot unpack {}", file.display());
    }
    Ok(output.stdout)
}

/// The names that a module says it depends on.
fn needs(file: &Path) -> Result<Vec<String>> {
    let bytes = content(file)?;
    let wrong = || format!("{} is no kernel module", file.display());
    let elf = object::File::parse(&*bytes).with_context(wrong)?;
    let info = elf.section_by_name(".modinfo").with_context(wrong)?;
    Ok(depends(info.data().with_context(wrong)?))
}

/// `depends=` of the section `.modinfo`, whose entries end with a zero byte.
fn depends(info: &[u8]) -> Vec<String> {
    info.split(|&byte| byte == 0)
        .filter_map(|entry| entry.strip_prefix(b"depends="))
        .flat_map(|names| names.split(|&byte| byte == b','))
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_modules_are_read() {
        assert_eq!(name_of(Path::new("kernel/a/nvme-core.ko")), "nvme_core");
        assert_eq!(name_of(Path::new("x/virtio_pci.ko.xz")), "virtio_pci");
        let info = b"license=GPL\0depends=nvme-core,t10-pi\0vermagic=6.1\0";
        assert_eq!(depends(info), ["nvme-core", "t10-pi"]);
        assert!(depends(b"license=GPL\0depends=\0").is_empty());
    }

    #[test]
    fn built_in_modules_need_no_file_and_missing_ones_are_named() {
        let modules = Modules {
            files: Vec::new(),
            builtin: BTreeSet::from(["rtc_pl031".to_owned()]),
        };
        assert!(modules.closure(&["rtc-pl031"]).unwrap().is_empty());
        let error = modules.closure(&["nvme"]).unwrap_err().to_string();
        assert!(error.contains("nvme"), "{error}");
    }
}
