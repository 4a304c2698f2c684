//! The program `ward`.

#![allow(unreachable_pub, reason = "a program has no public side")]

mod args;
mod commands;
mod progress;
mod report;
mod run;
mod values;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = args::Args::parse();
    if let args::Command::Running(args::running::Running::Run(run)) = &args.command {
        return run::run(run, args.output);
    }
    match commands::run(&args) {
        Ok(report) => report::print(&*report, args.output),
        Err(error) => report::complain(&error, args.output),
    }
}
