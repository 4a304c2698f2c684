//! What `ward run` and `ward log` promise beside a guest that works: limits, ends, the console, disks
//! that refuse.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, chown};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Signal, kill_process};

use super::linux::{self, GUESTS, LIMIT, WARD};
use super::process::{End, Process};
use crate::report::Report;
use crate::scenario::Context;

/// Exit statuses of `ward` (docs/cli.md).
const PANICKED: i32 = 4;
const STOPPED: i32 = 6;
const HOST: i32 = 10;
/// A user who is not root.
const USER: u32 = 1000;

fn bundle(name: &str) -> String {
    format!("{GUESTS}/{name}.ward")
}

/// It ended with that status; else its last lines are told.
fn ended(end: &End, status: i32) -> Result<()> {
    let last: Vec<&String> = end.lines.iter().rev().take(6).rev().collect();
    ensure!(
        end.status.code() == Some(status),
        "ward ended with {}, not {status}; its last lines: {last:?}",
        end.status
    );
    Ok(())
}

fn said(end: &End, words: &str) -> Result<()> {
    let all = end.lines.join("\n");
    ensure!(all.contains(words), "nothing says {words:?} in {all:?}");
    Ok(())
}

/// Where no Ward is below, a protected guest is refused by a reason and a remedy, and the same
/// bundle runs as a normal one.
pub(crate) fn without_ward(_: &Context, _: &mut Report) -> Result<()> {
    let refused = Process::start(WARD, &["run", &bundle("boot")])?.end(LIMIT)?;
    ended(&refused, HOST)?;
    said(&refused, "Ward is not below this kernel")?;
    said(&refused, "--normal")?;
    let log = Process::start(WARD, &["log"])?.end(LIMIT)?;
    ended(&log, HOST)?;
    said(&log, "Ward is not below this kernel")?;
    let normal = Process::start(WARD, &["run", "--normal", &bundle("boot")])?.end(LIMIT)?;
    ended(&normal, 0)?;
    linux::judge(&normal.lines)?;
    Ok(())
}

/// `ward log --follow` shows what Ward says after it was started. To be done before any other guest.
pub(crate) fn log_follow(_: &Context, _: &mut Report) -> Result<()> {
    let line = "verified";
    let before = Process::start(WARD, &["log"])?.end(LIMIT)?;
    ended(&before, 0)?;
    ensure!(
        !before.lines.iter().any(|said| said.contains(line)),
        "a guest was there before"
    );
    let mut follow = Process::start(WARD, &["log", "--follow"])?;
    // It has begun to read.
    follow.line("entering the host", LIMIT)?;
    let guest = Process::start(WARD, &["run", &bundle("boot")])?.end(LIMIT)?;
    ended(&guest, 0)?;
    follow.line(line, Duration::from_secs(20))?;
    Ok(())
}

/// A user whose limit of locked memory is too low is told which one is enough; with that the guest
/// runs, without root.
pub(crate) fn memlock(_: &Context, report: &mut Report) -> Result<()> {
    fs::create_dir_all("/tmp/user").context("no place for the user's sockets")?;
    chown("/tmp/user", Some(USER), Some(USER)).context("/tmp/user cannot be given away")?;
    // busybox takes no user that has no name.
    for (file, line) in [
        ("/etc/passwd", format!("user:x:{USER}:{USER}::/:/bin/sh\n")),
        ("/etc/group", format!("user:x:{USER}:\n")),
    ] {
        fs::write(file, line).with_context(|| format!("cannot write {file}"))?;
    }
    let allow = |mode| fs::set_permissions("/dev/kvm", fs::Permissions::from_mode(mode));
    allow(0o666).context("/dev/kvm")?;
    let run = |kib: u64| {
        let script = format!(
            "ulimit -l {kib}; export XDG_RUNTIME_DIR=/tmp/user; exec /bin/busybox start-stop-daemon -S \
             -c {USER}:{USER} -x {WARD} -- run {}",
            bundle("boot")
        );
        Process::start("/bin/busybox", &["sh", "-c", &script])?.end(LIMIT)
    };
    let refused = run(8192)?;
    ended(&refused, HOST)?;
    let text = refused.lines.join(" ");
    let (_, rest) = text
        .split_once("`ulimit -l ")
        .with_context(|| format!("no limit is named in {text:?}"))?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let need: u64 = digits.parse().context("no number of KiB")?;
    ensure!(need >= 128 << 10, "{need} KiB are not enough for 128 MiB");
    let enough = run(need)?;
    allow(0o600).context("/dev/kvm")?;
    ended(&enough, 0)?;
    linux::judge(&enough.lines)?;
    report.note(&format!("user {USER} needs {need} KiB of locked memory"));
    Ok(())
}

/// A kernel that panics ends its VM at once, and `ward` says so.
pub(crate) fn panics(_: &Context, _: &mut Report) -> Result<()> {
    let end = Process::start(WARD, &["run", &bundle("panic")])?.end(LIMIT)?;
    ended(&end, PANICKED)?;
    // The reason, by the guest's console; the fact, by ward.
    said(&end, "sysrq triggered crash")?;
    said(&end, "the guest's kernel panicked")
}

/// A disk that the guest may only read, and one on which there is no room: errors for the guest, which
/// goes on.
pub(crate) fn disks(_: &Context, _: &mut Report) -> Result<()> {
    let (small, first) = ("/tmp/small", b"made-by-the-host");
    fs::create_dir_all(small).context("no place for a small file system")?;
    mount(
        "tmpfs",
        small,
        "tmpfs",
        MountFlags::empty(),
        Some(c"size=2m"),
    )
    .context("no small file system")?;
    let make = |name: &str| -> Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(name)
            .with_context(|| format!("cannot make {name}"))?;
        file.set_len(16 << 20)?;
        file.write_all_at(first, 0)?;
        Ok(file)
    };
    let (fixed, full) = ("/tmp/fixed.img", "/tmp/small/full.img");
    let (fixed_file, _) = (make(fixed)?, make(full)?);
    let time = || fs::metadata(fixed).and_then(|file| file.modified());
    let before = time()?;
    let read_only = format!("{fixed},ro");
    let args = [
        "run",
        &bundle("disks"),
        "--disk",
        &read_only,
        "--disk",
        full,
        "--rng",
    ];
    let end = Process::start(WARD, &args)?.end(LIMIT)?;
    unmount(small, UnmountFlags::empty()).context("the small file system is busy")?;
    ended(&end, 0)?;
    linux::judge(&end.lines)?;
    let mut back = vec![0; 16 << 20];
    fixed_file.read_exact_at(&mut back, 0)?;
    let rest = &back[first.len()..];
    ensure!(
        back.starts_with(first) && rest.iter().all(|byte| *byte == 0) && time()? == before,
        "a disk that is read only was written to"
    );
    Ok(())
}

/// The console on a pseudo-terminal, in both directions.
pub(crate) fn pty(_: &Context, _: &mut Report) -> Result<()> {
    let at = "/dev/pts";
    if fs::metadata("/dev/pts/ptmx").is_err() {
        fs::create_dir_all(at).context("no /dev/pts")?;
        mount("devpts", at, "devpts", MountFlags::empty(), None).context("no /dev/pts")?;
    }
    let mut guest = Process::start(WARD, &["run", &bundle("shell"), "--console", "pty"])?;
    let line = guest.line("the guest's console is ", LIMIT)?;
    let (_, name) = line.split_once("console is ").unwrap_or_default();
    let name = name.split(';').next().unwrap_or_default();
    let mut terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY)
        .open(name)
        .with_context(|| format!("cannot open {name}"))?;
    let reader = terminal.try_clone().context("no second hand on it")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let wait = |words: &str| loop {
        match lines.recv_timeout(LIMIT) {
            Ok(line) if line.contains(words) => return Ok(()),
            Ok(_) => (),
            Err(_) => bail!("the console does not say {words:?}"),
        }
    };
    wait("Leave with `exit`")?;
    // What comes back must have been computed: the terminal echoes as well.
    terminal.write_all(b"echo answer $((6 * 7))\n")?;
    wait("answer 42")?;
    terminal.write_all(b"exit\n")?;
    ended(&guest.end(LIMIT)?, 0)
}

/// One signal is the power button, which this guest does not hear; the second ends it.
pub(crate) fn second_signal(_: &Context, _: &mut Report) -> Result<()> {
    let mut guest = Process::start(WARD, &["run", &bundle("shell")])?;
    guest.line("Leave with `exit`", LIMIT)?;
    let pid = Pid::from_raw(guest.pid().cast_signed()).context("no process")?;
    kill_process(pid, Signal::TERM).context("ward is gone")?;
    guest.line("pressed the guest's power button", LIMIT)?;
    let list = Command::new(WARD).arg("list").output().context("no ward")?;
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    ensure!(list.contains("shell"), "the guest is gone: {list:?}");
    kill_process(pid, Signal::TERM).context("ward is gone")?;
    ended(&guest.end(LIMIT)?, STOPPED)
}
