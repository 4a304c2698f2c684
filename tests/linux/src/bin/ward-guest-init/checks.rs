//! What a guest must see, check by check.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::net::UdpSocket;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::system::RebootCommand;

use crate::args::Args;
use crate::report::Report;
use crate::{machine, proc, system};

/// One check; left out where the command line does not ask for it.
struct Check {
    name: &'static str,
    run: fn(&Args) -> Result<()>,
    /// Only with this word on the command line.
    wants: Option<&'static str>,
}

const fn check(name: &'static str, run: fn(&Args) -> Result<()>) -> Check {
    Check {
        name,
        run,
        wants: None,
    }
}

const fn with(wants: &'static str, name: &'static str, run: fn(&Args) -> Result<()>) -> Check {
    Check {
        name,
        run,
        wants: Some(wants),
    }
}

const CHECKS: &[Check] = &[
    check("cpus", machine::cpus),
    check("memory", machine::memory),
    check("timer", machine::timer),
    check("floating-point", machine::floating_point),
    check("pointer-authentication", machine::pointer_authentication),
    with("protected", "restricted-dma", restricted_dma),
    with("protected", "perf-hidden", machine::perf),
    with("protected", "breakpoints-hidden", machine::breakpoints),
    check("random", random),
    check("clock", clock),
    with("hotplug", "cpu-off-and-on", machine::hotplug),
    with("disk", "disk-read", disk_read),
    with("disk", "disk-write", disk_write),
    with("readonly", "disk-read-only", disk_read_only),
    with("fails", "disk-fails", disk_fails),
    with("net", "network", network),
    // Behind what has had some.
    with("its", "message-interrupts", message_interrupts),
];

/// Does them, restarts if asked, and does them again.
pub(crate) fn run(args: &Args, report: &mut Report) -> Result<()> {
    let again = args.text("reboot").is_some() && !rebooted()?;
    let asked = |check: &&Check| check.wants.is_none_or(|word| args.text(word).is_some());
    let chosen: Vec<&Check> = CHECKS.iter().filter(asked).collect();
    let names: Vec<&str> = chosen.iter().map(|check| check.name).collect();
    report.plan(if again { "first" } else { "last" }, &names);
    for check in chosen {
        report.begin(check.name);
        match (check.run)(args) {
            Ok(()) => report.ok(check.name),
            Err(error) => report.failed(check.name, &format!("{error:#}")),
        }
    }
    if again {
        report.end();
        mark_rebooted()?;
        system::leave(RebootCommand::Restart)?;
    }
    if args.text("panic").is_some() {
        proc::write("/proc/sysrq-trigger", "c")?;
    }
    Ok(())
}

/// Where the disk says that the guest has restarted.
const STATE: u64 = 512;
const REBOOTED: &[u8; 8] = b"rebooted";
/// Where the disk may be written to.
const SCRATCH: u64 = 1 << 20;

fn disk() -> Result<File> {
    let there = || Ok(std::fs::metadata("/dev/vda").is_ok());
    system::until(Duration::from_secs(10), there)?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/vda")
        .context("cannot open /dev/vda")
}

fn rebooted() -> Result<bool> {
    let mut state = [0; 8];
    disk()?.read_exact_at(&mut state, STATE)?;
    Ok(state == *REBOOTED)
}

fn mark_rebooted() -> Result<()> {
    let disk = disk()?;
    disk.write_all_at(REBOOTED, STATE)
        .and_then(|()| disk.sync_all())
        .context("cannot write to /dev/vda")
}

/// The disk's first sector begins with the word that its maker wrote.
fn disk_read(args: &Args) -> Result<()> {
    let wanted = args.text("disk").unwrap_or_default();
    let mut bytes = vec![0; wanted.len()];
    disk()?.read_exact_at(&mut bytes, 0).context("/dev/vda")?;
    ensure!(
        bytes == wanted.as_bytes(),
        "the disk begins with {:?}",
        String::from_utf8_lossy(&bytes)
    );
    Ok(())
}

/// Devices on PCI have said something in messages, which the ITS made interrupts of.
fn message_interrupts(_: &Args) -> Result<()> {
    let interrupts = proc::read("/proc/interrupts")?;
    let came = |line: &str| {
        let words = line.split_ascii_whitespace().skip(1);
        // A count for each CPU, and then words, some of them numbers.
        let mut counts = words.map_while(|word| word.parse::<u64>().ok());
        line.contains("ITS-") && counts.any(|count| count > 0)
    };
    ensure!(
        interrupts.lines().any(came),
        "no interrupt came by the ITS: {interrupts:?}"
    );
    Ok(())
}

/// What is written comes back, past the kernel's cache.
fn disk_write(_: &Args) -> Result<()> {
    let disk = disk()?;
    let bytes: Vec<u8> = (0..1 << 20).map(|n: u32| (n / 3 + n * 7) as u8).collect();
    disk.write_all_at(&bytes, SCRATCH)
        .and_then(|()| disk.sync_all())
        .context("cannot write to /dev/vda")?;
    proc::write("/proc/sys/vm/drop_caches", "3\n")?;
    let mut back = vec![0; bytes.len()];
    disk.read_exact_at(&mut back, SCRATCH).context("/dev/vda")?;
    ensure!(
        back == bytes,
        "the disk does not give back what was written"
    );
    Ok(())
}

/// The disk of that name can be read, and not be written to.
fn disk_read_only(args: &Args) -> Result<()> {
    let name = args.text("readonly").unwrap_or_default();
    let path = format!("/dev/{name}");
    let there = || Ok(std::fs::metadata(&path).is_ok());
    system::until(Duration::from_secs(10), there)?;
    let state = proc::read(format!("/sys/block/{name}/ro"))?;
    ensure!(state == "1", "{name} says that it is read only: {state}");
    let disk = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    disk.read_exact_at(&mut [0; 512], 0)
        .context("cannot read")?;
    let write = |disk: File| {
        disk.write_all_at(&[1; 512], 0)
            .and_then(|()| disk.sync_all())
    };
    let tried = OpenOptions::new().write(true).open(&path).and_then(write);
    ensure!(tried.is_err(), "{name} was written to");
    Ok(())
}

/// The disk of that name has no room for what is written to it, says so, and goes on.
fn disk_fails(args: &Args) -> Result<()> {
    let path = format!("/dev/{}", args.text("fails").unwrap_or_default());
    let there = || Ok(std::fs::metadata(&path).is_ok());
    system::until(Duration::from_secs(10), there)?;
    let disk = OpenOptions::new().read(true).write(true).open(&path);
    let disk = disk.with_context(|| format!("cannot open {path}"))?;
    let bytes = vec![0x5a; 8 << 20];
    let tried = disk
        .write_all_at(&bytes, SCRATCH)
        .and_then(|()| disk.sync_all());
    let error = tried.err().context("what has no room was written")?;
    ensure!(
        error.raw_os_error() == Some(libc::EIO),
        "the error is {error}, none of input and output"
    );
    proc::write("/proc/sys/vm/drop_caches", "3\n")?;
    disk.read_exact_at(&mut [0; 512], 0)
        .context("it does not go on")
}

/// The host at `ward.net=` echoes packets to `ward.address=`.
fn network(args: &Args) -> Result<()> {
    let host = args.text("net").unwrap_or_default();
    let here = args.text("address").unwrap_or_default();
    let there = || Ok(std::fs::metadata("/sys/class/net/eth0").is_ok());
    system::until(Duration::from_secs(10), there)?;
    let status = Command::new("/bin/busybox")
        .args(["ifconfig", "eth0", here, "netmask", "255.255.255.0", "up"])
        .status()
        .context("cannot start busybox")?;
    ensure!(status.success(), "eth0 cannot be set up ({status})");
    let socket = UdpSocket::bind(("0.0.0.0", 0)).context("no socket")?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    for size in [1, 100, 1400] {
        let packet: Vec<u8> = (0..size).map(|n: u32| n as u8).collect();
        let mut back = [0; 2048];
        let answered = system::until(Duration::from_secs(20), || {
            socket.send_to(&packet, (host, 7)).context("cannot send")?;
            Ok(matches!(socket.recv(&mut back), Ok(len) if back[..len] == packet))
        })?;
        ensure!(answered, "{host} does not echo {size} bytes");
    }
    Ok(())
}

/// All device memory that this kernel uses is its own or shared on purpose.
fn restricted_dma(_: &Args) -> Result<()> {
    let log = machine::kernel_log()?;
    ensure!(
        log.contains("restricted DMA pool"),
        "the kernel's log names no restricted DMA pool"
    );
    Ok(())
}

fn random(_: &Args) -> Result<()> {
    let mut bytes = [0; 64];
    let mut device = File::open("/dev/hwrng").context("cannot open /dev/hwrng")?;
    device.read_exact(&mut bytes).context("/dev/hwrng")?;
    ensure!(bytes != [0; 64], "all random bytes are zero");
    Ok(())
}

fn clock(_: &Args) -> Result<()> {
    let text = proc::read("/sys/class/rtc/rtc0/since_epoch")?;
    let seconds: u64 = text.parse().context("the clock")?;
    // The year 2024: a clock that was never set says 1970.
    if seconds < 1_704_067_200 {
        bail!("the clock says {seconds} s since 1970");
    }
    Ok(())
}
