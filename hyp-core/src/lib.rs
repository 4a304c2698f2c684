//! The policy of Ward.
#![no_std]
#![forbid(unsafe_code)]

pub mod abi;
pub mod addr;
pub mod lock;
pub mod machine;
pub mod memory;
pub mod stage2;
pub mod vcpu;
pub mod verify;
pub mod vm;

pub use machine::Machine;
