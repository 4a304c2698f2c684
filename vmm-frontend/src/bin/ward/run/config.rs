//! What is to be run, worked out of the command line before anything is done.

use super::args::{ConsoleArg, DiskArg, NetArg, RunArgs};
use crate::args::Output;
use std::fs;
use std::path::{Path, PathBuf};
use vmm_frontend::Error;
use vmm_frontend::control::good_name;
use vmm_frontend::guest::Guest;
use vmm_frontend::kernel;
use vmm_frontend::layout::Machine;
use vmm_frontend::vm::{HostError, Payload};

/// How a guest is protected; see `vmm_frontend::vm::Mode`, which exists on arm64 only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protection {
    Ward,
    Unverified,
    None,
}

impl Protection {
    pub fn name(self) -> &'static str {
        match self {
            Protection::Ward => "protected",
            Protection::Unverified => "unverified",
            Protection::None => "normal",
        }
    }
}

/// What a guest starts from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    Bundle(PathBuf),
    Kernel {
        kernel: PathBuf,
        initrd: Option<PathBuf>,
        append: String,
        machine: Machine,
    },
}

#[derive(Clone)]
#[cfg_attr(
    not(target_arch = "aarch64"),
    allow(dead_code, reason = "no KVM to run it")
)]
pub struct Config {
    pub source: Source,
    pub protection: Protection,
    pub name: String,
    /// The user chose the name.
    pub named: bool,
    pub disks: Vec<DiskArg>,
    pub nets: Vec<NetArg>,
    pub vsock: Option<u32>,
    pub rng: bool,
    pub console: ConsoleArg,
    pub reboot: bool,
    pub seccomp: bool,
    pub kvm: PathBuf,
    pub output: Output,
}

impl Config {
    pub fn new(args: &RunArgs, output: Output) -> Result<Self, Error> {
        let protection = match (args.normal, args.unverified) {
            (true, _) => Protection::None,
            (_, true) => Protection::Unverified,
            _ => Protection::Ward,
        };
        let source = source(args)?;
        if matches!(source, Source::Kernel { .. }) && protection == Protection::Ward {
            return Err(HostError::NotSigned.into());
        }
        let name = args.name.clone().unwrap_or_else(|| default_name(&source));
        if !good_name(&name) {
            return Err(vmm_frontend::control::ControlError::BadName(name).into());
        }
        Ok(Config {
            source,
            protection,
            name,
            named: args.name.is_some(),
            disks: args.disk.clone(),
            nets: args.net.clone(),
            vsock: args.vsock,
            rng: args.rng,
            console: args.console.clone(),
            reboot: !args.no_reboot,
            seccomp: !args.no_seccomp,
            kvm: args.kvm.clone(),
            output,
        })
    }

    /// Reads what the guest starts from.
    pub fn payload(&self) -> Result<Payload, Error> {
        match &self.source {
            Source::Bundle(file) => Payload::from_bundle(&read(file)?),
            Source::Kernel {
                kernel,
                initrd,
                append,
                machine,
            } => {
                let guest = Guest {
                    machine: *machine,
                    kernel: kernel::read(kernel)?,
                    initrd: initrd.as_deref().map(read).transpose()?,
                    command_line: append.clone(),
                    bounce: self.protection != Protection::None,
                };
                Ok(Payload::from_spec(guest.into_spec()?))
            }
        }
    }
}

fn source(args: &RunArgs) -> Result<Source, Error> {
    if let Some(kernel) = &args.kernel {
        let memory = args.memory.unwrap_or(512 << 20);
        return Ok(Source::Kernel {
            kernel: kernel.clone(),
            initrd: args.initrd.clone(),
            append: args.append.clone().unwrap_or_default(),
            machine: Machine::new(args.cpus.unwrap_or(1), memory)?,
        });
    }
    // The command line has one of both.
    Ok(Source::Bundle(args.bundle.clone().unwrap_or_default()))
}

/// The file's name, without what cannot be in a guest's.
fn default_name(source: &Source) -> String {
    let (Source::Bundle(file) | Source::Kernel { kernel: file, .. }) = source;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let fits = |c: &char| c.is_ascii_alphanumeric() || "_-.".contains(*c);
    let name: String = stem.chars().filter(fits).take(40).collect();
    match name.trim_start_matches('.') {
        "" => "guest".into(),
        name => name.into(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::File {
        doing: "read",
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_become_names_of_guests() {
        let name = |file: &str| default_name(&Source::Bundle(file.into()));
        assert_eq!(name("/a/debian-13.ward"), "debian-13");
        assert_eq!(name("a b.ward"), "ab");
        for odd in ["", "/", "...", "ü.ward", ".hidden", &"x".repeat(300)] {
            assert!(good_name(&name(odd)), "{odd}");
        }
    }
}
