//! Reading what a Linux host under test reported.
//!
//! `tests/linux/src/report.rs` says which lines there are: each boot names its tests first, so one
//! that is lost or never ran is missed here.

use std::collections::BTreeMap;

use crate::test::suite::WARD_CRASH;

/// What our lines begin with, behind the kernel's time stamp.
pub(crate) const MARK: &str = "WARD-HOST ";
/// What Ward prints when it is less than it could be.
const WARD_WARNS: &str = "ward: WARNING: ";
/// What Ward prints after the reset that follows a [crash](WARD_CRASH).
const WARD_CRASHED: &str = "ward: last boot: ";
/// What the kernel prints when something is wrong that is not a test's doing.
const KERNEL_TROUBLE: &[&str] = &[
    "Unable to handle kernel",
    "Internal error",
    "BUG: ",
    "WARNING: ",
    "rcu: INFO: ",
    "soft lockup",
    "SError Interrupt",
    "Kernel panic",
    "Call trace:",
];
/// The end of the names of tests in which the kernel itself touches what is not the host's, for a
/// process. Linux has no way back from an external abort in a system call: it prints an oops, ends
/// the process, and goes on.
const TOUCHES: &str = "-syscall";
/// What of that trouble those tests may make, and what the wanted panic prints.
const WANTED_BY_TOUCH: &[&str] = &["Internal error: synchronous external abort", "Call trace:"];
const WANTED_BY_PANIC: &[&str] = &["Kernel panic", "Call trace:"];
/// What the kernel prints when it gives up.
const PANIC: &str = "end Kernel panic";
/// The first line of Ward's.
const WARD_STARTS: &str = "ward: Ward ";
/// The panic that a scenario asks for; what the kernel prints after it is not looked at.
const WANTED_PANIC: &str = "sysrq: Trigger a crash";

/// What came of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Number of tests that passed.
    pub(crate) passed: usize,
    /// Everything else.
    pub(crate) wrong: Vec<String>,
    /// What the host noted for people.
    pub(crate) notes: Vec<String>,
}

/// Looks for lines that no healthy machine prints.
#[derive(Default)]
struct Trouble {
    /// The panic that was asked for is going on.
    panics: bool,
    /// A test makes the kernel itself touch what it must not.
    touches: bool,
}

impl Trouble {
    /// What this line says is wrong, if anything.
    fn after(&mut self, line: &str) -> Option<String> {
        if line.contains(WARD_CRASH) || line.contains(WARD_CRASHED) {
            return Some(format!("Ward crashed: {line}"));
        }
        if line.contains(WANTED_PANIC) {
            self.panics = true;
        } else if line.contains(WARD_STARTS) {
            // The machine was reset.
            self.panics = false;
        }
        if let Some((_, said)) = line.split_once(MARK) {
            self.touches = said.starts_with("begin ") && said.ends_with(TOUCHES);
            return None;
        }
        let one_of = |wanted: &[&str]| wanted.iter().any(|word| line.contains(word));
        let wanted =
            self.panics && one_of(WANTED_BY_PANIC) || self.touches && one_of(WANTED_BY_TOUCH);
        // Ward warns of machines as it finds them, in the kernel's words.
        let trouble = one_of(KERNEL_TROUBLE) && !line.starts_with(WARD_WARNS);
        (trouble && !wanted).then(|| format!("the kernel is in trouble: {line}"))
    }
}

/// Knows when a machine cannot go on, so that nobody waits for it.
#[derive(Default)]
pub(crate) struct Hopeless(Trouble);

impl Hopeless {
    /// Whether the machine cannot go on after this line.
    pub(crate) fn after(&mut self, line: &str) -> bool {
        let trouble = self.0.after(line);
        trouble.is_some_and(|what| what.contains(WARD_CRASH) || what.contains(PANIC))
    }
}

/// The tests of one boot, with the result of each that has one.
#[derive(Default)]
struct Boot {
    name: String,
    tests: BTreeMap<String, Option<Result<(), String>>>,
    ended: bool,
}

impl Report {
    /// Reads a console on which these boots are expected.
    pub(crate) fn read(lines: &[String], expected: &[&str]) -> Self {
        let (mut report, mut boots) = (Report::default(), Vec::<Boot>::new());
        let (mut trouble, mut seen) = (Trouble::default(), false);
        for line in lines {
            if let Some(what) = trouble.after(line) {
                // One is enough: what follows is its consequence.
                if !std::mem::replace(&mut seen, true) {
                    report.wrong.push(what);
                }
            } else if let Some((_, said)) = line.split_once(MARK) {
                report.said(said, &mut boots);
            }
        }
        report.judge(boots, expected);
        report
    }

    fn said(&mut self, said: &str, boots: &mut Vec<Boot>) {
        let (word, rest) = said.split_once(' ').unwrap_or((said, ""));
        if word == "plan" {
            if let Some((name, tests)) = rest.split_once(": ") {
                boots.push(Boot {
                    name: name.to_owned(),
                    tests: tests
                        .split(' ')
                        .map(|test| (test.to_owned(), None))
                        .collect(),
                    ended: false,
                });
            }
            return;
        }
        if word == "note" {
            if !self.notes.iter().any(|note| note == rest) {
                self.notes.push(rest.to_owned());
            }
            return;
        }
        let Some(boot) = boots.last_mut() else {
            if word == "FAILED" && !self.wrong.iter().any(|wrong| wrong == rest) {
                self.wrong.push(rest.to_owned());
            }
            return;
        };
        match word {
            "ok" => {
                // What is not in the plan is a torn line; its twin comes later.
                if let Some(result) = boot.tests.get_mut(rest) {
                    result.get_or_insert(Ok(()));
                }
            }
            "FAILED" => {
                let (name, why) = rest.split_once(": ").unwrap_or((rest, "no reason"));
                let failed = Some(Err(why.to_owned()));
                boot.tests.insert(name.to_owned(), failed);
            }
            "end" => boot.ended |= rest == boot.name,
            _ => {}
        }
    }

    fn judge(&mut self, boots: Vec<Boot>, expected: &[&str]) {
        let names: Vec<&str> = boots.iter().map(|boot| boot.name.as_str()).collect();
        if names != expected {
            self.wrong
                .push(format!("the host's boots were {names:?}, not {expected:?}"));
        }
        for boot in boots {
            let mut lost = Vec::new();
            for (test, result) in &boot.tests {
                match result {
                    Some(Ok(())) => self.passed += 1,
                    Some(Err(why)) => self.wrong.push(format!("{}::{test}: {why}", boot.name)),
                    None => lost.push(test.as_str()),
                }
            }
            if !lost.is_empty() {
                self.wrong.push(format!(
                    "boot {:?}: no result of {}",
                    boot.name,
                    lost.join(", ")
                ));
            } else if !boot.ended {
                self.wrong
                    .push(format!("the boot {:?} did not come to its end", boot.name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, boots: &[&str]) -> Report {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        Report::read(&lines, boots)
    }

    const GOOD: &str = "ward: Ward 0.1.0\n[    0.1] WARD-HOST plan a: x y\n[    0.2] WARD-HOST begin x\n\
        [    0.2] WARD-HOST ok x\n[    0.2] WARD-HOST note n\n[    0.2] WARD-HOST ok y\n\
        [    0.2] WARD-HOST ok x\n[    0.2] WARD-HOST ok y\n[    0.2] WARD-HOST end a\n";

    #[test]
    fn a_whole_report_is_counted_once() {
        let report = read(GOOD, &["a"]);
        assert_eq!(report.wrong, [] as [&str; 0]);
        assert_eq!((report.passed, report.notes.len()), (2, 1));
        let twice = format!("{GOOD}{}", GOOD.replace(" a", " b"));
        assert_eq!(read(&twice, &["a", "b"]).passed, 4);
    }

    #[test]
    fn a_torn_line_is_made_up_for_by_its_twin() {
        let torn = GOOD.replacen("WARD-HOST ok x", "WARD-HOST oward: vm 1: x", 1);
        assert_eq!(read(&torn, &["a"]).passed, 2);
    }

    #[test]
    fn the_wanted_panic_is_no_trouble_until_the_reset() {
        let panic =
            "[ 1] sysrq: Trigger a crash\n[ 1] Kernel panic - not syncing\n[ 1] Call trace:\n";
        let report = read(&format!("{GOOD}{panic}"), &["a"]);
        assert_eq!(report.wrong, [] as [&str; 0]);
        let later = format!("{panic}{GOOD}[ 1] Kernel panic - not syncing\n");
        assert_eq!(read(&later, &["a"]).wrong.len(), 1);
    }

    #[test]
    fn an_oops_is_no_trouble_where_a_test_wants_it() {
        let oops = "[ 1] Internal error: synchronous external abort\n";
        let touch = "WARD-HOST plan a: x-syscall\nWARD-HOST begin x-syscall\n";
        let rest = "WARD-HOST ok x-syscall\nWARD-HOST end a\n";
        let report = read(&format!("{touch}{oops}{rest}"), &["a"]);
        assert_eq!((report.passed, report.wrong.len()), (1, 0));
        assert_eq!(read(&format!("{touch}{rest}{oops}"), &["a"]).wrong.len(), 1);
        for other in ["WARNING: at x", "BUG: y", "Kernel panic - not syncing"] {
            let report = read(&format!("{touch}[ 1] {other}\n{rest}"), &["a"]);
            assert_eq!(report.wrong.len(), 1, "{other}");
        }
    }

    #[test]
    fn nobody_waits_for_a_machine_that_cannot_go_on() {
        let mut hopeless = Hopeless::default();
        assert!(!hopeless.after("[ 1] WARD-HOST note Kernel panic"));
        assert!(!hopeless.after("[ 1] WARNING: at x"));
        assert!(!hopeless.after("[ 1] sysrq: Trigger a crash"));
        assert!(!hopeless.after("[ 1] ---[ end Kernel panic - not syncing"));
        assert!(!hopeless.after("ward: Ward 0.1.0 at 0x40200000"));
        assert!(hopeless.after("[ 1] ---[ end Kernel panic - not syncing"));
        assert!(hopeless.after("ward! BUG in Ward: x"));
    }

    #[test]
    fn everything_else_is_wrong() {
        let missing = GOOD.replace("ok y", "ok z");
        assert_eq!(read(&missing, &["a"]).wrong, ["boot \"a\": no result of y"]);
        let failed = GOOD.replacen("ok y", "FAILED y: late: very", 1);
        assert_eq!(read(&failed, &["a"]).wrong, ["a::y: late: very"]);
        assert_eq!(read(&failed, &["a"]).passed, 1);
        for (text, boots) in [
            (GOOD.replace("end a", "end"), &["a"][..]),
            (GOOD.to_owned(), &["a", "b"]),
            (GOOD.to_owned(), &[]),
            (format!("{GOOD}ward! BUG in Ward: panic"), &["a"]),
            (format!("ward: last boot: BUG in Ward\n{GOOD}"), &["a"]),
            (format!("{GOOD}[ 1] Unable to handle kernel paging"), &["a"]),
            (format!("WARD-HOST FAILED scenario: none\n{GOOD}"), &["a"]),
            (String::new(), &["a"]),
        ] {
            assert_eq!(read(&text, boots).wrong.len(), 1, "{text}");
        }
    }
}
