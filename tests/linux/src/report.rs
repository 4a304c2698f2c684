//! Saying what came of a test.
//!
//! Each line begins with a mark, `WARD-HOST` or `WARD-GUEST`: `plan BOOT: NAME NAME …` before a boot's tests, then for each
//! `begin NAME` and either `ok NAME` or `FAILED NAME: why`; `note …` for what a person may want to
//! know; `end BOOT` after the last. Every result is said a second time before `end`, in case a line
//! of Ward's, which shares the UART without a lock, tore the first.

use std::fs::{File, OpenOptions};
use std::io::Write;

/// Where lines go, and what was said.
pub(crate) struct Report {
    mark: &'static str,
    log: Option<File>,
    boot: String,
    results: Vec<String>,
}

impl Report {
    /// The kernel's log, or the console where it cannot be had, or where the kernel is told to be
    /// quiet.
    pub(crate) fn open(mark: &'static str, quiet: bool) -> Self {
        Report {
            mark,
            log: (!quiet)
                .then(|| OpenOptions::new().write(true).open("/dev/kmsg").ok())
                .flatten(),
            boot: String::new(),
            results: Vec::new(),
        }
    }

    /// Before the tests of a boot.
    pub(crate) fn plan(&mut self, boot: &str, names: &[&str]) {
        boot.clone_into(&mut self.boot);
        self.line(&format!("plan {boot}: {}", names.join(" ")));
    }

    /// Before a test, so that one that hangs is named.
    pub(crate) fn begin(&mut self, name: &str) {
        self.line(&format!("begin {name}"));
    }

    /// A test passed.
    pub(crate) fn ok(&mut self, name: &str) {
        self.result(format!("ok {name}"));
    }

    /// A test failed.
    pub(crate) fn failed(&mut self, name: &str, why: &str) {
        self.result(format!("FAILED {name}: {}", why.replace('\n', "; ")));
    }

    /// Something worth knowing.
    pub(crate) fn note(&mut self, text: &str) {
        self.line(&format!("note {text}"));
    }

    /// After the tests of a boot; there may be none.
    pub(crate) fn end(&mut self) {
        for result in std::mem::take(&mut self.results) {
            self.line(&result);
        }
        let boot = std::mem::take(&mut self.boot);
        self.line(&format!("end {boot}"));
        // A machine that is switched off does not wait for its UART. There may be none here.
        let _ = rustix::termios::tcdrain(std::io::stderr());
    }

    fn result(&mut self, result: String) {
        self.line(&result);
        self.results.push(result);
    }

    fn line(&mut self, text: &str) {
        let line = format!("{} {text}\n", self.mark);
        // Priority 5, "notice": on the console at the usual log level.
        let written = self
            .log
            .as_mut()
            .map(|log| log.write_all(format!("<5>{line}").as_bytes()));
        if !matches!(written, Some(Ok(()))) {
            eprint!("{line}");
        }
    }
}
