//! The first reason why a run ends, and waking whoever waits for it.

use super::Outcome;
use crate::bus::lock;
use std::io;
use std::sync::Mutex;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Shared by everything that can end a run; the first word counts.
pub struct Ending {
    outcome: Mutex<Option<Outcome>>,
    event: EventFd,
}

impl Ending {
    /// Of a run that goes on.
    ///
    /// # Errors
    /// The system's, when there are no more descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Ending {
            outcome: Mutex::new(None),
            event: EventFd::new(EFD_NONBLOCK)?,
        })
    }

    /// Ends the run, if it has not ended yet.
    pub fn end(&self, outcome: Outcome) {
        lock(&self.outcome).get_or_insert(outcome);
        // Can only fail when it is full of earlier wake-ups.
        let _ = self.event.write(1);
    }

    /// How the run ended; `None` while it goes on.
    pub fn outcome(&self) -> Option<Outcome> {
        lock(&self.outcome).clone()
    }

    /// Readable once the run has ended.
    pub fn event(&self) -> &EventFd {
        &self.event
    }
}
