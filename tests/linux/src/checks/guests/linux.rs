//! Linux in a guest, started by `ward run`; what it says of itself is in the lines of its console.

use std::fs::File;
use std::net::UdpSocket;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::process::Process;
use crate::report::Report;
use crate::scenario::Context;

/// The program that runs guests.
pub(super) const WARD: &str = "/bin/ward";
/// Where bundles and kernels are.
pub(super) const GUESTS: &str = "/guests";
/// How long a guest may take, under emulation.
pub(super) const LIMIT: Duration = Duration::from_secs(300);
/// What a guest's lines begin with.
const MARK: &str = "WARD-GUEST ";
/// The guest's disk: a file whose first word the guest looks for.
pub(super) const DISK: &str = "/tmp/guest.img";
/// The host's end of the network.
pub(super) const TAP: &str = "tap0";
pub(super) const HERE: &str = "10.77.0.1";

/// The guest of the check's name.
pub(crate) fn linux(context: &Context, report: &mut Report) -> Result<()> {
    let name = context.check.get();
    let name = name.strip_prefix("guest-").context("another name")?;
    disk()?;
    network()?;
    let bundle = format!("{GUESTS}/{name}.ward");
    let net = format!("tap={TAP}");
    // Debian's kernel shares no memory, so that a device would wait for its rings for ever.
    let devices: &[&str] = match name {
        "stock" => &[],
        _ => &["--disk", DISK, "--net", &net, "--rng"],
    };
    let mut args = vec!["run"];
    let words = std::fs::read_to_string(format!("{GUESTS}/{name}.args")).unwrap_or_default();
    if words.is_empty() {
        args.push(&bundle);
    }
    // One argument a line: those of a normal guest.
    args.extend(words.lines());
    args.extend(devices);
    let show = context.args.text("scenario") == Some("demo");
    let mut tell = |line: &str| {
        if show {
            report.note(&format!("guest| {line}"));
        }
    };
    tell(&format!("ward {}", args.join(" ")));
    let end = Process::start(WARD, &args)?.tell(LIMIT, tell)?;
    let passed = judge(&end.lines)?;
    ensure!(end.status.success(), "ward ended with {}", end.status);
    report.note(&format!("{name}: the guest's {passed} checks passed"));
    Ok(())
}

/// A guest that holds secrets is attacked from outside its VMM, and goes on.
pub(crate) fn attacked(_: &Context, report: &mut Report) -> Result<()> {
    super::peek()?;
    let bundle = format!("{GUESTS}/hold.ward");
    let mut guest = Process::start(WARD, &["run", &bundle])?;
    guest.line("alive 0", LIMIT)?;
    let pid = guest.pid().to_string();
    let known = Process::start(super::TEST, &["attack", "list"])?.end(super::LIMIT)?;
    let mut tried = 0;
    for name in &known.lines {
        let end = Process::start(super::TEST, &["attack", name, &pid])?.end(super::LIMIT)?;
        let said = end.lines.last().map_or("", String::as_str);
        // Those that take a VMM of their own say so.
        if said.contains("takes a VMM of its own") {
            continue;
        }
        ensure!(end.status.success(), "{name}: {said} ({})", end.status);
        guest
            .line("alive", Duration::from_secs(60))
            .with_context(|| format!("after {name}"))?;
        tried += 1;
        report.note(&format!(
            "attack {name} on process {pid}: refused, the guest goes on"
        ));
    }
    ensure!(tried > 5, "{tried} attacks only were tried");
    report.note(&format!("{tried} attacks from outside; the guest goes on"));
    let button = Command::new("/bin/busybox")
        .args(["kill", "-TERM", &pid])
        .status()
        .context("cannot start busybox")?;
    ensure!(button.success(), "the power button cannot be pressed");
    let end = guest.end(LIMIT)?;
    judge(&end.lines)?;
    ensure!(end.status.success(), "ward ended with {}", end.status);
    Ok(())
}

/// How many checks passed, or what went wrong. Each result is said twice.
pub(super) fn judge(lines: &[String]) -> Result<usize> {
    let (mut planned, mut wrong, mut ended) = (Vec::new(), Vec::new(), false);
    for line in lines {
        let Some((_, said)) = line.split_once(MARK) else {
            continue;
        };
        let (word, rest) = said.split_once(' ').unwrap_or((said, ""));
        match word {
            "plan" => {
                let (_, names) = rest.split_once(": ").unwrap_or_default();
                planned.extend(names.split(' ').map(|name| (name.to_owned(), false)));
            }
            "ok" => planned
                .iter_mut()
                .filter(|(name, _)| name == rest)
                .for_each(|(_, passed)| *passed = true),
            "FAILED" if !wrong.iter().any(|known| known == rest) => wrong.push(rest.to_owned()),
            "end" => ended = true,
            _ => (),
        }
    }
    let lost = planned.iter().filter(|(_, passed)| !passed);
    wrong.extend(lost.map(|(name, _)| format!("no result of {name}")));
    if !ended {
        let panic = lines.iter().find(|line| line.contains("Kernel panic"));
        let last: Vec<&String> = panic
            .into_iter()
            .chain(lines.iter().rev().take(8).rev())
            .collect();
        wrong.push(format!("it did not come to its end; last lines: {last:?}"));
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    Ok(planned.len())
}

/// A new disk.
pub(super) fn disk() -> Result<()> {
    let file = File::create(DISK).context("cannot make a disk for the guest")?;
    file.set_len(16 << 20)
        .and_then(|()| file.write_all_at(b"made-by-the-host", 0))
        .context("cannot write a disk for the guest")
}

/// The host's end of the guest's network, which echoes packets; made once.
pub(super) fn network() -> Result<()> {
    if std::fs::metadata(format!("/sys/class/net/{TAP}")).is_ok() {
        return Ok(());
    }
    for words in [
        &["tunctl", "-t", TAP][..],
        &["ifconfig", TAP, HERE, "netmask", "255.255.255.0", "up"],
    ] {
        let status = Command::new("/bin/busybox")
            .args(words)
            .stdout(std::process::Stdio::null())
            .status()
            .context("cannot start busybox")?;
        ensure!(status.success(), "{words:?} ended with {status}");
    }
    let socket = UdpSocket::bind(("0.0.0.0", 7)).context("no socket for the echo")?;
    thread::spawn(move || {
        let mut packet = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut packet) {
            // A guest that is gone by now asks again, or does not.
            let _ = socket.send_to(&packet[..len], from);
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<usize> {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        judge(&lines)
    }

    #[test]
    fn every_planned_check_needs_its_result_and_the_guest_its_end() {
        let good = "[ 1] WARD-GUEST plan last: a b\n[ 1] WARD-GUEST ok a\n[ 1] WARD-GUEST ok b\n[ 1] WARD-GUEST end last\n";
        assert_eq!(said(good).unwrap(), 2);
        for (from, to) in [
            ("ok b", "begin b"),
            ("ok b", "FAILED b: x"),
            ("end last", "note"),
        ] {
            said(&good.replace(from, to)).unwrap_err();
        }
        said("").unwrap_err();
    }
}
