//! One run of the EL1 test host: boots it, reads what it reports, and keeps the console.
//!
//! The test host prints `TEST name ... ok` or `TEST name ... FAIL reason` for each test, and at the
//! end `WARD-TESTS: N passed, 0 failed`; then it powers the machine off.

use std::time::Duration;

use anyhow::Result;

use super::machines::Run;
use super::tally::Tally;
use crate::image::Images;
use crate::payload::Guest;
use crate::qemu::Boot;
use crate::qemu::console::{self, Console};
use crate::run::say;

/// What Ward prints when it has found a bug in itself: the machine does not go on.
pub(super) const WARD_CRASH: &str = "ward! ";

/// Runs the suite on its machine, which has these devices beside (arguments of QEMU), and adds its
/// tests to the tally.
pub(super) fn run(run: &Run, images: &Images, devices: &[&str], tally: &mut Tally) -> Result<()> {
    let console = boot(run, images, devices)?;
    let log = console.keep(run.name)?;
    let mut report = Report::read(&console.lines);
    report.wrong.extend(console.bad_end());
    tally.console(run.name, &log, report.passed, &report.wrong);
    Ok(())
}

/// Boots the test host, and returns what it printed.
pub(super) fn boot(run: &Run, images: &Images, devices: &[&str]) -> Result<Console> {
    let machine = run.machine;
    say(&format!(
        "{}: suite {} on {} x {}, {} MiB",
        run.name, run.suite, machine.cpus, machine.cpu, machine.memory
    ));
    let mut qemu = Boot {
        machine,
        images,
        bootargs: run.suite,
        guest: Guest::WithKey,
        wait_for_gdb: false,
    }
    .command();
    qemu.args(devices);
    let limit = Duration::from_secs(run.limit);
    console::watch_until(&mut qemu, Some(limit), false, |line| {
        line.contains(WARD_CRASH)
    })
}

/// What went wrong in a suite, each line with the test's name in front.
pub(super) fn wrong(console: &Console) -> Vec<String> {
    Report::read(&console.lines).wrong
}

/// What the test host reported.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// Tests that passed.
    pub(super) passed: usize,
    /// Tests that did not, and what else is wrong.
    pub(super) wrong: Vec<String>,
}

/// Lines that may be torn in one run.
const MAX_TORN: usize = 5;

impl Report {
    /// Did the host count a few more passes, and no failure? Then its count is taken.
    fn torn(&mut self, counts: &str) -> bool {
        let passed = counts
            .strip_suffix(" passed, 0 failed")
            .and_then(|n| n.parse().ok());
        match passed {
            Some(passed) if (self.passed + 1..=self.passed + MAX_TORN).contains(&passed) => {
                self.passed = passed;
                true
            }
            _ => false,
        }
    }

    fn read(lines: &[String]) -> Self {
        let (mut report, mut total) = (Report::default(), None);
        for line in lines {
            if let Some((name, result)) = line
                .strip_prefix("TEST ")
                .and_then(|rest| rest.split_once(" ... "))
            {
                if result == "ok" {
                    report.passed += 1
                } else {
                    report.wrong.push(format!("{name}: {result}"))
                }
            } else if let Some(counts) = line.strip_prefix("WARD-TESTS: ") {
                total = Some(counts);
            } else if line.contains("FAIL") {
                report.wrong.push(format!("unexpected line: {line}"));
            }
        }
        let expected = format!("{} passed, 0 failed", report.passed);
        match total {
            _ if !report.wrong.is_empty() => {}
            None => report
                .wrong
                .push("the test host did not reach its last line, `WARD-TESTS: …`".to_owned()),
            Some(_) if report.passed == 0 => {
                report.wrong.push("the test host ran no test".to_owned())
            }
            // Ward and the host share one UART without a lock between them: now and then a line of
            // Ward's, from another CPU, stands in the middle of one of the host's, and that test's
            // name is lost to us. The host's own count is not.
            Some(counts) if report.torn(counts) => {}
            Some(counts) if counts != expected => {
                report.wrong.push(format!(
                    "the test host counted `{counts}`, its lines say `{expected}`"
                ));
            }
            Some(_) => {}
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Report {
        Report::read(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_complete_report_is_counted() {
        let report =
            read("boot\nTEST a::b ... ok\nTEST c ... ok\nWARD-TESTS: 2 passed, 0 failed\n");
        assert_eq!(
            report,
            Report {
                passed: 2,
                wrong: Vec::new()
            }
        );
    }

    #[test]
    fn a_few_torn_lines_are_counted_by_the_host() {
        let torn =
            "TEST a ... ok\nTEST ward: vm 1: verified\nb ... ok\nWARD-TESTS: 2 passed, 0 failed";
        assert_eq!(read(torn).wrong, [] as [&str; 0]);
        assert_eq!(read(torn).passed, 2);
    }

    #[test]
    fn everything_else_is_wrong() {
        for text in [
            "TEST a ... FAIL wrong key accepted\nWARD-TESTS: 0 passed, 1 failed",
            "TEST a ... ok\nTEST b ... FAIL\nWARD-TESTS: 1 passed, 0 failed",
            "TEST a ... ok",
            "TEST a ... ok\nWARD-TESTS: 7 passed, 0 failed",
            "TEST a ... ok\nWARD-TESTS: 1 passed, 1 failed",
            "TEST a ... ok\nFAIL: stray\nWARD-TESTS: 1 passed, 0 failed",
            "TEST a ... \nWARD-TESTS: 0 passed, 0 failed",
            "WARD-TESTS: 0 passed, 0 failed",
            "",
        ] {
            assert_eq!(read(text).wrong.len(), 1, "{text}");
        }
        assert_eq!(
            read("TEST a ... FAIL wrong key\n").wrong,
            ["a: FAIL wrong key"]
        );
    }
}
