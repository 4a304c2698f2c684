//! The EL1 test payloads of the Ward hypervisor: a test host and a test guest, with one small
//! runtime for both.
//!
//! `testhost` is booted by Ward as its host. It drives every host call, right and wrong, from
//! every CPU; builds, signs and runs the `testguest`; and attacks both Ward and the guest. What it
//! does is chosen by its boot arguments ([`host`]). `testguest` checks what a protected guest must
//! see, from its first instruction on, and fills every register with secrets around each kind of
//! exit while the host searches for them ([`guest`]).
//!
//! Start reading at `host.rs` and `guest.rs`; `rt.rs` is the runtime, and the only place with
//! `unsafe` code. On anything but bare-metal arm64 this crate is empty.
#![cfg_attr(target_os = "none", no_std)]
#![cfg(target_os = "none")]

#[macro_use]
mod rt;
pub mod guest;
pub mod host;
mod protocol;

pub use rt::panicked;
