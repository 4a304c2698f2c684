//! How CPUs of the fake are scheduled: as threads of the test, or by shuttle.

use hyp_core::machine::Mutex;
use std::cell::Cell;

/// What the fake needs of its threads. `tests/interleave.rs` implements it over shuttle, which
/// then decides at every lock and every [`Sched::point`] which CPU goes on.
pub trait Sched: Sized + Send + Sync + 'static {
    /// The lock hyp-core gets.
    type Mutex<T: Send>: Mutex<T>;

    /// Another CPU may go on here.
    fn point();

    /// The CPU this thread is.
    fn cpu() -> u16;

    /// Makes this thread that CPU.
    fn set_cpu(cpu: u16);
}

/// Plain threads.
#[derive(Debug)]
pub struct StdSched;

thread_local! {
    static CPU: Cell<u16> = const { Cell::new(0) };
}

impl Sched for StdSched {
    type Mutex<T: Send> = super::FakeMutex<T>;

    fn point() {}

    fn cpu() -> u16 {
        CPU.get()
    }

    fn set_cpu(cpu: u16) {
        CPU.set(cpu);
    }
}
