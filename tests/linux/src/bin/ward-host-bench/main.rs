//! What a Linux host costs, counted in instructions: the first program of a machine that `cargo
//! xtask bench` starts with and without Ward.
//!
//! QEMU counts instructions instead of time there, so the generic timer's counter is an
//! instruction counter: it starts at 0 with the machine, and 1 ns is one instruction. Each load in
//! [`work`] does the same on every machine. One line `BENCH NAME COUNT instructions` for each; then
//! the machine powers off. With the word `child` it is the program that a load executes.

mod counter;
mod idle;
mod work;

use std::process::ExitCode;

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};

fn main() -> ExitCode {
    let booted = counter::instructions();
    if std::env::args().nth(1).as_deref() == Some("child") {
        return work::child();
    }
    if std::process::id() != 1 {
        eprintln!(
            "error: this is the first program of a measured machine; see `cargo xtask bench`"
        );
        return ExitCode::from(2);
    }
    line("boot-to-init", booted);
    if let Err(error) = measure() {
        println!("FAILED {error:#}");
    }
    let _ = reboot(RebootCommand::PowerOff);
    ExitCode::FAILURE
}

fn measure() -> Result<()> {
    let flags = MountFlags::empty();
    mount("devtmpfs", "/dev", "devtmpfs", flags, None)
        .or_else(|error| match error {
            // Some kernels have mounted it by themselves.
            rustix::io::Errno::BUSY => Ok(()),
            other => Err(other),
        })
        .context("cannot mount /dev")?;
    for load in work::LOADS {
        // Once unmeasured: what is loaded, cached and allocated the first time.
        (load.run)().with_context(|| load.name)?;
        let idle = load.waits.then(idle::Idle::start).transpose()?;
        let waited = || idle.as_ref().map_or(0, idle::Idle::instructions);
        let (start, idle_before) = (counter::instructions(), waited());
        (load.run)().with_context(|| load.name)?;
        let (end, idle_after) = (counter::instructions(), waited());
        line(load.name, (end - start) - (idle_after - idle_before));
    }
    Ok(())
}

fn line(name: &str, count: u64) {
    println!("BENCH {name} {count} instructions");
}
