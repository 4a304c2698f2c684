//! A Debian in a protected guest, from a disk of this host's.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::mount::{MountFlags, UnmountFlags};

use super::counters;
use super::linux::{self, GUESTS, HERE, LIMIT, TAP, WARD};
use super::process::Process;
use crate::report::Report;
use crate::scenario::Context;

/// The disk that xtask filled with Debian.
const DISK: &str = "/dev/vda";
/// Where the guest listens.
const GUEST: &str = "10.77.0.2:7777";
/// So many frames must be kept from this host while it runs: 64 MiB.
const LEAST: u64 = 64 << 8;
/// What is served by HTTP.
const SERVED: &str = "/repository";

/// The guest looks at its Debian with Debian's own programs, and at this host's network.
pub(crate) fn debian(_: &Context, report: &mut Report) -> Result<()> {
    linux::network()?;
    serve()?;
    let bundle = format!("{GUESTS}/debian.ward");
    // The other guests' packets are carried by ward itself.
    let net = format!("tap={TAP},vhost");
    let args = ["run", &bundle, "--disk", DISK, "--net", &net, "--rng"];
    let mut guest = Process::start(WARD, &args)?;
    // There it waits for this host.
    guest.line("begin host-connects", LIMIT)?;
    let frames = counters::of_guests()?;
    ensure!(frames >= LEAST, "{frames} frames are the guest's");
    ensure!(vhost()?, "no thread of the kernel's carries packets");
    let answer = connect();
    let end = guest.end(LIMIT)?;
    let passed = linux::judge(&end.lines)?;
    ensure!(end.status.success(), "ward ended with {}", end.status);
    let answer = answer?;
    ensure!(
        answer == "from the guest\n",
        "the guest answered {answer:?}"
    );
    report.note(&format!("debian: the guest's {passed} checks passed"));
    Ok(())
}

/// What the guest wrote is on the disk, and whole.
pub(crate) fn disk(_: &Context, _: &mut Report) -> Result<()> {
    let at = "/mnt";
    rustix::mount::mount(DISK, at, "ext4", MountFlags::RDONLY, None)
        .context("the guest's disk cannot be mounted")?;
    let sums = fs::read_to_string("/mnt/var/lib/ward/for-the-host");
    let check = Command::new("/bin/busybox")
        .args(["sha256sum", "-c", "for-the-host"])
        .current_dir("/mnt/var/lib/ward")
        .output();
    rustix::mount::unmount(at, UnmountFlags::empty()).context("the guest's disk is busy")?;
    let sums = sums.context("the guest has left no sums")?;
    ensure!(sums.contains("data"), "the guest's sums are {sums:?}");
    let check = check.context("cannot start busybox")?;
    ensure!(
        check.status.success(),
        "what the guest wrote is not what is on the disk: {}",
        String::from_utf8_lossy(&check.stdout)
    );
    Ok(())
}

/// Whether the kernel serves a network card: it does so in a thread of the VMM's.
fn vhost() -> Result<bool> {
    let ps = Command::new("/bin/busybox")
        .args(["ps", "-T"])
        .output()
        .context("cannot start busybox")?;
    Ok(String::from_utf8_lossy(&ps.stdout).contains("vhost-"))
}

/// A repository of packages, and a word, by HTTP.
fn serve() -> Result<()> {
    fs::write(format!("{SERVED}/greeting"), "from the host")
        .context("no place for files to serve")?;
    let address = format!("{HERE}:80");
    let server = Command::new("/bin/busybox")
        .args(["httpd", "-p", &address, "-h", SERVED])
        .status()
        .context("cannot start busybox")?;
    ensure!(server.success(), "httpd ended with {server}");
    Ok(())
}

/// Connects to the guest as soon as it listens, and returns what it answers.
fn connect() -> Result<String> {
    let start = Instant::now();
    loop {
        match TcpStream::connect(GUEST) {
            Ok(mut guest) => {
                guest.set_read_timeout(Some(Duration::from_secs(60)))?;
                guest
                    .write_all(b"from the host\n")
                    .context("the guest takes no word")?;
                let mut line = String::new();
                BufReader::new(guest)
                    .read_line(&mut line)
                    .context("the guest does not answer")?;
                return Ok(line);
            }
            Err(error) if start.elapsed() > Duration::from_secs(60) => {
                bail!("the guest does not listen: {error}")
            }
            Err(_) => thread::sleep(Duration::from_millis(200)),
        }
    }
}
