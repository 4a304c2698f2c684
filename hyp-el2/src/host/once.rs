//! What has been logged already.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

static SEEN: [AtomicU64; 32] = [const { AtomicU64::new(0) }; 32];

/// Is this the first time for `what`? When the list is full, no.
pub(crate) fn first(what: u64) -> bool {
    let key = what | 1 << 63;
    for place in &SEEN {
        match place.compare_exchange(0, key, Relaxed, Relaxed) {
            Ok(_) => return true,
            Err(other) if other == key => return false,
            Err(_) => {}
        }
    }
    false
}
