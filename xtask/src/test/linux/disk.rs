//! The disks of a test machine. What stands where on the NVMe disk is said again in
//! `tests/linux/src/disk.rs`, which reads it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::put;

/// Size of each disk; it takes as much room as is written to it.
const SIZE: u64 = 256 << 20;
/// Where the kernel stands; the RAM disk follows at the next MiB.
const KERNEL: u64 = 32 << 20;
const MIB: u64 = 1 << 20;

/// A disk of zeros.
pub(super) fn empty(path: &Path) -> Result<File> {
    let make = || {
        let file = File::create(path)?;
        file.set_len(SIZE).map(|()| file)
    };
    make().with_context(|| format!("cannot make the disk {}", path.display()))
}

/// A disk with the kernel and the RAM disk that a kernel goes on with.
pub(super) fn nvme(path: &Path, kernel: &Path, initrd: &Path) -> Result<()> {
    let disk = empty(path)?;
    let kernel_size = put(&disk, kernel, KERNEL)?;
    let initrd_at = (KERNEL + kernel_size).next_multiple_of(MIB);
    let initrd_size = put(&disk, initrd, initrd_at)?;
    let index = format!("kernel {KERNEL} {kernel_size}\ninitrd {initrd_at} {initrd_size}\n");
    disk.write_all_at(index.as_bytes(), 0)
        .with_context(|| format!("cannot write to the disk {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_index_says_where_the_files_are() {
        let dir = std::env::temp_dir().join(format!("ward-disk-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (disk, kernel, initrd) = (dir.join("d"), dir.join("k"), dir.join("i"));
        fs::write(&kernel, "kernel").unwrap();
        fs::write(&initrd, "ram disk").unwrap();
        nvme(&disk, &kernel, &initrd).unwrap();
        let (mut index, mut content) = ([0; 51], [0; 8]);
        let file = File::open(&disk).unwrap();
        file.read_exact_at(&mut index, 0).unwrap();
        file.read_exact_at(&mut content, 33 << 20).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        let index = String::from_utf8_lossy(&index);
        assert!(
            index.starts_with("kernel 33554432 6\ninitrd 34603008 8\n\0"),
            "{index}"
        );
        assert_eq!(&content, b"ram disk");
    }
}
