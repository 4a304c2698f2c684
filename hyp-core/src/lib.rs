//! The policy of Ward, a Type-1 hypervisor for 64-bit Arm.
//!
//! ```
//! use hyp_core::abi::{CALLS, Call, Error};
//!
//! // What a host puts in x0 to read Ward's version, and what it gets for nonsense.
//! assert_eq!(Call::Version.function_id(), 0xc600_0100);
//! assert_eq!(Call::from_function_id(0xc600_01ff), None);
//! assert_eq!(Error::NotSupported.code(), -1);
//! // The table from which the manual's chapter and the C header are printed:
//! let run = CALLS.iter().find(|info| info.call == Call::VcpuRun).unwrap();
//! assert_eq!((run.name, run.kcore), ("vcpu_run", "vcpu_run"));
//! ```
//!
//! This crate decides: who owns a page frame, what a stage-2 table may say, what a VM may start
//! from, what a host learns of a guest. It touches no hardware: all that does is behind one
//! trait, [`Machine`], which `hyp-el2` implements on Arm and the tests on a laptop, with TLBs
//! that keep stale entries. It has no unsafe code, allocates nothing, and never stops for what a
//! host or guest asks; it panics only for bugs of its own.
//!
//! Where to start reading:
//!
//! | question | module |
//! |---|---|
//! | what can a host call? | [`abi::calls`], [`dispatch`] |
//! | who owns a frame, and when does it change hands? | [`memory`], [`memory::matrix`] |
//! | how are the tables kept right under running walkers? | [`stage2`] |
//! | what does a device reach? | [`dma`] |
//! | how does a VM live and die? | [`vm`] |
//! | what did the owner sign, and is it that? | [`verify`], [`abi::manifest`] |
//! | what happens at an exit, and what does the host see? | [`run`], [`vcpu`] |
//! | in which order are locks taken? | [`lock`] |
#![no_std]
#![forbid(unsafe_code)]

pub mod abi;
pub mod addr;
pub mod config;
pub mod dispatch;
pub mod dma;
#[cfg(feature = "inspect")]
pub mod inspect;
pub mod lock;
pub mod log;
pub mod machine;
pub mod memory;
mod once;
mod pins;
pub mod run;
pub mod smc;
pub mod stage2;
pub mod vcpu;
pub mod verify;
pub mod vm;
pub mod ward;
pub mod without;

#[cfg(test)]
extern crate std;

pub use config::{BootError, Config};
pub use machine::Machine;
pub use ward::Ward;
