//! Disks with Debian for arm64, made from Debian's packages as a user, without root and without
//! mounting: what guests start from, and hosts' programs that need a whole system.
//!
//! A disk is cached by its packages and the scripts that make it, in `~/.cache/ward/debian`.

pub(crate) mod repository;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::linux::apt::{Arm64, Deb};
use crate::linux::cache;
use crate::qemu::{self, Machine, console};
use crate::run::{self, say};

/// Under fakeroot: packages into a file system.
const UNPACK: &str = include_str!("debian/unpack.sh");
/// In QEMU: what is unpacked becomes installed.
const CONFIGURE: &str = include_str!("debian/configure.sh");
/// The first program of a guest that is to be tested or shown.
const GUEST: &str = include_str!("../../tests/linux/debian/init.sh");
/// What [`CONFIGURE`] says when all went well.
const INSTALLED: &str = "ward: Debian is installed";
/// Seconds until the first boot is given up; it takes half a minute on a machine that does nothing else.
const LIMIT: u64 = 900;

/// What a disk holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    /// Its name, and its file system's label.
    name: &'static str,
    /// Packages, beside those that they need.
    packages: &'static [&'static str],
    /// Its size, as mke2fs takes it; only what is used takes room.
    size: &'static str,
    /// Packages are configured, as on a machine that somebody uses. Otherwise their programs are there,
    /// and nothing of a package's was run.
    configured: bool,
}

/// A small Debian: what no Debian is without, apt, and the network's programs.
pub(crate) const SYSTEM: Recipe = Recipe {
    name: "system",
    // The last two are the smaller ones where Debian leaves a choice.
    packages: &[
        "?essential",
        "apt",
        "iproute2",
        "mount",
        "usr-is-merged",
        "mawk",
    ],
    size: "512M",
    configured: true,
};

/// Debian's QEMU for arm64, and what it needs.
pub(crate) const QEMU: Recipe = Recipe {
    name: "qemu",
    packages: &["qemu-system-arm", "base-files", "usr-is-merged", "mawk"],
    size: "1G",
    configured: false,
};

/// The disk's file in the cache, made when it is not there. `kernel` is one of the project's, for the
/// first boot.
pub(crate) fn disk(recipe: &Recipe, kernel: &Path) -> Result<PathBuf> {
    let debian = Arm64::open()?;
    let set = debian.set(recipe.packages)?;
    let dir = cache::dir("debian")?;
    let image = dir.join(format!("{}-{}.img", recipe.name, key(recipe, &set)));
    let _lock = cache::lock(&dir, recipe.name)?;
    if image.is_file() {
        return Ok(image);
    }
    let debs = dir.join(format!("{}.debs", recipe.name));
    // Of an older list, or of one that was interrupted.
    let _ = fs::remove_dir_all(&debs);
    debian.download(recipe.packages, &set, &debs)?;
    say(&format!("making the disk {} of Debian", recipe.name));
    let part = image.with_extension("part");
    let mut unpack = with_sbin("fakeroot");
    unpack.args(["--", "sh", "-c", UNPACK, "unpack"]);
    run::output(
        unpack
            .args([&debs.to_string_lossy(), recipe.name, recipe.size])
            .arg(&part),
    )?;
    if recipe.configured {
        configure(&part, kernel)?;
    }
    forget(&dir, recipe.name)?;
    fs::rename(&part, &image).with_context(|| format!("cannot make {}", image.display()))?;
    let _ = fs::remove_dir_all(&debs);
    Ok(image)
}

fn key(recipe: &Recipe, set: &[Deb]) -> String {
    let mut key = cache::Key::default();
    for (name, text) in [
        ("unpack", UNPACK),
        ("configure", CONFIGURE),
        ("size", recipe.size),
    ] {
        key.add(name, text.as_bytes());
    }
    for deb in set {
        key.add(&deb.file, deb.sha256.as_bytes());
    }
    key.finish()
}

/// Boots the disk once, so that dpkg runs the packages' own scripts.
fn configure(disk: &Path, kernel: &Path) -> Result<()> {
    say("Debian's first boot, in QEMU: dpkg configures its packages");
    put(disk, "/usr/sbin", "ward-configure", CONFIGURE)?;
    let machine = Machine {
        cpu: "cortex-a76",
        cpus: 2,
        memory: 1024,
        count_instructions: false,
    };
    let mut qemu = machine.command();
    qemu.args(qemu::BARE).arg("-kernel").arg(kernel);
    qemu.args([
        "-append",
        "console=ttyAMA0 loglevel=4 panic=-1 root=/dev/vda rw init=/sbin/ward-configure",
    ]);
    qemu.arg("-drive").arg(format!(
        "if=none,id=disk,format=raw,cache=unsafe,file={}",
        qemu::escape(&disk.to_string_lossy())
    ));
    qemu.args(["-device", "virtio-blk-pci,drive=disk,disable-legacy=on"]);
    let console = console::watch(&mut qemu, Some(Duration::from_secs(LIMIT)), false)?;
    let log = console.keep("debian-first-boot")?;
    if let Some(wrong) = console.bad_end() {
        bail!("Debian's first boot: {wrong}; its console is in {log}");
    }
    if !console.has(INSTALLED) {
        bail!("dpkg could not configure Debian's packages; the console is in {log}");
    }
    let mut remove = with_sbin("debugfs");
    remove.args(["-w", "-R", "rm /usr/sbin/ward-configure"]);
    run::output(remove.arg(disk)).map(drop)
}

/// Writes a program into a directory of a disk's file system.
fn put(disk: &Path, to: &str, name: &str, text: &str) -> Result<()> {
    let (from, requests) = (disk.with_extension("put"), disk.with_extension("requests"));
    let write = |file: &Path, text: &str| {
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    };
    write(&from, text)?;
    // A name with a directory in it would be taken for a name.
    let script = format!(
        "cd {to}\nwrite {} {name}\nset_inode_field {name} mode 0100755\n",
        from.display()
    );
    write(&requests, &script)?;
    run::output(
        with_sbin("debugfs")
            .arg("-w")
            .arg("-f")
            .arg(&requests)
            .arg(disk),
    )?;
    // It ends with 0 whatever went wrong.
    let mut read = with_sbin("debugfs");
    let request = format!("cat {to}/{name}");
    if run::output(read.args(["-R", &request]).arg(disk))? != text {
        bail!("debugfs cannot write {to}/{name} to {}", disk.display());
    }
    for file in [from, requests] {
        let _ = fs::remove_file(file);
    }
    Ok(())
}

/// A guest's own copy of [`SYSTEM`], whose first program is tests/linux/debian/init.sh.
pub(crate) fn guest_disk(kernel: &Path, to: &Path) -> Result<()> {
    copy(&disk(&SYSTEM, kernel)?, to)?;
    put(to, "/usr/local/sbin", "ward-guest", GUEST)
}

/// A copy of a disk.
pub(crate) fn copy(disk: &Path, to: &Path) -> Result<()> {
    let mut copy = Command::new("cp");
    run::output(copy.args(["--sparse=always", "--"]).arg(disk).arg(to)).map(drop)
}

/// Older disks of that name are nobody's any more.
fn forget(dir: &Path, name: &str) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if file.starts_with(&format!("{name}-")) && file.ends_with(".img") {
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

/// A program that a user may run though it is among those of root.
fn with_sbin(program: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}
