//! Options from the command line and from a file. Errors about what the file says show its line.

use crate::args::BundleArgs;
use std::ops;
use std::path::{Path, PathBuf};
use toml::Spanned;
use vmm_frontend::Error;
use vmm_frontend::config::{Config, Settings};
use vmm_frontend::size::Size;

/// A value, and where in the file it stands; `None` when the command line says it.
pub struct From<T> {
    pub value: T,
    place: Option<ops::Range<usize>>,
}

/// What to make.
pub struct Options {
    pub kernel: Option<From<PathBuf>>,
    pub initrd: Option<From<PathBuf>>,
    pub append: Option<From<String>>,
    pub cpus: From<u32>,
    pub memory: From<Size>,
    pub image_version: u64,
    pub key: PathBuf,
    pub out: PathBuf,
    config: Option<Config>,
}

impl Options {
    pub fn new(args: &BundleArgs) -> Result<Self, Error> {
        let config = args.config.as_deref().map(Config::read).transpose()?;
        let file = config.as_ref().map(|config| config.settings.clone());
        let Settings {
            kernel,
            initrd,
            append,
            cpus,
            memory,
            image_version,
            key,
            out,
        } = file.unwrap_or_default();
        let path = |mut from: From<PathBuf>| {
            if let (Some(_), Some(config)) = (&from.place, &config) {
                from.value = config.path(&from.value);
            }
            from
        };
        let needed = |name, value: Option<From<PathBuf>>| match value {
            Some(from) => Ok(path(from).value),
            None => Err(missing(args.config.as_deref(), name)),
        };
        let key = needed("key", pick(args.key.clone(), key))?;
        let out = needed("out", pick(args.out.clone(), out))?;
        let version = pick(args.image_version, image_version).or_default();
        Ok(Options {
            kernel: pick(args.kernel.clone(), kernel).map(path),
            initrd: pick(args.initrd.clone(), initrd).map(path),
            append: pick(args.append.clone(), append),
            cpus: pick(args.cpus, cpus).unwrap_or(From::new(1)),
            memory: pick(args.memory, memory).unwrap_or(From::new(Size(512 << 20))),
            image_version: version.0,
            key,
            out,
            config,
        })
    }

    /// The kernel, which there must be.
    pub fn kernel(&self) -> Result<&From<PathBuf>, Error> {
        let file = self.config.as_ref().map(Config::file);
        self.kernel.as_ref().ok_or_else(|| missing(file, "kernel"))
    }

    /// The error as one of the line of the file that `from` stands in, if it does.
    pub fn blame<T>(&self, from: &From<T>, error: Error) -> Error {
        match (&self.config, &from.place) {
            (Some(config), Some(place)) => {
                config.blame(place.clone(), &error.to_string(), &error.remedy())
            }
            _ => error,
        }
    }
}

impl<T> From<T> {
    fn new(value: T) -> Self {
        From { value, place: None }
    }
}

trait OrDefault<T> {
    fn or_default(self) -> T;
}

impl<T: Default> OrDefault<T> for Option<From<T>> {
    fn or_default(self) -> T {
        self.map(|from| from.value).unwrap_or_default()
    }
}

/// The command line's value, or the file's.
fn pick<T>(line: Option<T>, file: Option<Spanned<T>>) -> Option<From<T>> {
    let file = file.map(|spanned| From {
        place: Some(spanned.span()),
        value: spanned.into_inner(),
    });
    line.map(From::new).or(file)
}

fn missing(file: Option<&Path>, name: &str) -> Error {
    Error::Input {
        file: file.unwrap_or(Path::new("the command line")).into(),
        what: format!("names no {name}"),
        remedy: format!("add a line `{name} = \"FILE\"`, or --{name} FILE"),
    }
}
