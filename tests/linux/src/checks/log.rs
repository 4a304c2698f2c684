//! Ward's own log, through the module `ward_log`.

use std::fs;

use anyhow::{Result, bail};

use crate::report::Report;
use crate::scenario::Context;
use crate::{proc, system};

const FILE: &str = "/sys/kernel/debug/ward/log";
/// What boot has to say, from its first line to the one that says where the host starts.
const BOOT: [&str; 3] = ["Ward ", "RAM 0x", "entering the host at "];

/// All that Ward still has of it.
pub(crate) fn read() -> Result<String> {
    if fs::metadata(FILE).is_err() {
        system::load_module("ward_log.ko", "")?;
    }
    proc::read(FILE)
}

/// The log can be read, goes back to Ward's start, and reads the same a second time.
pub(crate) fn readable(_: &Context, _: &mut Report) -> Result<()> {
    let log = read()?;
    if let Some(missing) = BOOT.iter().find(|line| !log.contains(*line)) {
        bail!("no {missing:?} in Ward's log: {log:?}");
    }
    if !read()?.starts_with(&log) {
        bail!("the log does not begin as it did when it was read before");
    }
    Ok(())
}

/// Nothing says that Ward has crashed, now or in the boot before.
pub(crate) fn no_crash(_: &Context, _: &mut Report) -> Result<()> {
    let log = read()?;
    for word in ["last boot:", "panic", "crash"] {
        if let Some(line) = log.lines().find(|line| line.contains(word)) {
            bail!("Ward's log says {line:?}");
        }
    }
    Ok(())
}
