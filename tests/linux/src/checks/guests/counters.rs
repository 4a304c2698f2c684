//! What is used up: Ward's frames and VMs, and the host's memory. All of it comes back.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::report::Report;
use crate::scenario::Context;
use crate::{proc, system};

/// Ward's counters, by the kernel.
const STATS: &str = "/sys/kernel/debug/ward/stats";
/// What the host's free memory may be smaller by: caches of its own, which come and go.
const SLACK: u64 = 48 << 20;

/// What was used at the start.
static START: Mutex<Option<Counters>> = Mutex::new(None);

/// What is used.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Counters {
    /// Frames that are guests'; `None` where there is no Ward.
    guests: Option<u64>,
    /// Frames that are the host's.
    host: Option<u64>,
    /// Bytes that the host can still give.
    free: u64,
}

fn now() -> Result<Counters> {
    // What is cached is not lost.
    proc::write("/proc/sys/vm/drop_caches", "3\n")?;
    let stats = proc::read(STATS).ok();
    let ward = |name: &str| {
        let text = stats.as_deref()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    let memory = proc::read("/proc/meminfo")?;
    let free = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .context("/proc/meminfo has no MemAvailable")?;
    Ok(Counters {
        guests: ward("vm_frames "),
        host: ward("host_frames "),
        free: free << 10,
    })
}

/// Notes what is used now.
pub(super) fn remember() -> Result<()> {
    let counters = now()?;
    *START
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(counters);
    Ok(())
}

/// Frames that are protected guests' now.
pub(super) fn of_guests() -> Result<u64> {
    now()?
        .guests
        .context("Ward's counters are not there: is there no Ward?")
}

/// In words.
pub(super) fn describe() -> Result<String> {
    Ok(format!("{:?}", now()?))
}

/// No VM is left, no frame is a guest's that was not at the start, and the host has its memory.
pub(crate) fn all_back(_: &Context, report: &mut Report) -> Result<()> {
    let start = START
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .clone();
    let start = start.context("nobody looked at the start")?;
    // The last VM's file may be closed by a worker of the kernel's.
    let mut last = now()?;
    system::until(Duration::from_secs(20), || {
        last = now()?;
        Ok(last.guests == start.guests
            && last.host == start.host
            && last.free + SLACK >= start.free)
    })?;
    report.note(&format!("now: {last:?}"));
    ensure!(
        last.guests == start.guests,
        "{:?} frames are guests', {:?} were at the start",
        last.guests,
        start.guests
    );
    ensure!(
        last.host == start.host,
        "{:?} frames are the host's, {:?} were at the start",
        last.host,
        start.host
    );
    if last.free + SLACK < start.free {
        bail!(
            "{} MiB are free, {} were at the start",
            last.free >> 20,
            start.free >> 20
        );
    }
    Ok(())
}
