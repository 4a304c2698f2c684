//! Suspend to idle, and the clock's alarm that ends it.

use std::fs;

use anyhow::{Context as _, Result, bail};
use rustix::time::{ClockId, clock_gettime};

use crate::proc;
use crate::report::Report;
use crate::scenario::Context;

const CLOCK: &str = "/sys/class/rtc/rtc0";
const COUNT: &str = "/sys/power/suspend_stats/success";

/// All CPUs idle until the real-time clock wakes the machine.
pub(crate) fn to_idle(_: &Context, report: &mut Report) -> Result<()> {
    let modes = proc::read("/sys/power/state")?;
    if !modes.split(' ').any(|mode| mode == "freeze") {
        bail!("the kernel can only {modes:?}");
    }
    let number = |text: String| {
        text.parse::<u64>()
            .with_context(|| format!("{text:?} is no number"))
    };
    let before = number(proc::read(COUNT)?)?;
    // Not every kernel lets a clock wake the machine unless it is told.
    let _ = fs::write(format!("{CLOCK}/device/power/wakeup"), "enabled");
    proc::write(format!("{CLOCK}/wakealarm"), "0")?;
    proc::write(format!("{CLOCK}/wakealarm"), "+2")?;
    let start = clock_gettime(ClockId::Boottime).tv_sec;
    proc::write("/sys/power/state", "freeze")?;
    let slept = clock_gettime(ClockId::Boottime).tv_sec - start;
    report.note(&format!("suspended for {slept} s by the clock"));
    if number(proc::read(COUNT)?)? != before + 1 {
        bail!("the kernel came back, but does not say that it slept");
    }
    Ok(())
}
