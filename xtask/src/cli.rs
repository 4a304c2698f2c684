//! The command line: which commands there are and what `--help` teaches.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{abi, bench, demo, host, image, linux, setup, test, trees};

const AFTER_HELP: &str = "\
Examples:
  cargo xtask demo                      boot Ward, a host and a signed guest in QEMU
  cargo xtask run                       boot Ward and a Linux host, with a shell
  cargo xtask test                      run every tier of tests
  cargo xtask test --tier unit          run one tier
  cargo xtask image                     build and check target/ward/ward.bin
  cargo xtask setup --check             say what this machine lacks, change nothing

Exit status: 0 done; 1 a build, a test or a check failed; 2 the command could not
start (wrong arguments, or a tool is missing and could not be installed).";

/// Build, test and run the Ward hypervisor.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    Setup(setup::SetupArgs),
    Image(image::ImageArgs),
    Linux(linux::LinuxArgs),
    Run(host::RunArgs),
    Demo(demo::DemoArgs),
    Test(test::TestArgs),
    Bench(bench::BenchArgs),
    Abi(abi::AbiArgs),
    Trees(trees::TreesArgs),
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> Result<ExitCode> {
    match Cli::parse().command {
        Task::Setup(args) => setup::run(&args)?,
        Task::Image(args) => image::run(&args)?,
        Task::Linux(args) => linux::run(&args)?,
        Task::Run(args) => host::run(&args)?,
        Task::Demo(args) => demo::run(&args)?,
        Task::Bench(args) => bench::run(&args)?,
        Task::Abi(args) => abi::run(&args)?,
        Task::Trees(args) => trees::run(&args)?,
        // Its last line of output is the count, so it reports failures itself.
        Task::Test(args) => return test::run(&args),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_each_command_has_an_example() {
        let mut cli = super::Cli::command();
        cli.build();
        cli.clone().debug_assert();
        for command in cli
            .get_subcommands()
            .filter(|command| command.get_name() != "help")
        {
            let help = command.clone().render_long_help().to_string();
            assert!(
                help.contains("Examples:"),
                "{} has no example",
                command.get_name()
            );
        }
    }
}
