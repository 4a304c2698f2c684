//! A value made once at boot and shared by all CPUs from then on.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU8, Ordering};

const EMPTY: u8 = 0;
const FILLING: u8 = 1;
const FULL: u8 = 2;

/// A place that is filled once.
pub struct Global<T> {
    state: AtomicU8,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is written once, before the release of FULL; readers acquire that.
unsafe impl<T: Send + Sync> Sync for Global<T> {}

impl<T> Default for Global<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Global<T> {
    /// Empty.
    pub const fn new() -> Self {
        Global {
            state: AtomicU8::new(EMPTY),
            value: UnsafeCell::new(None),
        }
    }

    /// Fills the place.
    ///
    /// # Panics
    /// When it is filled already.
    pub fn set(&self, value: T) {
        let first =
            self.state
                .compare_exchange(EMPTY, FILLING, Ordering::Relaxed, Ordering::Relaxed);
        assert!(first.is_ok(), "filled twice");
        // SAFETY: FILLING is reached once, and readers wait for FULL.
        unsafe { *self.value.get() = Some(value) };
        self.state.store(FULL, Ordering::Release);
    }

    /// The value, if it is there yet.
    pub fn get(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) != FULL {
            return None;
        }
        // SAFETY: FULL is the last state; nobody writes any more.
        unsafe { (*self.value.get()).as_ref() }
    }
}

impl<T> core::fmt::Debug for Global<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Global").finish_non_exhaustive()
    }
}
