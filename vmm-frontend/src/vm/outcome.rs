//! How a guest's run ended.

use crate::exit;
use std::fmt;

/// How a guest's run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The guest switched itself off.
    PowerOff,
    /// The guest wants to start anew. A protected guest is built anew from its bundle.
    Reset,
    /// The guest says that its kernel panicked.
    Panicked,
    /// Somebody stopped it.
    Stopped(Stop),
    /// KVM or Ward does not run it any longer; the text says why.
    Failed(String),
}

/// Who stopped a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The user at the console, by Ctrl-A X.
    Console,
    /// A signal, the second one.
    Signal,
    /// `ward stop --force`.
    Command,
}

impl Outcome {
    /// The exit status that `ward run` gives for it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Outcome::PowerOff => exit::DONE,
            Outcome::Panicked => exit::PANICKED,
            Outcome::Reset => exit::RESET,
            Outcome::Stopped(_) => exit::STOPPED,
            Outcome::Failed(_) => exit::FAILED,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::PowerOff => f.write_str("the guest switched itself off"),
            Outcome::Reset => f.write_str("the guest asked for a restart"),
            Outcome::Panicked => f.write_str("the guest's kernel panicked"),
            Outcome::Stopped(Stop::Console) => f.write_str("stopped at the console"),
            Outcome::Stopped(Stop::Signal) => f.write_str("stopped by a signal"),
            Outcome::Stopped(Stop::Command) => f.write_str("stopped by `ward stop --force`"),
            Outcome::Failed(why) => f.write_str(why),
        }
    }
}
