//! Prints one line for each test, and counts.

use super::env::Env;
use super::text::Outcome;
use core::sync::atomic::{AtomicU32, Ordering};

/// One named test.
pub(crate) struct Test {
    /// Its name.
    pub(crate) name: &'static str,
    /// CPUs it needs.
    pub(crate) cpus: usize,
    /// What it does.
    pub(crate) run: fn(&Env) -> Outcome,
}

/// A test on any machine.
pub(crate) const fn test(name: &'static str, run: fn(&Env) -> Outcome) -> Test {
    Test { name, cpus: 1, run }
}

/// A test that needs a second CPU.
pub(crate) const fn smp_test(name: &'static str, run: fn(&Env) -> Outcome) -> Test {
    Test { name, cpus: 2, run }
}

static PASSED: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);

/// Runs the tests of a suite.
pub(crate) fn run(env: &Env, suite: &str, tests: &[Test]) {
    let mut words = env.board.bootargs.split(' ');
    let only = words.find_map(|word| word.strip_prefix("only="));
    for test in tests {
        if only.is_some_and(|names| !names.split(',').any(|name| name == test.name)) {
            continue;
        }
        if env.cpus() < test.cpus {
            println!("{suite}::{} needs {} CPUs: left out", test.name, test.cpus);
            continue;
        }
        let before = env.frames();
        let outcome = (test.run)(env).and_then(|()| env.all_back(before));
        match &outcome {
            Ok(()) => println!("TEST {suite}::{} ... ok", test.name),
            Err(why) => println!("TEST {suite}::{} ... FAIL: {}", test.name, why.text().get()),
        }
        count(outcome.is_ok());
    }
}

/// Counts a test, also one that the guest reports.
pub(crate) fn count(passed: bool) {
    if passed { &PASSED } else { &FAILED }.fetch_add(1, Ordering::Relaxed);
}

/// The last line.
pub(crate) fn print_total() {
    println!(
        "WARD-TESTS: {} passed, {} failed",
        PASSED.load(Ordering::Relaxed),
        FAILED.load(Ordering::Relaxed)
    );
}
