//! The VMM's process: one life of a guest.

use super::config::Config;
use super::parent::ConsoleFiles;
use std::io::PipeReader;
use vmm_frontend::control::Claim;

#[cfg(target_arch = "aarch64")]
mod life;

/// Runs the guest once and gives the exit status; everything has been said.
#[cfg(target_arch = "aarch64")]
pub fn run(config: &Config, claim: &Claim, console: &ConsoleFiles, commands: PipeReader) -> u8 {
    match life::run(config, claim, console, commands) {
        Ok(outcome) => {
            life::tell(&outcome, &claim.name, config.output);
            outcome.exit_code()
        }
        Err(error) => {
            let _ = crate::report::complain(&error, config.output);
            error.exit()
        }
    }
}

/// There is no KVM for arm64 guests here; the other process has said so.
#[cfg(not(target_arch = "aarch64"))]
pub fn run(_: &Config, _: &Claim, _: &ConsoleFiles, _: PipeReader) -> u8 {
    vmm_frontend::exit::HOST
}
