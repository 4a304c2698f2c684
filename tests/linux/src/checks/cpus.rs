//! All CPUs of the machine work.

use anyhow::{Context as _, Result, bail};

use crate::report::Report;
use crate::scenario::Context;
use crate::{proc, system};

/// The CPUs that are online.
pub(crate) fn online() -> Result<Vec<usize>> {
    let text = proc::read("/sys/devices/system/cpu/online")?;
    proc::list(&text).with_context(|| format!("CPUs online: {text:?}"))
}

/// Every CPU is online and runs a thread.
pub(crate) fn all_online(context: &Context, _: &mut Report) -> Result<()> {
    let online = online()?;
    let all: Vec<usize> = (0..context.cpus).collect();
    if online != all {
        bail!("online are {online:?}, not {all:?}");
    }
    for cpu in all {
        let ran_on = system::on_cpu(cpu, || Ok(rustix::thread::sched_getcpu()))?;
        if ran_on != cpu {
            bail!("a thread of CPU {cpu} ran on CPU {ran_on}");
        }
    }
    Ok(())
}
