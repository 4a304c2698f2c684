//! Asking running guests.

use super::{Request, directories, directory};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long an answer may take. A VMM answers at once, unless its host is out of breath.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of the longest answer.
const LONGEST: u64 = 1 << 20;

/// Why a running guest could not be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No guest can have this name.
    #[error("`{0}` cannot be a guest's name")]
    BadName(String),
    /// A running guest has it.
    #[error("a guest named `{0}` is running")]
    Taken(String),
    /// The directory of the sockets cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No guest has this name.
    #[error("no guest named `{name}` is running{}", others(among))]
    NoGuest {
        /// The name asked for.
        name: String,
        /// Those that run.
        among: Vec<String>,
    },
    /// The guest's VMM does not answer.
    #[error("the VMM of `{name}` does not answer: {source}")]
    Silent {
        /// The guest.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The guest's VMM refused.
    #[error("the VMM of `{name}` says: {why}")]
    Refused {
        /// The guest.
        name: String,
        /// Its words.
        why: String,
    },
}

impl ControlError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            ControlError::BadName(_) => "use 1 to 48 letters, digits, dots, dashes and underscores, no dot first".into(),
            ControlError::Taken(name) => format!("give another --name, or end that one with `ward stop {name}`"),
            ControlError::Directory { .. } => {
                "set XDG_RUNTIME_DIR to a directory of yours on a file system in memory, or run as root".into()
            }
            ControlError::NoGuest { .. } => {
                "`ward list` shows yours; other users' guests only they and root can see".into()
            }
            ControlError::Silent { .. } => "`ward stop --force` ends it without asking the guest, `kill -9` (`ward list` has its PID) without asking the VMM".into(),
            ControlError::Refused { .. } => "use the `ward` that started it".into(),
        }
    }
}

fn others(among: &[String]) -> String {
    match among {
        [] => "; none is".into(),
        _ => format!("; there are {}", among.join(", ")),
    }
}

/// A running guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guest {
    /// Its name.
    pub name: String,
    /// Its socket.
    pub socket: PathBuf,
}

/// The running guests that this user can reach. Sockets of dead ones are removed.
pub fn guests() -> Vec<Guest> {
    let mut found = Vec::new();
    for directory in directories() {
        for (name, socket) in directory::sockets(&directory) {
            match UnixStream::connect(&socket) {
                Ok(_) => found.push(Guest { name, socket }),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    // Left by one that was killed. Another may do the same at this moment.
                    let _ = std::fs::remove_file(&socket);
                }
                // Somebody else's, or a busy one.
                Err(_) => (),
            }
        }
    }
    found
}

/// Asks one guest.
///
/// # Errors
/// [`ControlError`]: it does not answer, or refuses.
pub fn ask(guest: &Guest, request: Request) -> Result<Value, ControlError> {
    let silent = |source| ControlError::Silent {
        name: guest.name.clone(),
        source,
    };
    let answer = exchange(guest, request).map_err(silent)?;
    let value: Value = serde_json::from_str(&answer).map_err(|e| silent(e.into()))?;
    match value.get("error").and_then(Value::as_str) {
        Some(why) => Err(ControlError::Refused {
            name: guest.name.clone(),
            why: why.into(),
        }),
        None => Ok(value),
    }
}

fn exchange(guest: &Guest, request: Request) -> io::Result<String> {
    let mut stream = UnixStream::connect(&guest.socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    writeln!(stream, "{}", request.word())?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST)).read_line(&mut line)?;
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up"));
    }
    Ok(line)
}
