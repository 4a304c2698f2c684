//! Counting what passed and naming what failed.

use std::process::Command;

use anyhow::Result;

use crate::run;

/// How many checks passed, and which failed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Number of checks that passed.
    pub(super) passed: usize,
    /// Name of each failed check, with the reason.
    pub(super) failed: Vec<String>,
}

impl Tally {
    /// Records a failure and shows it where it happens.
    pub(super) fn fail(&mut self, name: &str, why: &str) {
        println!("FAILED {name}: {why}");
        self.failed.push(format!(
            "{name}: {}",
            why.lines().next().unwrap_or_default()
        ));
    }

    /// Whether nothing was checked.
    pub(super) fn is_empty(&self) -> bool {
        self.passed == 0 && self.failed.is_empty()
    }

    /// Adds the checks of another tally.
    pub(super) fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
    }

    /// Counts `result` as one check.
    pub(super) fn one(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(error) => self.fail(name, &format!("{error:#}")),
        }
    }

    /// Counts what a machine's console reported; `log` is where it was kept.
    pub(super) fn console(&mut self, name: &str, log: &str, passed: usize, wrong: &[String]) {
        println!(
            "{name}: {passed} passed, {} wrong; console in {log}",
            wrong.len()
        );
        self.passed += passed;
        for wrong in wrong {
            self.fail(name, &format!("{wrong} (console: {log})"));
        }
    }

    /// Runs a test command of cargo and names the tests that failed.
    pub(super) fn failing(command: &mut Command) -> Result<Vec<String>> {
        let mut failed = Vec::new();
        run::tee(command, |line| {
            failed.extend(failed_in(line).map(str::to_owned));
        })?;
        Ok(failed)
    }

    /// Runs a test command of cargo and counts the tests that it reports.
    pub(super) fn cargo_tests(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let (mut passed, mut failed) = (0, Vec::new());
        let ok = run::tee(command, |line| {
            passed += passed_in(line);
            failed.extend(failed_in(line).map(str::to_owned));
        })?;
        self.passed += passed;
        failed.iter().for_each(|test| self.fail(name, test));
        if !ok && failed.is_empty() {
            self.fail(
                name,
                &format!(
                    "`{}` failed; its own messages are above",
                    run::shell_line(command)
                ),
            );
        } else if ok && passed == 0 {
            self.fail(name, &format!("`{}` ran no test", run::shell_line(command)));
        }
        Ok(())
    }
}

/// `test result: ok. 3 passed; 0 failed; …` gives 3.
fn passed_in(line: &str) -> usize {
    let counts = line
        .strip_prefix("test result: ")
        .and_then(|rest| rest.split_once(". "));
    counts
        .and_then(|(_, counts)| counts.split(' ').next()?.parse().ok())
        .unwrap_or(0)
}

/// `test a::b ... FAILED` gives `a::b`.
fn failed_in(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(script: &str) -> Tally {
        let mut tally = Tally::default();
        tally
            .cargo_tests("unit", Command::new("sh").args(["-c", script]))
            .unwrap();
        tally
    }

    #[test]
    fn results_of_all_programs_are_added_up() {
        let line = "echo 'test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured'";
        assert_eq!(
            tally(&format!("{line}; {line}")),
            Tally {
                passed: 6,
                failed: Vec::new()
            }
        );
    }

    #[test]
    fn failing_tests_are_named_once() {
        let tally = tally(
            "echo 'test a::b ... FAILED'; echo 'test result: FAILED. 2 passed; 1 failed'; exit 101",
        );
        assert_eq!(
            (tally.passed, tally.failed),
            (2, vec!["unit: a::b".to_owned()])
        );
    }

    #[test]
    fn a_build_failure_and_an_empty_run_are_failures() {
        assert_eq!(tally("exit 101").failed.len(), 1);
        assert_eq!(
            tally("echo 'test result: ok. 0 passed; 0 failed'")
                .failed
                .len(),
            1
        );
    }
}
