//! Exit statuses of the program `ward`, in one table: help, man pages and manual print this one.

/// Done.
pub const DONE: u8 = 0;
/// A bundle, key, kernel or setting is refused.
pub const REFUSED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// A file could not be read or written.
pub const FILE: u8 = 3;
/// The guest's kernel panicked.
pub const PANICKED: u8 = 4;
/// The guest asked for a restart, and `--no-reboot` was given.
pub const RESET: u8 = 5;
/// The guest was stopped from outside, at once.
pub const STOPPED: u8 = 6;
/// KVM or Ward did not run it any longer.
pub const FAILED: u8 = 7;
/// The guest pointed a device at memory that it does not share.
pub const PRIVATE: u8 = 8;
/// A mistake of this program.
pub const BUG: u8 = 9;
/// This host cannot do it.
pub const HOST: u8 = 10;

/// All of them, with what they mean.
pub const TABLE: &[(u8, &str)] = &[
    (
        DONE,
        "done; for `verify`: Ward would start this guest; for `run`: the guest switched itself off",
    ),
    (
        REFUSED,
        "refused: the bundle, key, kernel or a setting is wrong",
    ),
    (USAGE, "the command line is wrong"),
    (FILE, "a file could not be read or written"),
    (PANICKED, "the guest's kernel panicked"),
    (
        RESET,
        "the guest asked for a restart, and --no-reboot was given",
    ),
    (STOPPED, "the guest was stopped from outside, at once"),
    (FAILED, "KVM or Ward did not run the guest any longer"),
    (
        PRIVATE,
        "the guest pointed a device at memory that it does not share",
    ),
    (BUG, "a mistake of this program: please report it"),
    (
        HOST,
        "this host cannot do it: no Ward, no KVM, a limit, not enough memory",
    ),
];

#[cfg(test)]
mod tests {
    #[test]
    fn every_status_has_its_line_in_order() {
        for (i, (status, _)) in super::TABLE.iter().enumerate() {
            assert_eq!(usize::from(*status), i);
        }
    }
}
