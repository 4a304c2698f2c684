//! The entropy device: the host's random bytes.

use super::channel::{Channel, Served};
use super::{Activation, Counters, Progress, Ready, VirtioDevice};
use std::io;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// The most bytes for one request: drivers ask for tens.
const MOST: usize = 64 << 10;

/// Gives the system's random bytes. A protected guest should not trust them alone: the host makes
/// them. Its own CPU's, and Ward's, are better.
#[derive(Default)]
pub struct Entropy {
    channel: Option<Channel>,
    counters: Arc<Counters>,
}

impl Entropy {
    /// The device.
    pub fn new() -> Self {
        Entropy::default()
    }
}

impl VirtioDevice for Entropy {
    fn device_type(&self) -> u32 {
        4
    }

    fn queue_sizes(&self) -> &[u16] {
        &[64]
    }

    fn features(&self) -> u64 {
        0
    }

    fn read_config(&self, _: u64, _: &mut [u8]) {}

    fn activate(&mut self, activation: Activation) -> io::Result<()> {
        let [channel] = activation.channels()?;
        self.channel = Some(channel);
        Ok(())
    }

    fn reset(&mut self) {
        self.channel = None;
    }

    fn process(&mut self, _: Ready) -> Progress {
        let Some(channel) = &mut self.channel else {
            return Progress::Done;
        };
        let counters = &self.counters;
        channel.serve(|request| {
            Counters::add(&counters.requests, 1);
            let filled = match request {
                Ok(mut request) => request.output.randomise(MOST).unwrap_or(0),
                Err(_) => 0,
            };
            if filled == 0 {
                Counters::add(&counters.errors, 1);
            }
            Counters::add(&counters.to_guest, filled as u64);
            Served {
                written: filled,
                cost: filled,
            }
        })
    }

    fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }
}
