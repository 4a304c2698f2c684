//! The ticket lock: fair between CPUs, so that no host can starve one of them.
//!
//! A CPU draws a ticket and waits until it is served. Taking the lock is a load-acquire of the
//! number served, releasing it a store-release: what one holder wrote, the next one sees. While
//! it waits a CPU sleeps in WFE; the release sends the event (DDI 0487 D1.6.1). The event
//! register keeps an event that arrives between the look and the WFE.
//!
//! Checked with loom: `RUSTFLAGS="--cfg loom" cargo test -p hyp-el2 --lib lock`.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU32, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, Ordering};

use core::cell::UnsafeCell;
use core::fmt;
use core::ops::{Deref, DerefMut};

/// A mutual exclusion lock that serves CPUs in the order in which they asked.
pub struct TicketLock<T> {
    next: AtomicU32,
    serving: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through a guard, and one guard exists at a time.
unsafe impl<T: Send> Sync for TicketLock<T> {}
// SAFETY: the lock owns its value and nothing else.
unsafe impl<T: Send> Send for TicketLock<T> {}

impl<T> TicketLock<T> {
    /// A free lock around `value`.
    #[cfg(not(loom))]
    pub const fn new(value: T) -> Self {
        TicketLock {
            next: AtomicU32::new(0),
            serving: AtomicU32::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// A free lock around `value`.
    #[cfg(loom)]
    pub fn new(value: T) -> Self {
        TicketLock {
            next: AtomicU32::new(0),
            serving: AtomicU32::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the lock and takes it.
    pub fn lock(&self) -> TicketGuard<'_, T> {
        // The draw orders nothing: the load below does.
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        while self.serving.load(Ordering::Acquire) != ticket && wait() == Wait::On {}
        TicketGuard { lock: self, ticket }
    }
}

impl<T> fmt::Debug for TicketLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketLock").finish_non_exhaustive()
    }
}

/// Holds a [`TicketLock`] until dropped.
#[derive(Debug)]
pub struct TicketGuard<'a, T> {
    lock: &'a TicketLock<T>,
    ticket: u32,
}

impl<T> Deref for TicketGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: this guard is the only one (its ticket is the one served), so no `&mut` exists.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for TicketGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard is the only one, and it is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for TicketGuard<'_, T> {
    fn drop(&mut self) {
        self.lock
            .serving
            .store(self.ticket.wrapping_add(1), Ordering::Release);
        wake();
    }
}

impl<T: Send> hyp_core::machine::Mutex<T> for TicketLock<T> {
    type Guard<'a>
        = TicketGuard<'a, T>
    where
        T: 'a;

    fn new(value: T) -> Self {
        TicketLock::new(value)
    }

    fn lock(&self) -> TicketGuard<'_, T> {
        TicketLock::lock(self)
    }
}

/// What a CPU does after it has waited once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Looks again.
    On,
    /// Takes the lock as it is: it reports a crash, and no other CPU leaves its wait again.
    Break,
}

#[cfg(target_os = "none")]
use crate::crash::{wait_unless_crashed as wait, wake};

#[cfg(all(not(target_os = "none"), not(loom)))]
fn wait() -> Wait {
    core::hint::spin_loop();
    Wait::On
}
#[cfg(loom)]
fn wait() -> Wait {
    loom::thread::yield_now();
    Wait::On
}
#[cfg(not(target_os = "none"))]
fn wake() {}

#[cfg(test)]
mod tests;
