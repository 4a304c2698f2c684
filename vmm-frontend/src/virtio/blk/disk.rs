//! What is behind a disk: a file or a block device of the host.

use crate::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Bytes of a sector, the unit of all requests.
pub const SECTOR: u64 = 512;

/// An open disk, locked against a second writer.
#[derive(Debug)]
pub struct Disk {
    file: File,
    sectors: u64,
    read_only: bool,
}

impl Disk {
    /// Opens `path`. A disk that can be written is this program's alone; one that is only read can
    /// be shared with others that read. (The lock is flock's: it binds those who ask.)
    ///
    /// # Errors
    /// [`Error::File`], or [`Error::Input`] when it is no disk or in use.
    pub fn open(path: &Path, read_only: bool) -> Result<Self, Error> {
        let bad = |what: String, remedy: &str| Error::Input {
            file: path.to_owned(),
            what,
            remedy: remedy.to_owned(),
        };
        let failed = |source| Error::file("open", path, source);
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(!read_only)
            .open(path)
            .map_err(failed)?;
        let kind = file.metadata().map_err(failed)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(bad(
                "neither a file nor a block device".into(),
                "give a raw disk image, or a block device such as /dev/vdb",
            ));
        }
        let lock = if read_only {
            libc::LOCK_SH
        } else {
            libc::LOCK_EX
        };
        // SAFETY: a plain call; the descriptor is open.
        if unsafe { libc::flock(file.as_raw_fd(), lock | libc::LOCK_NB) } != 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::WouldBlock {
                return Err(failed(error));
            }
            return Err(bad(
                "in use by another guest or program".into(),
                "stop the other (`ward list` shows the guests), or use a copy; read-only disks can \
                 be shared",
            ));
        }
        let bytes = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if bytes < SECTOR {
            return Err(bad(
                format!("{bytes} bytes are no disk"),
                "make it larger, for example with `truncate --size 1G FILE`",
            ));
        }
        let rest = bytes % SECTOR;
        if rest != 0 {
            log::warn!(
                "{}: its size is no multiple of {SECTOR}: the guest does not see the last {rest} \
                 bytes (`truncate --size %512 FILE` makes room for them)",
                path.display()
            );
        }
        Ok(Disk {
            file,
            sectors: bytes / SECTOR,
            read_only,
        })
    }

    /// How large it is.
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Whether writes are refused.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Everything written is on the disk.
    pub(super) fn flush(&self) -> io::Result<()> {
        if self.read_only {
            return Ok(());
        }
        self.file.sync_data()
    }

    /// Gives space back; what is read there is then undefined. A hint: where it cannot be done
    /// nothing happens.
    pub(super) fn discard(&self, at: u64, bytes: u64) -> io::Result<()> {
        let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        match self.allocate(punch, at, bytes) {
            Err(error) if unsupported(&error) => Ok(()),
            done => done,
        }
    }

    /// Makes bytes zero, and gives the space back if it `may`.
    pub(super) fn zero(&self, at: u64, bytes: u64, may: bool) -> io::Result<()> {
        let mode = if may {
            libc::FALLOC_FL_PUNCH_HOLE
        } else {
            libc::FALLOC_FL_ZERO_RANGE
        };
        match self.allocate(mode | libc::FALLOC_FL_KEEP_SIZE, at, bytes) {
            Err(error) if unsupported(&error) => self.write_zeroes(at, bytes),
            done => done,
        }
    }

    fn write_zeroes(&self, mut at: u64, bytes: u64) -> io::Result<()> {
        let end = at + bytes;
        let zeroes = [0; 64 << 10];
        while at < end {
            let part = zeroes.len().min((end - at) as usize);
            std::os::unix::fs::FileExt::write_all_at(&self.file, &zeroes[..part], at)?;
            at += part as u64;
        }
        Ok(())
    }

    fn allocate(&self, mode: libc::c_int, at: u64, bytes: u64) -> io::Result<()> {
        let (fd, at, bytes) = (self.file.as_raw_fd(), at as i64, bytes as i64);
        loop {
            // SAFETY: a plain call; the descriptor is open.
            if unsafe { libc::fallocate(fd, mode, at, bytes) } == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

/// The file system or device cannot do that at all.
fn unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::ENODEV)
    )
}
