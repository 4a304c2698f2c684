//! The Rust toolchains: the pinned one with its components and targets, and a nightly with Miri.
//!
//! Presence is looked up in the toolchain's own directories, which takes milliseconds and also
//! works for toolchains that rustup does not manage.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::plan::{Fix, Missing, Step};
use crate::{paths, run};

const GET_RUSTUP: &str = "install rustup from https://rustup.rs, then run this again";

/// What the pinned toolchain lacks.
pub(super) fn pinned() -> Result<Vec<Missing>> {
    let file = paths::root().join("rust-toolchain.toml");
    let text = fs::read_to_string(&file).with_context(|| {
        format!(
            "cannot read {}: is this the Ward workspace?",
            file.display()
        )
    })?;
    let pin = Pin::parse(&text).with_context(|| format!("{} names no channel", file.display()))?;
    let (sysroot, host) = sysroot(Command::new("rustc").current_dir(paths::root()))?;

    let add = |kind: &str, name: &str| {
        let words = ["rustup", kind, "add", "--toolchain", &pin.channel, name];
        if has_rustup() {
            Fix::Steps(vec![Step::user(&words)])
        } else {
            Fix::ByHand(GET_RUSTUP.to_owned())
        }
    };
    let wanted = |kind: &str, names: &[String], file: fn(&str, &str) -> String| -> Vec<Missing> {
        let lacking = names
            .iter()
            .filter(|name| !sysroot.join(file(name, &host)).exists());
        lacking
            .map(|name| Missing {
                what: format!(
                    "Rust {kind} {name} of toolchain {}: not in {}",
                    pin.channel,
                    sysroot.display()
                ),
                fix: add(kind, name),
            })
            .collect()
    };
    let mut missing = wanted("target", &pin.targets, |target, _| {
        format!("lib/rustlib/{target}/lib")
    });
    missing.extend(wanted("component", &pin.components, component_file));
    Ok(missing)
}

/// What the nightly toolchain lacks, if anything; only the tier `miri` uses it.
pub(super) fn nightly() -> Option<Missing> {
    let mut rustc = Command::new("rustup");
    // Without `--install` rustup refuses instead of downloading.
    rustc
        .args(["run", "nightly", "rustc"])
        .env("RUSTUP_AUTO_INSTALL", "0");
    let steps = match sysroot(&mut rustc) {
        Ok((sysroot, host)) => {
            let lacking: Vec<&str> = ["miri", "rust-src"]
                .into_iter()
                .filter(|name| !sysroot.join(component_file(name, &host)).exists())
                .collect();
            if lacking.is_empty() {
                return None;
            }
            [
                &["rustup", "component", "add", "--toolchain", "nightly"],
                &lacking[..],
            ]
            .concat()
        }
        Err(_) => vec![
            "rustup",
            "toolchain",
            "install",
            "nightly",
            "--profile",
            "minimal",
            "-c",
            "miri",
            "-c",
            "rust-src",
        ],
    };
    let fix = if has_rustup() {
        Fix::Steps(vec![Step::user(&steps)])
    } else {
        Fix::ByHand(GET_RUSTUP.to_owned())
    };
    let what = "a nightly toolchain with miri and rust-src: `rustup run nightly` has none (only `cargo xtask test --tier miri` needs it)";
    Some(Missing {
        what: what.to_owned(),
        fix,
    })
}

/// What `rust-toolchain.toml` asks for.
#[derive(Debug, PartialEq, Eq)]
struct Pin {
    channel: String,
    components: Vec<String>,
    targets: Vec<String>,
}

impl Pin {
    /// Reads the few shapes that the file uses: `key = "text"` and `key = ["text", …]`.
    fn parse(text: &str) -> Option<Self> {
        let strings = |key: &str| -> Vec<String> {
            let code: Vec<&str> = text
                .lines()
                .map(|line| line.split('#').next().unwrap_or("").trim())
                .collect();
            let code = code.join("\n");
            let start = code
                .find(&format!("\n{key} ="))
                .map_or("", |at| &code[at + key.len() + 3..]);
            let end = if start.trim_start().starts_with('[') {
                start.find(']')
            } else {
                start.find('\n')
            };
            let value = &start[..end.unwrap_or(start.len())];
            value
                .split('"')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect()
        };
        let channel = strings("channel").into_iter().next()?;
        Some(Pin {
            channel,
            components: strings("components"),
            targets: strings("targets"),
        })
    }
}

/// A file of the toolchain that is there exactly when the component is.
fn component_file(name: &str, host: &str) -> String {
    match name {
        "rust-src" => "lib/rustlib/src/rust/library/core/src/lib.rs".to_owned(),
        "llvm-tools" => format!("lib/rustlib/{host}/bin/llvm-objdump"),
        "rustfmt" => "bin/cargo-fmt".to_owned(),
        "clippy" => "bin/cargo-clippy".to_owned(),
        "miri" => "bin/cargo-miri".to_owned(),
        other => format!("bin/{other}"),
    }
}

/// The directory and the host triple of the toolchain behind `rustc`.
fn sysroot(rustc: &mut Command) -> Result<(PathBuf, String)> {
    let text = run::output(rustc.args(["--print", "sysroot", "--print", "host-tuple"]))?;
    let mut lines = text.lines();
    let (sysroot, host) = lines.next().zip(lines.next()).with_context(|| {
        format!(
            "`{}` printed {text:?}, not a directory and a host",
            run::shell_line(rustc)
        )
    })?;
    Ok((PathBuf::from(sysroot), host.to_owned()))
}

/// The path of a tool of the component `llvm-tools`.
pub(crate) fn llvm_tool(name: &str) -> Result<PathBuf> {
    let (sysroot, host) = sysroot(Command::new("rustc").current_dir(paths::root()))?;
    Ok(sysroot
        .join("lib/rustlib")
        .join(host)
        .join("bin")
        .join(name))
}

fn has_rustup() -> bool {
    Command::new("rustup")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_of_this_workspace_is_read() {
        let text = fs::read_to_string(paths::root().join("rust-toolchain.toml")).unwrap();
        let pin = Pin::parse(&text).unwrap();
        assert!(pin.channel.starts_with("1."), "{pin:?}");
        assert!(
            pin.targets
                .iter()
                .any(|target| target == paths::BARE_TARGET),
            "{pin:?}"
        );
        assert!(
            pin.components
                .iter()
                .any(|component| component == "llvm-tools"),
            "{pin:?}"
        );
    }

    #[test]
    fn arrays_may_span_lines_and_comments_are_skipped() {
        let text = "[toolchain]\n# channel = \"no\"\nchannel = \"1.2\" # \"x\"\ntargets = [\n  \"a\", # one\n  \"b\",\n]\n";
        let pin = Pin::parse(text).unwrap();
        assert_eq!(pin.channel, "1.2");
        assert_eq!(pin.targets, ["a", "b"]);
        assert!(pin.components.is_empty());
        assert_eq!(Pin::parse("[toolchain]\n"), None);
    }
}
