//! Keeping secrets while the host attacks.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::report::Report;
use crate::{proc, system};

/// Words of secrets: 16 MiB.
const WORDS: u64 = 2 << 20;
/// The upper half of each, as in tests/payload/src/protocol.rs; put together where it is used, so
/// that it stands nowhere but in secrets.
const UPPER: u64 = 0x5ec2_e7a5;
/// Code of a power button (Linux, input-event-codes.h).
const KEY_POWER: u16 = 116;

fn secret(n: u64) -> u64 {
    UPPER << 32 | n
}

/// Holds secrets until the power button is pressed.
pub(crate) fn run(report: &mut Report) -> Result<()> {
    let names = ["secrets-intact", "power-button"];
    report.plan("hold", &names);
    let secrets: Vec<u64> = (0..WORDS).map(secret).collect();
    report.begin(names[0]);
    report.note(&format!("holding {} MiB of secrets", WORDS >> 17));
    let mut button = button()?;
    let mut times = 0;
    loop {
        let wrong = (0..)
            .zip(std::hint::black_box(&secrets))
            .filter(|(n, word)| **word != secret(*n))
            .count();
        ensure!(
            wrong == 0,
            "{wrong} of {WORDS} secrets are not what they were"
        );
        report.note(&format!("alive {times}"));
        times += 1;
        if pressed(&mut button, Duration::from_millis(500))? {
            break;
        }
    }
    report.ok(names[0]);
    report.begin(names[1]);
    report.ok(names[1]);
    Ok(())
}

/// The input device that is a button.
fn button() -> Result<File> {
    let there = || {
        for n in 0..4 {
            let name = proc::read(format!("/sys/class/input/event{n}/device/name"));
            if name.is_ok_and(|name| name.contains("gpio-keys")) {
                return Some(format!("/dev/input/event{n}"));
            }
        }
        None
    };
    system::until(Duration::from_secs(5), || Ok(there().is_some()))?;
    let path = there().context("no power button among the input devices")?;
    File::open(&path).with_context(|| format!("cannot open {path}"))
}

/// Whether it is pressed within that time.
fn pressed(button: &mut File, limit: Duration) -> Result<bool> {
    let limit = Timespec::try_from(limit).context("a time")?;
    let mut waits = [PollFd::new(button, PollFlags::IN)];
    if poll(&mut waits, Some(&limit)).context("poll")? == 0 {
        return Ok(false);
    }
    // struct input_event: two words of time, type, code, value.
    let mut event = [0; 24];
    button.read_exact(&mut event).context("the button")?;
    let code = u16::from_le_bytes([event[18], event[19]]);
    Ok(u16::from_le_bytes([event[16], event[17]]) == 1 && code == KEY_POWER)
}
