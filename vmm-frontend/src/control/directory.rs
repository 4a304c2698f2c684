//! Names of running guests, and where their sockets are.

use super::ControlError;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Letters of the longest name; a socket's path has about 100.
const LONGEST: usize = 48;
const SUFFIX: &str = ".sock";

/// Whether a guest may have this name: it becomes the name of a file.
pub fn good_name(name: &str) -> bool {
    let letters = name.bytes();
    (1..=LONGEST).contains(&name.len())
        && !name.starts_with('.')
        && letters
            .into_iter()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Where this user's sockets are: `ward` in `$XDG_RUNTIME_DIR`, or `/run/ward` for root without
/// that.
pub fn own_directory() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    // SAFETY: takes nothing and touches no memory.
    let user = unsafe { libc::geteuid() };
    match runtime {
        Some(dir) => PathBuf::from(dir).join("ward"),
        None if user == 0 => "/run/ward".into(),
        None => format!("/run/user/{user}/ward").into(),
    }
}

/// All directories in which this user looks for guests.
pub fn directories() -> Vec<PathBuf> {
    let mut all = vec![own_directory()];
    let system = PathBuf::from("/run/ward");
    if !all.contains(&system) {
        all.push(system);
    }
    all
}

/// A name that is this process's, with the socket on which it listens. The socket's file goes
/// when this is dropped.
pub struct Claim {
    /// The name.
    pub name: String,
    /// The socket's file.
    pub path: PathBuf,
    /// Where requests come in.
    pub listener: UnixListener,
}

impl Claim {
    /// Takes `name` in `directory`, which is made if it is not there. Without `exact`, a name that
    /// a running guest has gets a number behind it.
    ///
    /// # Errors
    /// [`ControlError`]: the name cannot be one, is taken, or the directory cannot be used.
    pub fn new(directory: &Path, name: &str, exact: bool) -> Result<Self, ControlError> {
        if !good_name(name) {
            return Err(ControlError::BadName(name.into()));
        }
        let failed = |source| ControlError::Directory {
            path: directory.into(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed)?;
        // Two starting guests must not both find a socket of a dead one and remove it.
        let lock = File::create(directory.join(".lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        for number in 1..=99 {
            let name = match number {
                1 => name.to_owned(),
                _ => format!("{name}-{number}"),
            };
            let path = directory.join(format!("{name}{SUFFIX}"));
            if let Some(listener) = bind(&path).map_err(failed)? {
                return Ok(Claim {
                    name,
                    path,
                    listener,
                });
            }
            if exact {
                return Err(ControlError::Taken(name));
            }
        }
        Err(ControlError::Taken(name.into()))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // It may be gone already, with its directory.
        let _ = fs::remove_file(&self.path);
    }
}

/// Listens at a path, unless somebody else does.
fn bind(path: &Path) -> io::Result<Option<UnixListener>> {
    if UnixStream::connect(path).is_ok() {
        return Ok(None);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => (),
    }
    UnixListener::bind(path).map(Some)
}

/// The sockets in a directory: name and path.
pub(super) fn sockets(directory: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            let name = file.strip_suffix(SUFFIX)?;
            good_name(name).then(|| (name.to_owned(), entry.path()))
        })
        .collect();
    found.sort();
    found
}
