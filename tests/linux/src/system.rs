//! What a first program does to its system: mounts, modules, and how a machine ends.

use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::mount::MountFlags;
use rustix::system::{RebootCommand, reboot};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Mounts the file systems that the kernel fills.
pub(crate) fn mount() -> Result<()> {
    for (kind, at) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("debugfs", "/sys/kernel/debug"),
    ] {
        let mounted = rustix::mount::mount(kind, at, kind, MountFlags::empty(), None);
        // Some kernels have mounted devtmpfs by themselves.
        if let Err(error) = mounted
            && error != rustix::io::Errno::BUSY
        {
            return Err(error).with_context(|| format!("cannot mount {kind} at {at}"));
        }
    }
    Ok(())
}

/// Loads the modules of `/modules/list` in its order.
pub(crate) fn load_modules() -> Result<()> {
    for name in crate::proc::read("/modules/list")?.lines() {
        load_module(name, "")?;
    }
    Ok(())
}

/// Loads one module of the initramfs.
pub(crate) fn load_module(name: &str, parameters: &str) -> Result<()> {
    let path = Path::new("/modules").join(name);
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let parameters = CString::new(parameters).context("parameters with a zero byte")?;
    rustix::system::init_module(&bytes, &parameters)
        .with_context(|| format!("the kernel does not take the module {name}"))
}

/// From here on the calling thread runs on this CPU only.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("cannot run on CPU {cpu}"))
}

/// Does something in a thread on one CPU.
pub(crate) fn on_cpu<T: Send>(cpu: usize, what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin(cpu)?;
            what()
        });
        thread
            .join()
            .map_err(|_| anyhow!("the thread on CPU {cpu} died"))?
    })
}

/// Tries until it holds, for at most that long.
pub(crate) fn until(limit: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<bool> {
    let start = std::time::Instant::now();
    loop {
        if holds()? {
            return Ok(true);
        }
        if start.elapsed() > limit {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Leaves this boot in that way; returns only when the kernel refuses.
pub(crate) fn leave(how: RebootCommand) -> Result<()> {
    rustix::fs::sync();
    reboot(how).context("the kernel does not leave")
}

/// The end. A first program must not return, whatever happens.
pub(crate) fn power_off() -> ! {
    // If even that fails, the test host's limit ends the machine.
    let _ = leave(RebootCommand::PowerOff);
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}
