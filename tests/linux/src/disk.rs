//! The NVMe disk of the test machine, which xtask prepares: what survives a reboot, and a kernel to
//! go on with.
//!
//! Sector 0 holds text lines `kernel OFFSET LENGTH` and `initrd OFFSET LENGTH`. At [`STATE`] stands
//! the name of the boot that comes next, or nothing. [`SCRATCH`] is for tests.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};

/// The disk.
pub(crate) const DISK: &str = "/dev/nvme0n1";
/// Where the name of the next boot stands, in 512 bytes.
const STATE: u64 = 4096;
/// Where tests may write, and how much.
pub(crate) const SCRATCH: u64 = 1 << 20;
/// Bytes of scratch.
pub(crate) const SCRATCH_SIZE: u64 = 16 << 20;

/// Which boot this is: nothing at the first one.
pub(crate) fn state() -> Result<String> {
    let mut sector = [0; 512];
    open(DISK)?
        .read_exact_at(&mut sector, STATE)
        .context("cannot read the state from the disk")?;
    Ok(text(&sector))
}

/// Says which boot comes next.
pub(crate) fn set_state(next: &str) -> Result<()> {
    let mut sector = [0; 512];
    sector[..next.len()].copy_from_slice(next.as_bytes());
    let disk = open(DISK)?;
    disk.write_all_at(&sector, STATE)
        .and_then(|()| disk.sync_all())
        .context("cannot write the state to the disk")
}

/// A file that xtask put on the disk.
pub(crate) fn file(name: &str) -> Result<Vec<u8>> {
    let disk = open(DISK)?;
    let mut sector = [0; 512];
    disk.read_exact_at(&mut sector, 0)
        .context("cannot read the disk's first sector")?;
    let (offset, length) =
        entry(&text(&sector), name).with_context(|| format!("the disk holds no {name}"))?;
    let mut bytes = vec![0; length];
    disk.read_exact_at(&mut bytes, offset)
        .with_context(|| format!("cannot read {name} from the disk"))?;
    Ok(bytes)
}

/// Opens a disk to read and write.
pub(crate) fn open(path: &str) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {path}"))
}

fn text(sector: &[u8]) -> String {
    let end = sector.iter().position(|&byte| byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&sector[..end]).into_owned()
}

fn entry(index: &str, name: &str) -> Option<(u64, usize)> {
    index.lines().find_map(|line| {
        let mut words = line.split(' ');
        (words.next()? == name).then_some(())?;
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_read() {
        let index = "kernel 33554432 1000\ninitrd 34603008 7\n";
        assert_eq!(entry(index, "initrd"), Some((34_603_008, 7)));
        assert_eq!(entry(index, "init"), None);
        assert_eq!(entry("kernel 1\n", "kernel"), None);
        assert_eq!(text(b"main\0\0"), "main");
        assert_eq!(text(b"\0main"), "");
    }
}
