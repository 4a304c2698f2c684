//! Values of Ward's that live in frames taken from the host.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

/// Owns a `T` at a place that Ward owns. Dropping it drops the value; the frames stay Ward's
/// until hyp-core gives them back.
pub struct Placed<T> {
    at: NonNull<T>,
    owns: PhantomData<T>,
}

// SAFETY: it owns its value, as a Box would.
unsafe impl<T: Send> Send for Placed<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Placed<T> {}

impl<T> Placed<T> {
    /// Moves `value` to `at`.
    ///
    /// # Panics
    /// When `at` is null: frame 0 is never Ward's.
    ///
    /// # Safety
    /// `at` is aligned and writable for a `T`, and nobody else's until this is dropped.
    pub unsafe fn new(at: *mut T, value: T) -> Self {
        // SAFETY: the caller's promise.
        unsafe { at.write(value) };
        let at = NonNull::new(at).expect("frame 0 is not RAM of Ward's");
        Placed {
            at,
            owns: PhantomData,
        }
    }
}

impl<T> Deref for Placed<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: `new` put a value there and nobody else has it.
        unsafe { self.at.as_ref() }
    }
}

impl<T> DerefMut for Placed<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, borrowed exclusively.
        unsafe { self.at.as_mut() }
    }
}

impl<T> Drop for Placed<T> {
    fn drop(&mut self) {
        // SAFETY: the value is there, and this is its last use.
        unsafe { self.at.drop_in_place() }
    }
}

impl<T> fmt::Debug for Placed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Placed({:p})", self.at)
    }
}
