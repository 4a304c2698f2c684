//! Child processes: every one is announced, and a failing one is named with its whole command line.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use crate::paths;

/// An error that means "nothing was tried": the exit status is then 2, not 1.
#[derive(Debug)]
pub(crate) struct CannotStart(pub(crate) String);

impl fmt::Display for CannotStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CannotStart {}

/// The content of a file that the user named: a wrong name is a wrong argument.
pub(crate) fn named_file(path: &Path) -> Result<Vec<u8>> {
    fs::read(path)
        .map_err(|error| CannotStart(format!("cannot read {}: {error}", path.display())).into())
}

/// Says what is being done, before anything that may take longer than two seconds.
pub(crate) fn say(what: &str) {
    eprintln!("==> {what}");
}

/// The pinned cargo, started in the workspace's top directory.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(args)
        .current_dir(paths::root())
        .env("CARGO_TARGET_DIR", paths::target_dir());
    command
}

/// The command as one would type it.
pub(crate) fn shell_line(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let name = program.rsplit('/').next().unwrap_or(&program).to_owned();
    let mut line = quote(&name);
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&quote(&arg.to_string_lossy()));
    }
    line
}

/// Quotes one word for a POSIX shell where it needs it.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Runs the command with its output on our terminal; a failure is an error.
pub(crate) fn status(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| not_started(command))?;
    check(command, status)
}

/// Runs the command and returns what it printed; a failure is an error that quotes its stderr.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| not_started(command))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{}` failed ({}): {}",
            shell_line(command),
            output.status,
            stderr.trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs the command, repeats its standard output line by line on ours and shows each line to
/// `look`. Returns whether the command succeeded.
pub(crate) fn tee(command: &mut Command, mut look: impl FnMut(&str)) -> Result<bool> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| not_started(command))?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line
                .with_context(|| format!("cannot read the output of `{}`", shell_line(command)))?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            look(&line);
        }
    }
    let status = child
        .wait()
        .with_context(|| format!("lost track of `{}`", shell_line(command)))?;
    Ok(status.success())
}

fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!(
            "`{}` failed ({status}); its own messages are above",
            shell_line(command)
        );
    }
    Ok(())
}

fn not_started(command: &Command) -> String {
    format!(
        "cannot start `{}`: is it installed and in PATH? `cargo xtask setup` names what is missing",
        shell_line(command)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_can_be_pasted_into_a_shell() {
        let mut command = Command::new("/usr/bin/qemu");
        command.args(["-device", "guest-loader,bootargs=a b", "", "it's"]);
        assert_eq!(
            shell_line(&command),
            r"qemu -device 'guest-loader,bootargs=a b' '' 'it'\''s'"
        );
    }

    #[test]
    fn failures_name_the_command_and_why() {
        let error = output(Command::new("sh").args(["-c", "echo no disk >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("exit 3") && error.contains("no disk"),
            "{error}"
        );
        let error = format!(
            "{:#}",
            status(&mut Command::new("/nonexistent/tool")).unwrap_err()
        );
        assert!(error.contains("cannot start `tool`"), "{error}");
    }

    #[test]
    fn tee_shows_every_line_and_the_result() {
        let mut seen = Vec::new();
        let ok = tee(
            Command::new("sh").args(["-c", "echo one; printf two; exit 1"]),
            |line| seen.push(line.to_owned()),
        )
        .unwrap();
        assert!(!ok);
        assert_eq!(seen, ["one", "two"]);
    }
}
