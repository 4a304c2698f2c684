//! What can go wrong, and what the reader can do about it.

use crate::exit;
use hyp_core::abi::manifest::BadField;
use hyp_core::verify::Refusal;
use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

/// Why something was not done. The text says what is wrong and where; [`Error::remedy`] what to
/// do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or the random source could not be used.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// Verb: read, write, create.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A text is not a key.
    #[error("not a {wanted} key: {why}")]
    Key {
        /// public or secret.
        wanted: &'static str,
        /// What is wrong with the text.
        why: &'static str,
    },
    /// A file does not hold what it is given for.
    #[error("{}: {what}", file.display())]
    Input {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// A setting of a configuration file is wrong.
    #[error("{}:{line}:{column}: {what}", file.display())]
    Setting {
        /// The file.
        file: PathBuf,
        /// Where in it, counted from 1.
        line: usize,
        /// Where in the line, counted from 1.
        column: usize,
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
        /// The place as a picture, `what` included.
        picture: String,
    },
    /// A machine, or what shall run in it, cannot be as asked.
    #[error("{what}")]
    Machine {
        /// What is wrong, with its numbers.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// This host does not show something of Ward's.
    #[error("cannot read {what}: {why}")]
    Hidden {
        /// What was asked for.
        what: &'static str,
        /// Why it is not there.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The parts asked for do not make a guest that Ward could start.
    #[error("these parts make no guest: {0}")]
    Spec(BadField),
    /// A file is not a bundle, or is damaged.
    #[error("not a usable bundle: {0}")]
    Bundle(BadField),
    /// Ward would refuse to start this guest.
    #[error("{0}")]
    Refused(Refusal),
    /// An image is not what its owner signed.
    #[error("images[{index}]: not the signed bytes ({kind} at {ipa:#x})")]
    Changed {
        /// Which image of the manifest.
        index: usize,
        /// What it is: kernel, initrd, device tree.
        kind: &'static str,
        /// Where it goes in the guest.
        ipa: u64,
    },
    /// This host does not start the guest.
    #[error(transparent)]
    Host(#[from] crate::vm::HostError),
    /// A running guest cannot be reached, or a new one cannot have its name.
    #[error(transparent)]
    Control(#[from] crate::control::ControlError),
}

impl Error {
    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        Error::File {
            doing,
            path,
            source,
        }
    }

    /// What to do about it, in one sentence.
    pub fn remedy(&self) -> Cow<'static, str> {
        let fixed = match self {
            Error::Machine { remedy, .. }
            | Error::Input { remedy, .. }
            | Error::Setting { remedy, .. } => return remedy.clone().into(),
            Error::Hidden { remedy, .. } => remedy,
            Error::Host(host) => return host.remedy().into(),
            Error::Control(control) => return control.remedy().into(),
            Error::File { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => "check the path; the directory must exist",
                io::ErrorKind::PermissionDenied => "check the owner and mode of file and directory",
                io::ErrorKind::AlreadyExists => {
                    "choose another name, or move the old file away: existing keys are never \
                     overwritten, for without its key a guest can never be updated"
                }
                _ => "see the system's reason above",
            },
            Error::Key {
                wanted: "secret", ..
            } => "give the file that `ward keygen --out FILE` wrote as FILE",
            Error::Key { .. } => "give the file that `ward keygen --out FILE` wrote as FILE.pub",
            Error::Spec(bad) => spec_remedy(bad),
            Error::Bundle(_) => "get the file again, or make it again with `ward bundle`",
            Error::Refused(Refusal::UntrustedKey) => {
                "if you trust its signer (`ward inspect` shows the key), give his .pub file with --trust"
            }
            Error::Refused(Refusal::Manifest(_)) => {
                "make the bundle again with `ward bundle`, or allow what this machine can do with --ipa-bits"
            }
            Error::Refused(_) | Error::Changed { .. } => {
                "the bundle was changed after it was signed: get it again from its owner"
            }
        };
        fixed.into()
    }
}

impl Error {
    /// The status with which `ward` ends for it.
    pub fn exit(&self) -> u8 {
        match self {
            Error::File { .. } => exit::FILE,
            Error::Hidden { .. } => exit::HOST,
            Error::Host(host) if !host.blames_the_guest() => exit::HOST,
            _ => exit::REFUSED,
        }
    }
}

fn spec_remedy(bad: &BadField) -> &'static str {
    let list = bad.index.map_or("", |(list, _)| list);
    match (list, bad.field, bad.why) {
        (_, "regions", _) => "give at most 16 of --ram and --mmio together",
        (_, "images", _) => "give at most 16 of --image",
        (_, "vcpus", _) => "give --vcpus a number from 1 to 64",
        (_, "entry", _) => {
            "give one --image kernel=FILE@IPA, and --entry (if at all) an address of its code"
        }
        (_, "boot argument", _) => {
            "give --boot-arg the address of an image, such as the device tree's"
        }
        ("regions", _, "overlaps an earlier region") => "move or shrink one of --ram and --mmio",
        ("regions", ..) => {
            "give --ram and --mmio addresses and sizes that are multiples of 4096, inside the \
             address space (--ipa-bits)"
        }
        ("images", _, "not page aligned") => "give images addresses that are multiples of 4096",
        ("images", _, "zero") => "an image needs at least one byte: check the file",
        ("images", ..) => "move the image, or enlarge --ram; images take whole pages of 4096 bytes",
        _ => "see `ward bundle --help`",
    }
}
