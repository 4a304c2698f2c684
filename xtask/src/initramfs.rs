//! Initial RAM disks, made without root: device nodes exist only inside the archive.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cpio::newc::{Builder, ModeFileType, trailer};

use crate::linux::stock;

/// The interactive shell's `/init`.
const SHELL: &str = include_str!("initramfs/init.sh");
/// Where modules lie in the archive, and the list of their order.
const MODULES: &str = "modules";

/// An archive in the format that Linux unpacks (cpio, "newc").
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// An archive with the directories that every system has, a console, and memory to look at.
    fn new() -> Result<Self> {
        let mut archive = Archive::default();
        for dir in [
            "dev",
            "proc",
            "sys",
            "tmp",
            "bin",
            "etc",
            "root",
            "run",
            "mnt",
            "guests",
            "repository",
            MODULES,
        ] {
            archive.add(dir, ModeFileType::Directory, 0o755, (0, 0), &[])?;
        }
        for (name, major, minor) in [
            ("dev/console", 5, 1),
            ("dev/null", 1, 3),
            ("dev/kmsg", 1, 11),
        ] {
            let device = (major, minor);
            archive.add(name, ModeFileType::Char, 0o600, device, &[])?;
        }
        Ok(archive)
    }

    /// Adds a program.
    fn program(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.add(name, ModeFileType::Regular, 0o755, (0, 0), bytes)
    }

    /// Adds a file.
    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.add(name, ModeFileType::Regular, 0o644, (0, 0), bytes)
    }

    /// Adds files of this machine's.
    fn named(&mut self, files: &[Named]) -> Result<()> {
        files
            .iter()
            .try_for_each(|(name, file)| self.program(name, &read(file)?))
    }

    /// Adds a module, and returns the name it has there.
    fn module(&mut self, file: &Path) -> Result<String> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let name = name.trim_end_matches(".xz").to_owned();
        self.file(&format!("{MODULES}/{name}"), &stock::content(file)?)?;
        Ok(name)
    }

    /// Adds modules, and `modules/list` with their names in order of loading.
    fn modules(&mut self, files: &[PathBuf]) -> Result<()> {
        let mut list = String::new();
        for file in files {
            list.push_str(&self.module(file)?);
            list.push('\n');
        }
        self.file(&format!("{MODULES}/list"), list.as_bytes())
    }

    fn add(
        &mut self,
        name: &str,
        kind: ModeFileType,
        mode: u32,
        device: (u32, u32),
        bytes: &[u8],
    ) -> Result<()> {
        // Linux takes entries of one inode number for links of one file.
        self.entries += 1;
        let entry = Builder::new(name)
            .ino(self.entries)
            .nlink(1)
            .mode(mode)
            .set_mode_file_type(kind)
            .rdev_major(device.0)
            .rdev_minor(device.1);
        let size = u32::try_from(bytes.len())
            .with_context(|| format!("{name} is too large for an initramfs"))?;
        let mut writer = entry.write(&mut self.bytes, size);
        writer
            .write_all(bytes)
            .and_then(|()| writer.finish())
            .with_context(|| format!("cannot add {name} to the initramfs"))?;
        Ok(())
    }

    /// Writes the archive.
    fn finish(mut self, to: &Path) -> Result<()> {
        trailer(&mut self.bytes).context("cannot end the initramfs")?;
        fs::write(to, &self.bytes)
            .with_context(|| format!("cannot write {}: is the disk full?", to.display()))
    }
}

/// A file of this machine's, and the name that it gets in an archive. All may be executed.
pub(crate) type Named = (String, PathBuf);

/// An initramfs with busybox and a shell on the console.
pub(crate) fn shell(busybox: &Path, modules: &[PathBuf], files: &[Named], to: &Path) -> Result<()> {
    let mut archive = Archive::new()?;
    archive.program("init", SHELL.as_bytes())?;
    archive.program("bin/busybox", &read(busybox)?)?;
    archive.named(files)?;
    archive.modules(modules)?;
    archive.finish(to)
}

/// What an initramfs for tests holds.
pub(crate) struct Tests<'a> {
    /// Its `/init`.
    pub(crate) program: &'a Path,
    /// busybox, for what takes many system calls to do.
    pub(crate) busybox: &'a Path,
    /// Modules that are loaded first, in this order.
    pub(crate) modules: &'a [PathBuf],
    /// Modules that a test may load.
    pub(crate) spare: &'a [PathBuf],
    /// A signed guest.
    pub(crate) bundle: &'a Path,
    /// What else.
    pub(crate) files: &'a [Named],
}

/// An initramfs whose first program runs tests.
pub(crate) fn tests(tests: &Tests<'_>, to: &Path) -> Result<()> {
    let mut archive = Archive::new()?;
    archive.program("init", &read(tests.program)?)?;
    archive.program("bin/busybox", &read(tests.busybox)?)?;
    archive.file("bundle", &read(tests.bundle)?)?;
    archive.named(tests.files)?;
    for file in tests.spare {
        archive.module(file)?;
    }
    archive.modules(tests.modules)?;
    archive.finish(to)
}

/// An initramfs with one program, and what else is named.
pub(crate) fn only(program: &Path, files: &[Named], to: &Path) -> Result<()> {
    let mut archive = Archive::new()?;
    archive.program("init", &read(program)?)?;
    archive.named(files)?;
    archive.finish(to)
}

/// The same with modules that the program loads.
pub(crate) fn guest(program: &Path, files: &[Named], modules: &[PathBuf], to: &Path) -> Result<()> {
    let mut archive = Archive::new()?;
    archive.program("init", &read(program)?)?;
    archive.named(files)?;
    archive.modules(modules)?;
    archive.finish(to)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpio::newc::Reader;

    /// Name, mode, device and content of an entry.
    type Entry = (String, u32, (u32, u32), Vec<u8>);

    /// Every entry.
    fn entries(bytes: &[u8]) -> Vec<Entry> {
        let (mut rest, mut found) = (bytes, Vec::new());
        loop {
            let mut reader = Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                return found;
            }
            let entry = reader.entry().clone();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut reader, &mut content).unwrap();
            let device = (entry.rdev_major(), entry.rdev_minor());
            found.push((entry.name().to_owned(), entry.mode(), device, content));
            rest = reader.finish().unwrap();
        }
    }

    #[test]
    fn an_archive_has_devices_programs_and_modules_in_order() {
        let dir = std::env::temp_dir().join(format!("ward-initramfs-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let files: Vec<PathBuf> = ["z.ko", "a.ko"].map(|name| dir.join(name)).into();
        files
            .iter()
            .for_each(|file| fs::write(file, "elf").unwrap());
        let init = dir.join("init");
        fs::write(&init, "#!").unwrap();
        let content = Tests {
            program: &init,
            busybox: &init,
            modules: &files,
            spare: &[],
            bundle: &init,
            files: &[("bin/x".to_owned(), init.clone())],
        };
        tests(&content, &dir.join("out")).unwrap();
        let found = entries(&fs::read(dir.join("out")).unwrap());
        fs::remove_dir_all(&dir).unwrap();

        let entry = |name: &str| found.iter().find(|entry| entry.0 == name).unwrap();
        assert_eq!(entry("dev/console").1, 0o020_600);
        assert_eq!(entry("dev/console").2, (5, 1));
        assert_eq!(entry("init").1, 0o100_755);
        assert_eq!(entry("init").3, b"#!");
        assert_eq!(entry("bin/x").1, 0o100_755);
        assert_eq!(entry("proc").1, 0o040_755);
        assert_eq!(entry("modules/list").3, b"z.ko\na.ko\n");
        assert_eq!(entry("modules/a.ko").3, b"elf");
    }
}
