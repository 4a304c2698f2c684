//! Things worth one line of log each.

use crate::vcpu::encoding::Encoding;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// System registers that guests used and nobody knows. When the list is full, silence.
#[derive(Debug, Default)]
pub(crate) struct Unknown {
    seen: [AtomicU32; 32],
}

impl Unknown {
    /// Is this the first time for this register? Of several CPUs that ask at once, one hears yes.
    pub(crate) fn first_time(&self, reg: Encoding) -> bool {
        let key = 1 << 16 | u32::from(reg.number());
        for place in &self.seen {
            match place.compare_exchange(0, key, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(other) if other == key => return false,
                Err(_) => {}
            }
        }
        false
    }
}
