//! Talking to a running guest's VMM: a socket for each guest, in a directory of the user's.
//!
//! A request is one line, `info`, `stats`, `power` or `kill`; the answer is one line with a JSON
//! object, `{"error": …}` for anything else. Whoever may open the socket (its user, and root) may ask.

mod client;
mod directory;
mod server;
#[cfg(test)]
mod tests;

pub use client::{ControlError, Guest, ask, guests};
pub use directory::{Claim, directories, good_name, own_directory};
pub use server::answer;

/// What can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Who and what the guest is.
    Info,
    /// What it has done so far.
    Stats,
    /// Press its power button.
    Power,
    /// End it at once.
    Kill,
}

impl Request {
    /// All requests with their words.
    pub const ALL: [(Request, &str); 4] = [
        (Request::Info, "info"),
        (Request::Stats, "stats"),
        (Request::Power, "power"),
        (Request::Kill, "kill"),
    ];

    /// The word of this request.
    pub fn word(self) -> &'static str {
        let found = Self::ALL.iter().find(|(request, _)| *request == self);
        found.map_or("", |(_, word)| word)
    }

    /// The request with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, other)| *other == word);
        found.map(|(request, _)| *request)
    }
}
