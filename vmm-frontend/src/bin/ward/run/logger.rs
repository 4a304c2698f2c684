//! Messages of the VMM on standard error, one line each.

use super::args::LogLevel;
use log::{LevelFilter, Log, Metadata, Record};
use std::io::Write;

/// Says something on standard error, in one write: lines of several programs stay whole.
pub fn say(text: std::fmt::Arguments) {
    // Nobody to tell of errors.
    let _ = std::io::stderr().write_all(format!("ward: {text}\n").as_bytes());
}

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
        say(format_args!("{level}: {}", record.args()));
    }

    fn flush(&self) {}
}
