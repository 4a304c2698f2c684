//! What each command does.

use crate::args::running::Running;
use crate::args::{Args, Command};
use crate::report::Report;
use std::fs;
use std::path::Path;
use vmm_frontend::Error;

mod bundle;
mod inspect;
mod keygen;
mod log;
mod manual;
mod running;
mod verify;

/// What a command gives.
pub type Done = Result<Box<dyn Report>, Error>;

pub fn run(args: &Args) -> Done {
    match &args.command {
        Command::Keygen { out } => keygen::run(out),
        Command::Bundle(bundle) => bundle::run(bundle, args.output),
        Command::Inspect { bundle, tree } => inspect::run(bundle, *tree, args.output),
        Command::Verify {
            bundle,
            trust,
            ipa_bits,
        } => verify::run(bundle, trust, *ipa_bits, args.output),
        Command::Running(command) => match command {
            // Its end is no report: main runs it.
            Running::Run(_) | Running::List => running::list(),
            Running::Stats { name } => running::stats(name.as_deref()),
            Running::Stop { name, force, wait } => running::stop(name, *force, *wait),
            Running::Log { follow } => log::run(*follow, args.output),
        },
        Command::Completion { shell } => manual::completion(*shell),
        Command::Man { directory } => manual::pages(directory),
    }
}

/// The bytes of a file.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(failed("read", path))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::File {
        doing,
        path: path.into(),
        source,
    }
}
