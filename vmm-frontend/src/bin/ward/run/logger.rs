//! Messages of the VMM on standard error, one line each.

use super::args::LogLevel;
use log::{LevelFilter, Log, Metadata, Record};
use std::io::Write;

struct Stderr;

/// Shows messages of this level and above.
pub fn start(level: LogLevel) {
    // Set already: by nobody but a test.
    let _ = log::set_logger(&Stderr);
    log::set_max_level(match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
    });
}

impl Log for Stderr {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        let level = record.level().as_str().to_ascii_lowercase();
        let line = format!("ward: {level}: {}\n", record.args());
        // In one write, so that lines of several threads stay whole; nobody to tell of errors.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}
