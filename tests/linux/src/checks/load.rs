//! Every device at once, for a while: what DMA by an ordinary kernel looks like. The system that
//! works on the NVMe disk has it as its root.

use std::fs;
use std::hint;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::mount::MountFlags;

use super::devices;
use crate::disk;
use crate::report::Report;
use crate::scenario::Context;

/// Where the NVMe disk is mounted.
const ROOT: &str = "/disk";
const BUSYBOX: &str = "/bin/busybox";
/// Files of 8 MiB come, are copied, compared past the kernel's cache, and go.
const FILES: &str = "\
    b=/bin/busybox; $b dd if=/dev/urandom of=one bs=64k count=128 2>/dev/null && \
    $b cp one two && $b sync && echo 3 > /proc/sys/vm/drop_caches && \
    $b cmp one two && $b rm one two && $b sync";
/// Large packets to QEMU's end of the cable and back.
const PING: [&str; 8] = ["ping", "-q", "-c", "50", "-s", "1400", "-i", "0.01"];
/// Bytes of memory that come and go.
const MEMORY: usize = 64 << 20;

/// A piece of work for one thread, done again and again.
type Work = fn() -> Result<()>;

/// NVMe disk, virtio disk, network card and memory are all busy for `ward.seconds=`.
pub(crate) fn mixed(context: &Context, report: &mut Report) -> Result<()> {
    let seconds: u64 = context.args.value("seconds")?;
    root()?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let kinds: [(&str, Work); 4] = [
        ("files on the NVMe disk", files),
        ("pieces on the virtio disk", devices::virtio_disk),
        ("bursts of packets", packets),
        ("pieces of memory", memory),
    ];
    let counts = kinds.map(|_| AtomicU64::new(0));
    thread::scope(|scope| -> Result<()> {
        let works: Vec<_> = kinds
            .iter()
            .zip(&counts)
            .map(|((name, work), count)| {
                scope.spawn(move || -> Result<()> {
                    while Instant::now() < end {
                        work().with_context(|| (*name).to_owned())?;
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        for work in works {
            work.join()
                .map_err(|_| anyhow!("a thread of the load died"))??;
        }
        Ok(())
    })?;
    for ((name, _), count) in kinds.iter().zip(&counts) {
        let count = count.load(Ordering::Relaxed);
        report.note(&format!("{seconds} s of mixed load: {count} {name}"));
        if count == 0 {
            bail!("no {name} in {seconds} s");
        }
    }
    rustix::fs::sync();
    Ok(())
}

/// A file system on the NVMe disk, with what a root needs.
fn root() -> Result<()> {
    busybox(&["mke2fs", disk::DISK])?;
    fs::create_dir_all(ROOT).with_context(|| format!("cannot make the directory {ROOT}"))?;
    mount(disk::DISK, ROOT, "ext4")?;
    for dir in ["bin", "proc", "dev"] {
        fs::create_dir_all(Path::new(ROOT).join(dir)).context("cannot write to the NVMe disk")?;
    }
    mount("proc", "/disk/proc", "proc")?;
    mount("devtmpfs", "/disk/dev", "devtmpfs")?;
    fs::copy(BUSYBOX, Path::new(ROOT).join("bin/busybox"))
        .map(drop)
        .context("cannot write to the NVMe disk")
}

fn mount(what: &str, at: &str, kind: &str) -> Result<()> {
    rustix::mount::mount(what, at, kind, MountFlags::empty(), None)
        .with_context(|| format!("cannot mount {what} at {at}"))
}

fn files() -> Result<()> {
    let shell = ["chroot", ROOT, BUSYBOX, "sh", "-c", FILES];
    busybox(&shell)
}

fn packets() -> Result<()> {
    let mut words = PING.to_vec();
    words.push(devices::THERE);
    busybox(&words)
}

fn memory() -> Result<()> {
    let mut bytes = vec![0_u8; MEMORY];
    bytes.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    hint::black_box(&bytes);
    Ok(())
}

fn busybox(words: &[&str]) -> Result<()> {
    let output = Command::new(BUSYBOX)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .context("cannot start busybox")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}", words.join(" "), said.trim());
    }
    Ok(())
}
