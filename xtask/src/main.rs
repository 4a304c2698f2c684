//! `cargo xtask`: sets the machine up, builds the EL2 image, boots it in QEMU, tests and measures it.
//!
//! Start reading at [`cli`], which lists the commands. A command is one module; what several of
//! them use is in [`run`] (child processes), [`paths`] (where things lie) and [`qemu`] (booting).

mod abi;
mod bench;
mod cli;
mod debian;
mod demo;
mod guest;
mod host;
mod image;
mod initramfs;
mod linux;
#[cfg(test)]
mod manual;
mod markers;
mod paths;
mod payload;
mod qemu;
mod run;
mod setup;
mod test;
mod trees;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<run::CannotStart>() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
