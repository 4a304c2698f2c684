//! A supervised run: shows and keeps the console, and ends QEMU when its time is up.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::{paths, run};

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Console {
    /// What the machine printed, line by line, with QEMU's own messages marked `qemu: `.
    pub(crate) lines: Vec<String>,
    /// How it ended.
    pub(crate) end: End,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// QEMU ended by itself.
    Exited(ExitStatus),
    /// QEMU was ended after this time.
    TimedOut(Duration),
    /// QEMU was ended because of its last lines.
    GivenUp,
}

impl Console {
    /// Whether the machine printed exactly this line.
    pub(crate) fn has(&self, line: &str) -> bool {
        self.lines.iter().any(|printed| printed == line)
    }

    /// Keeps the lines in target/ward/logs; returns the file's name for people.
    pub(crate) fn keep(&self, name: &str) -> Result<String> {
        let log = paths::log_dir()?.join(format!("{name}.log"));
        fs::write(&log, self.lines.join("\n") + "\n")
            .with_context(|| format!("cannot write {}", log.display()))?;
        Ok(paths::display(&log))
    }

    /// What is wrong with how the run ended, if anything.
    pub(crate) fn bad_end(&self) -> Option<String> {
        match self.end {
            End::Exited(status) if status.success() => None,
            End::Exited(status) => Some(format!("QEMU ended with an error ({status})")),
            End::GivenUp => Some("the machine was ended: it cannot go on".to_owned()),
            End::TimedOut(limit) => {
                let last = self.lines.last().map_or("", String::as_str);
                Some(format!(
                    "the machine did not power off within {} s; its last line was: {last:?}",
                    limit.as_secs()
                ))
            }
        }
    }
}

/// Ends the child on every way out, so that no machine is left running.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The command, ended by the kernel when this program is ended by a signal: nobody would drop the
/// guard then. Where `setpriv` is missing it is as it was.
fn with_us(command: &Command) -> Command {
    let words = ["--pdeathsig", "KILL", "--"];
    let found = Command::new("setpriv").args(words).arg("true").output();
    let mut with = if found.is_ok_and(|output| output.status.success()) {
        let mut with = Command::new("setpriv");
        with.args(words).arg(command.get_program());
        with
    } else {
        Command::new(command.get_program())
    };
    with.args(command.get_args());
    with
}

/// How long a machine may go on talking after a line that says that it cannot go on.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Runs the command to its end or for `limit`; with `show` its lines also go to our output.
pub(crate) fn watch(command: &mut Command, limit: Option<Duration>, show: bool) -> Result<Console> {
    watch_until(command, limit, show, |_| false)
}

/// The same, but not much longer than until a line that says that the machine cannot go on.
pub(crate) fn watch_until(
    command: &mut Command,
    limit: Option<Duration>,
    show: bool,
    mut hopeless: impl FnMut(&str) -> bool,
) -> Result<Console> {
    let start = Instant::now();
    let mut last_words: Option<Instant> = None;
    let command = &mut with_us(command);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().with_context(|| {
        format!(
            "cannot start `{}`: `cargo xtask setup` installs QEMU",
            run::shell_line(command)
        )
    })?;
    let mut child = Guard(child);
    let (sender, lines) = mpsc::channel();
    if let Some(stdout) = child.0.stdout.take() {
        forward(stdout, "", sender.clone());
    }
    if let Some(stderr) = child.0.stderr.take() {
        forward(stderr, "qemu: ", sender);
    }
    let mut seen = Vec::new();
    let mut closed = false;
    while !closed {
        // Without a limit, waits of an hour are repeated for ever.
        let mut left = limit.map_or(Duration::from_secs(3600), |limit| {
            limit.saturating_sub(start.elapsed())
        });
        if let Some(since) = last_words {
            left = left.min(LAST_WORDS.saturating_sub(since.elapsed()));
        }
        match lines.recv_timeout(left) {
            Ok(line) => {
                if show {
                    println!("{line}");
                }
                if hopeless(&line) {
                    last_words.get_or_insert_with(Instant::now);
                }
                seen.push(line);
            }
            Err(RecvTimeoutError::Disconnected) => closed = true,
            Err(RecvTimeoutError::Timeout) => {
                if last_words.is_some() {
                    return Ok(Console {
                        lines: seen,
                        end: End::GivenUp,
                    });
                }
                if let Some(limit) = limit {
                    return Ok(Console {
                        lines: seen,
                        end: End::TimedOut(limit),
                    });
                }
            }
        }
    }
    let status = child.0.wait().context("lost track of QEMU")?;
    Ok(Console {
        lines: seen,
        end: End::Exited(status),
    })
}

/// Sends each line on, without line ends and with escape sequences and such kept.
fn forward(from: impl Read + Send + 'static, mark: &'static str, to: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line);
            if to
                .send(format!("{mark}{}", line.trim_end_matches('\r')))
                .is_err()
            {
                break;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: u64) -> Console {
        watch(
            Command::new("sh").args(["-c", script]),
            Some(Duration::from_millis(limit)),
            false,
        )
        .unwrap()
    }

    #[test]
    fn lines_are_kept_without_their_ends() {
        let console = shell(r"printf 'one\r\ntwo\n\377three'; echo oops >&2", 10_000);
        assert!(
            console.has("one")
                && console.has("two")
                && console.has("qemu: oops")
                && !console.has("tw")
        );
        assert!(console.lines.iter().any(|line| line.ends_with("three")));
        assert_eq!(console.bad_end(), None);
    }

    #[test]
    fn a_failing_machine_is_not_a_success() {
        let message = shell("exit 3", 10_000).bad_end().unwrap();
        assert!(message.contains("exit status: 3"), "{message}");
    }

    #[test]
    fn a_hanging_machine_is_ended_and_its_last_line_quoted() {
        let start = Instant::now();
        let console = shell("echo before; exec sleep 60", 300);
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!(console.has("before"));
        assert!(console.bad_end().unwrap().contains("before"));
    }

    #[test]
    fn a_hopeless_machine_is_not_waited_for_but_its_last_words_are() {
        let start = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "echo panic; echo why; exec sleep 60"]);
        let console = watch_until(&mut command, None, false, |line| line == "panic").unwrap();
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!(console.has("why") && console.end == End::GivenUp);
        assert!(console.bad_end().is_some());
    }

    #[test]
    fn a_talkative_machine_is_ended_too() {
        let console = shell("while :; do echo again; sleep 0.01; done", 300);
        assert!(matches!(console.end, End::TimedOut(_)));
    }
}
