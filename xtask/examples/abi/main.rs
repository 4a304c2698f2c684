//! Prints what is generated from [`hyp_core::abi`]: `manual` or `header`. `cargo xtask abi` runs it.
//!
//! An example and not a module of `xtask`: a mistake in hyp-core must not keep `cargo xtask` itself
//! from being built, or it could not report that mistake.

mod constants;
mod header;
mod manual;

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("manual") => print!("{}", manual::render()),
        Some("header") => print!("{}", header::render()),
        _ => {
            eprintln!("usage: abi manual|header (start it through `cargo xtask abi`)");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
