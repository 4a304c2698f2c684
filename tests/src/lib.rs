//! Tests of Ward that need no hardware.
//!
//! * [`fake`]: a machine in memory whose TLBs keep what nobody invalidated.
//! * [`spec`]: the executable specification, a second and simpler description of every call.
//! * [`harness`]: Ward, fake and specification side by side, and the invariants I1 to I9.
//!
//! `tests/lockstep.rs` drives both through random calls; `tests/interleave.rs` races CPUs against
//! each other; `tests/kcore.rs` settles KCore's known defects one by one.

pub mod fake;
pub mod harness;
pub mod spec;
