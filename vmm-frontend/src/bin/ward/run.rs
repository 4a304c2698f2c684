//! `ward run`: a guest from its bundle to its end.
//!
//! Two processes. The one that the user started holds what must survive the guest: the terminal's
//! settings, the guest's name and its socket. The other is made anew for each start of the guest
//! and is the VMM; it shuts itself off from everything else once its files are open. A guest that
//! restarts gets a new process, so nothing of its former life is left.

mod args;
#[cfg_attr(
    not(target_arch = "aarch64"),
    allow(dead_code, reason = "no KVM to run it")
)]
mod config;
#[cfg(target_arch = "aarch64")]
mod console;
#[cfg(target_arch = "aarch64")]
mod devices;
mod logger;
mod parent;
mod signals;
#[cfg(target_arch = "aarch64")]
mod stats;
mod vmm;

pub use args::RunArgs;

use crate::args::Output;
use crate::report;
use std::process::ExitCode;

/// Runs a guest and gives the exit status.
pub fn run(args: &RunArgs, output: Output) -> ExitCode {
    logger::start(args.log_level);
    match config::Config::new(args, output).and_then(|config| parent::run(&config)) {
        Ok(status) => ExitCode::from(status),
        Err(error) => report::complain(&error, output),
    }
}
