//! What is missing and how to get it, as data: what is printed is what would be run.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

use crate::run::{quote, say};

/// One missing thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// What is missing, where it was looked for, and why it is needed.
    pub(super) what: String,
    /// How to get it.
    pub(super) fix: Fix,
}

/// How to get a missing thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fix {
    /// Do these in order.
    Steps(Vec<Step>),
    /// Only a person can decide this; the text says what to do.
    ByHand(String),
}

/// One action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Run a command as the user.
    User(Vec<String>),
    /// Run a command as root.
    Root(Vec<String>),
    /// Write a file as root.
    RootFile { path: String, content: String },
}

impl Step {
    /// A command as the user, from its words.
    pub(super) fn user(words: &[&str]) -> Self {
        Step::User(words.iter().map(|&word| word.to_owned()).collect())
    }

    /// A command as root, from its words.
    pub(super) fn root(words: &[&str]) -> Self {
        Step::Root(words.iter().map(|&word| word.to_owned()).collect())
    }

    /// Does it, announced; the error names the command and what it printed is above.
    pub(super) fn apply(&self) -> Result<()> {
        say(&format!("setup: {}", self.shell()));
        let (mut command, input) = match self {
            Step::User(words) => (command_of(words), None),
            Step::Root(words) => (command_of(&as_root(words)), None),
            Step::RootFile { path, content } if is_root() => {
                return fs::write(path, content).with_context(|| format!("cannot write {path}"));
            }
            Step::RootFile { path, content } => (
                command_of(&as_root(&["tee".to_owned(), path.clone()])),
                Some(content),
            ),
        };
        command.stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        // What commands print belongs to the progress, not to our result.
        command.stdout(std::io::stderr());
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.shell()))?;
        if let (Some(content), Some(mut stdin)) = (input, child.stdin.take()) {
            stdin
                .write_all(content.as_bytes())
                .with_context(|| format!("`{}` took no input", self.shell()))?;
        }
        let status = child
            .wait()
            .with_context(|| format!("lost track of `{}`", self.shell()))?;
        if !status.success() {
            bail!(
                "`{}` failed ({status}); its own messages are above",
                self.shell()
            );
        }
        Ok(())
    }

    /// As a person would type it.
    pub(super) fn shell(&self) -> String {
        let line = |words: &[String]| {
            words
                .iter()
                .map(|word| quote(word))
                .collect::<Vec<_>>()
                .join(" ")
        };
        match self {
            Step::User(words) => line(words),
            Step::Root(words) => format!("sudo {}", line(words)),
            Step::RootFile { path, content } => {
                format!("sudo tee {} <<'EOF'\n{content}EOF", quote(path))
            }
        }
    }

    fn needs_root(&self) -> bool {
        !matches!(self, Step::User(_))
    }
}

impl Missing {
    /// Whether the fix can be applied without asking anyone.
    pub(super) fn can_apply(&self) -> bool {
        match &self.fix {
            Fix::ByHand(_) => false,
            Fix::Steps(steps) => {
                !steps.iter().any(Step::needs_root) || is_root() || sudo_asks_nothing()
            }
        }
    }

    /// What is missing and what to do about it, over several lines.
    pub(super) fn report(&self) -> String {
        let todo = match &self.fix {
            Fix::ByHand(advice) => indent(advice),
            Fix::Steps(steps) => {
                let lines: Vec<String> = steps.iter().map(|step| indent(&step.shell())).collect();
                format!("  run:\n{}", lines.join("\n"))
            }
        };
        format!("* {}\n{todo}", self.what)
    }
}

// A here-document's end must stand at the start of a line, so such steps are not indented.
fn indent(text: &str) -> String {
    if text.contains("<<'EOF'") {
        text.to_owned()
    } else {
        format!("    {}", text.replace('\n', "\n    "))
    }
}

fn command_of(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn as_root(words: &[String]) -> Vec<String> {
    let sudo = ["sudo", "-n", "DEBIAN_FRONTEND=noninteractive"].map(str::to_owned);
    if is_root() {
        words.to_vec()
    } else {
        sudo.into_iter().chain(words.iter().cloned()).collect()
    }
}

fn is_root() -> bool {
    static ROOT: OnceLock<bool> = OnceLock::new();
    *ROOT.get_or_init(|| {
        Command::new("id")
            .arg("-u")
            .output()
            .is_ok_and(|output| output.stdout == b"0\n")
    })
}

fn sudo_asks_nothing() -> bool {
    static SUDO: OnceLock<bool> = OnceLock::new();
    *SUDO.get_or_init(|| {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        sudo.status().is_ok_and(|status| status.success())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_can_be_pasted() {
        let missing = Missing {
            what: "QEMU: not found".to_owned(),
            fix: Fix::Steps(vec![
                Step::RootFile {
                    path: "/etc/x".to_owned(),
                    content: "a\nb\n".to_owned(),
                },
                Step::root(&["apt-get", "install", "a b"]),
            ]),
        };
        let expected = "* QEMU: not found\n  run:\nsudo tee /etc/x <<'EOF'\na\nb\nEOF\n    sudo apt-get install 'a b'";
        assert_eq!(missing.report(), expected);
    }

    #[test]
    fn advice_is_never_applied() {
        let missing = Missing {
            what: String::new(),
            fix: Fix::ByHand("think".to_owned()),
        };
        assert!(!missing.can_apply());
        assert!(missing.report().contains("think"));
    }

    #[test]
    fn a_failing_step_says_which() {
        let error = Step::user(&["false"]).apply().unwrap_err().to_string();
        assert!(error.contains("`false` failed"), "{error}");
    }
}
