//! Prints what is generated from hyp-core: `manual`, `header` or `tables`.
//! `cargo xtask abi` runs it.
//!
//! An example and not a module of `xtask`: a mistake in hyp-core must not keep `cargo xtask` itself
//! from being built, or it could not report that mistake.

mod comment;
mod constants;
mod header;
mod manual;
mod tables;

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("manual") => print!("{}", manual::render()),
        Some("header") => print!("{}", header::render()),
        Some("tables") => print!("{}", tables::render()),
        _ => {
            eprintln!("usage: abi manual|header|tables (start it through `cargo xtask abi`)");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
