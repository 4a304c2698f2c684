//! A process whose lines are read as they come, with a limit.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A process.
pub(super) struct Process {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

/// How one ended.
pub(super) struct End {
    pub(super) status: ExitStatus,
    pub(super) lines: Vec<String>,
}

impl Process {
    /// Starts one.
    pub(super) fn start(program: &str, args: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Of its own: `ward run` is two processes, and both end when one is killed.
            .process_group(0);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let (sender, lines) = mpsc::channel();
        let out = child.stdout.take().context("no output")?;
        let err = child.stderr.take().context("no output")?;
        let other = sender.clone();
        thread::spawn(move || forward(out, &sender));
        thread::spawn(move || forward(err, &other));
        Ok(Process {
            child,
            lines,
            seen: Vec::new(),
        })
    }

    /// Its number.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line with these words in it.
    pub(super) fn line(&mut self, words: &str, limit: Duration) -> Result<String> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(words) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!(
                        "no line with {words:?} within {} s; {}",
                        limit.as_secs(),
                        self.last()
                    );
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("it ended without a line with {words:?}; {}", self.last());
                }
            }
        }
    }

    /// Waits for its end; one that does not end is killed, which is an error.
    pub(super) fn end(self, limit: Duration) -> Result<End> {
        self.tell(limit, |_| ())
    }

    /// The same, and tells of each line.
    pub(super) fn tell(mut self, limit: Duration, mut tell: impl FnMut(&str)) -> Result<End> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    tell(&line);
                    self.seen.push(line);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.kill();
                    bail!(
                        "it did not end within {} s; {}",
                        limit.as_secs(),
                        self.last()
                    );
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.wait().context("lost a process")?;
        Ok(End {
            status,
            lines: std::mem::take(&mut self.seen),
        })
    }

    fn kill(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        // All fail only when they have ended already.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn last(&self) -> String {
        let last = self.seen.iter().rev().take(8).rev();
        let last: Vec<&str> = last.map(String::as_str).collect();
        format!("its last lines: {last:?}")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn forward(from: impl std::io::Read, to: &mpsc::Sender<String>) {
    for line in BufReader::new(from).split(b'\n') {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line);
        if to.send(line.trim_end_matches('\r').to_owned()).is_err() {
            break;
        }
    }
}
