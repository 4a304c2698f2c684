//! What the kernel's command line asks for: words `ward.NAME=VALUE`.

use std::fs;
use std::str::FromStr;

use anyhow::{Context, Result};

/// The command line.
pub(crate) struct Args(String);

impl Args {
    /// This boot's.
    pub(crate) fn read() -> Result<Self> {
        let line = fs::read_to_string("/proc/cmdline").context("cannot read /proc/cmdline")?;
        Ok(Args(line.trim_end().to_owned()))
    }

    /// All of it.
    pub(crate) fn line(&self) -> &str {
        &self.0
    }

    /// The value of `ward.NAME=`, the last one if there are several.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.split_whitespace().rev().find_map(|word| {
            word.strip_prefix("ward.")?
                .strip_prefix(name)?
                .strip_prefix('=')
        })
    }

    /// The same as a number or whatever else.
    pub(crate) fn value<T: FromStr>(&self, name: &str) -> Result<T> {
        let text = self
            .text(name)
            .with_context(|| format!("the command line has no ward.{name}="))?;
        text.parse()
            .ok()
            .with_context(|| format!("ward.{name}={text} is not understood"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found() {
        let args = Args("console=x ward.cpus=2 ward.scenario=main ward.cpus=4".to_owned());
        assert_eq!(args.value::<usize>("cpus").unwrap(), 4);
        assert_eq!(args.text("scenario"), Some("main"));
        assert_eq!(args.text("cpu"), None);
        assert!(args.value::<usize>("scenario").is_err());
        assert!(args.value::<usize>("memory").is_err());
    }
}
