//! The order of locks, in the types.
//!
//! Every lock has a level, and a CPU takes locks only downwards: [`Vm`](level::Vm), then
//! [`Memory`](level::Memory), then [`Log`](level::Log). Taking one needs the [`Order`] of a level
//! above it and gives the `Order` of its own; while that lives the one above is borrowed, so
//! neither a second lock of the same level nor one above can be taken. KCore's order
//! (INFO, then S2PAGE and the NPT locks) is the same with S2PAGE and NPT(host) merged.
//!
//! ```compile_fail
//! use hyp_core::lock::{level, Order, Ordered};
//! fn reversed<M: hyp_core::Machine>(
//!     vm: &Ordered<M, level::Vm, u32>, memory: &Ordered<M, level::Memory, u32>, mut top: Order<level::Top>,
//! ) {
//!     let (_frames, mut below) = memory.lock(&mut top);
//!     let _ = vm.lock(&mut below); // the VM lock stands above the memory lock: does not compile
//! }
//! ```
//! The same two locks in the right order:
//! ```
//! use hyp_core::lock::{level, Order, Ordered};
//! fn in_order<M: hyp_core::Machine>(
//!     vm: &Ordered<M, level::Vm, u32>, memory: &Ordered<M, level::Memory, u32>, mut top: Order<level::Top>,
//! ) -> u32 {
//!     let (vm, mut below) = vm.lock(&mut top);
//!     let (frames, _) = memory.lock(&mut below);
//!     *vm + *frames
//! }
//! ```

use crate::machine::{Machine, Mutex};
use core::marker::PhantomData;

/// The levels, from the outermost in.
pub mod level {
    /// No lock held: where a call, a fault or an exit begins.
    #[derive(Debug)]
    pub struct Top;
    /// One VM's record: life, vCPU slots, stage-2 table, pool. KCore: INFO and NPT of that VM.
    #[derive(Debug)]
    pub struct Vm;
    /// All frame records and the host's stage 2. KCore: S2PAGE and NPT(host).
    #[derive(Debug)]
    pub struct Memory;
    /// The log's ring.
    #[derive(Debug)]
    pub struct Log;

    /// `Self` may be taken while `A` is the innermost level held.
    pub trait Below<A> {}
    impl Below<Top> for Vm {}
    impl Below<Top> for Memory {}
    impl Below<Vm> for Memory {}
    impl Below<Top> for Log {}
    impl Below<Vm> for Log {}
    impl Below<Memory> for Log {}
}

/// Proof that the innermost lock this CPU holds is of level `L`.
#[derive(Debug)]
pub struct Order<'a, L> {
    level: PhantomData<(&'a mut (), L)>,
}

impl Order<'static, level::Top> {
    /// The start of one entry into Ward. Made once per exception taken to EL2, by the code that
    /// holds no lock yet; nothing below may make another.
    pub(crate) const fn top() -> Self {
        Order { level: PhantomData }
    }
}

/// A lock with its place in the order.
#[derive(Debug)]
pub struct Ordered<M: Machine, L, T: Send> {
    inner: M::Mutex<T>,
    level: PhantomData<fn() -> L>,
}

impl<M: Machine, L, T: Send> Ordered<M, L, T> {
    /// A free lock around `value`.
    pub fn new(value: T) -> Self {
        Ordered {
            inner: M::Mutex::new(value),
            level: PhantomData,
        }
    }

    /// Takes the lock; `above` stays borrowed for as long as the guard and the order below live.
    pub fn lock<'a, A>(
        &'a self,
        above: &'a mut Order<'_, A>,
    ) -> (<M::Mutex<T> as Mutex<T>>::Guard<'a>, Order<'a, L>)
    where
        L: level::Below<A>,
        T: 'a,
    {
        let _ = above;
        (self.inner.lock(), Order { level: PhantomData })
    }
}
