//! One line for each check, which the host repeats and counts.

/// Counts the checks.
pub(super) struct Report {
    wrong: u64,
}

impl Report {
    pub(super) fn new() -> Self {
        Report { wrong: 0 }
    }

    /// Prints the result of the check `name`.
    pub(super) fn check(&mut self, name: &str, result: Result<(), Wrong>) {
        match result {
            Ok(()) => println!("TEST guest::{name} ... ok"),
            Err(Wrong {
                what,
                found,
                expected,
            }) => {
                self.wrong += 1;
                println!(
                    "TEST guest::{name} ... FAIL: {what}: found {found:#x}, expected {expected:#x}"
                );
            }
        }
    }

    /// How many checks were wrong.
    pub(super) fn wrong(&self) -> u64 {
        self.wrong
    }
}

/// What a check found.
pub(super) struct Wrong {
    what: &'static str,
    found: u64,
    expected: u64,
}

/// The two must be equal.
pub(super) fn same(what: &'static str, found: u64, expected: u64) -> Result<(), Wrong> {
    if found == expected {
        Ok(())
    } else {
        Err(Wrong {
            what,
            found,
            expected,
        })
    }
}

/// It must be so.
pub(super) fn holds(what: &'static str, it: bool) -> Result<(), Wrong> {
    same(what, u64::from(it), 1)
}
