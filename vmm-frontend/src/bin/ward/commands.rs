//! What each command does.

use crate::args::running::Running;
use crate::args::{Args, Command, Output};
use crate::progress::Progress;
use crate::report::Report;
use std::fs::File;
use std::io::Read;
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

/// Bytes between two words to a progress bar.
const PIECE: u64 = 4 << 20;

/// The bytes of a file.
fn read(path: &Path, output: Output) -> Result<Vec<u8>, Error> {
    let mut progress = Progress::new("reading", output);
    let mut all = || {
        let mut file = File::open(path)?;
        let total = file.metadata()?.len();
        let mut bytes = Vec::new();
        while file.by_ref().take(PIECE).read_to_end(&mut bytes)? > 0 {
            progress.tell(bytes.len() as u64, total);
        }
        Ok(bytes)
    };
    all().map_err(failed("read", path))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::File {
        doing,
        path: path.into(),
        source,
    }
}
