//! How often vCPUs came back to this process, and why.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one vCPU.
#[derive(Default, Debug)]
pub struct Exits {
    /// The guest read a device.
    pub mmio_reads: AtomicU64,
    /// The guest wrote a device.
    pub mmio_writes: AtomicU64,
    /// Of these two, those where no device is.
    pub nowhere: AtomicU64,
    /// A signal to this process or thread.
    pub signals: AtomicU64,
    /// Anything else: power-off, restart, errors.
    pub others: AtomicU64,
}

impl Exits {
    #[cfg(target_arch = "aarch64")]
    pub(super) fn add(counter: &AtomicU64) -> u64 {
        counter.fetch_add(1, Ordering::Relaxed)
    }

    /// Names and numbers now.
    pub fn now(&self) -> [(&'static str, u64); 5] {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("mmio_reads", get(&self.mmio_reads)),
            ("mmio_writes", get(&self.mmio_writes)),
            ("nowhere", get(&self.nowhere)),
            ("signals", get(&self.signals)),
            ("others", get(&self.others)),
        ]
    }
}
