//! The loads.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

/// One load.
pub(crate) struct Load {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// Does it.
    pub(crate) run: fn() -> Result<()>,
    /// It waits for a device.
    pub(crate) waits: bool,
}

/// All of them.
pub(crate) const LOADS: &[Load] = &[
    Load {
        name: "syscalls",
        run: syscalls,
        waits: false,
    },
    Load {
        name: "page-faults",
        run: page_faults,
        waits: false,
    },
    Load {
        name: "fork-exec",
        run: fork_exec,
        waits: false,
    },
    Load {
        name: "messages",
        run: messages,
        waits: false,
    },
    Load {
        name: "virtio-blk",
        run: || reads("/dev/vda"),
        waits: true,
    },
    Load {
        name: "nvme",
        run: || reads("/dev/nvme0n1"),
        waits: true,
    },
];

const PAGE: usize = 4096;

/// 100,000 calls that do next to nothing.
fn syscalls() -> Result<()> {
    for _ in 0..100_000 {
        std::hint::black_box(rustix::process::getppid());
    }
    Ok(())
}

/// First touch of 32 MiB, page by page, and their return.
fn page_faults() -> Result<()> {
    touch(32 << 20)
}

fn touch(bytes: usize) -> Result<()> {
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: new memory, which nothing else refers to.
    let memory = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, access, MapFlags::PRIVATE) }
        .context("no memory")?;
    // SAFETY: this mapping's pages; the advice changes no contents. Kernels without huge pages
    // refuse it, and need it not.
    let _ = unsafe { madvise(memory, bytes, Advice::LinuxNoHugepage) };
    for page in (0..bytes).step_by(PAGE) {
        let byte = memory.cast::<u8>().wrapping_add(page);
        // SAFETY: within the mapping made above.
        unsafe { byte.write_volatile(1) };
    }
    // SAFETY: the mapping made above; no reference to it is left.
    unsafe { munmap(memory, bytes) }.context("munmap")
}

/// 100 processes, each forked with 1 MiB of its parent's written, that executes a program which
/// touches 1 MiB and ends.
fn fork_exec() -> Result<()> {
    let mut own = vec![0_u8; 1 << 20];
    for round in 0..100_u8 {
        own.iter_mut().step_by(PAGE).for_each(|byte| *byte = round);
        let status = Command::new("/init")
            .arg("child")
            .status()
            .context("cannot execute /init")?;
        ensure!(status.success(), "the child ended with {status}");
        // A plain fork, whose child writes what it shares with its parent.
        // SAFETY: this process has one thread, so its child may do what it likes.
        match unsafe { libc::fork() } {
            0 => {
                own.iter_mut().step_by(PAGE).for_each(|byte| *byte ^= 1);
                std::hint::black_box(&own);
                std::process::exit(0);
            }
            -1 => bail!("cannot fork: {}", std::io::Error::last_os_error()),
            child => wait(child)?,
        }
    }
    Ok(())
}

/// The program that is executed.
pub(crate) fn child() -> ExitCode {
    match touch(1 << 20) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn wait(child: i32) -> Result<()> {
    let mut status = 0;
    // SAFETY: `status` is a place for what it writes.
    let done = unsafe { libc::waitpid(child, &raw mut status, 0) };
    ensure!(done == child && status == 0, "a child ended with {status}");
    Ok(())
}

/// As hackbench: 4 pairs of processes, the one sends 4,000 messages of 100 bytes to the other.
fn messages() -> Result<()> {
    const MESSAGE: usize = 100;
    let mut children = Vec::new();
    for _ in 0..4 {
        let (mut from, mut to) = UnixStream::pair().context("no socket pair")?;
        for sends in [true, false] {
            // SAFETY: this process has one thread, so its child may do what it likes.
            match unsafe { libc::fork() } {
                0 => {
                    let mut buffer = [7; MESSAGE];
                    let mut step = || match sends {
                        true => to.write_all(&buffer),
                        false => from.read_exact(&mut buffer),
                    };
                    let done = (0..4000).all(|_| step().is_ok());
                    std::process::exit(i32::from(!done));
                }
                -1 => bail!("cannot fork: {}", std::io::Error::last_os_error()),
                child => children.push(child),
            }
        }
    }
    children.into_iter().try_for_each(wait)
}

/// 1,000 direct reads of 4 KiB, far from each other, from a disk.
fn reads(path: &str) -> Result<()> {
    #[repr(align(4096))]
    struct Aligned([u8; PAGE]);
    use std::os::unix::fs::FileExt;
    let disk = File::options()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)
        .with_context(|| format!("cannot open {path}"))?;
    let mut buffer = Box::new(Aligned([0; PAGE]));
    for n in 0..1000_u64 {
        let page = n * 7919 % 16_384;
        disk.read_exact_at(&mut buffer.0, page * PAGE as u64)
            .with_context(|| format!("cannot read {path}"))?;
    }
    Ok(())
}
