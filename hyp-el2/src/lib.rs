//! The EL2 runtime of Ward: what is between the policy in `hyp-core` and an Arm CPU.
//!
//! ```
//! use hyp_el2::fdt::Span;
//! use hyp_el2::layout;
//!
//! // Boot takes Ward's memory from the top of RAM, clear of what is in use.
//! let ram = [Span { base: 0x4000_0000, size: 0x1000_0000 }];
//! let loaded = [Span { base: 0x4fe0_0000, size: 0x20_0000 }];
//! let place = layout::find(&ram, &loaded, 0x20_0000, 0x20_0000).unwrap();
//! assert_eq!(place.base, 0x4fc0_0000);
//! ```
//!
//! This crate boots the machine, owns EL2's registers and tables, takes every exception to EL2,
//! switches between the host and vCPUs, and relays PSCI. It decides nothing about who may do
//! what: that is [`hyp_core::Ward`], which it feeds with calls and faults and serves as
//! [`hyp_core::Machine`]. All of Ward's unsafe code and assembly is here.
//!
//! Where to start reading:
//!
//! | question | file |
//! |---|---|
//! | what happens at power-on? | `entry.s`, then `boot.rs` |
//! | where does an exception go? | `vectors.s`, then `host.rs` |
//! | what moves when a guest runs? | `switch.rs` |
//! | what traps? | `switch/traps.rs` |
//! | how does a CPU come up or go down? | `psci.rs` |
//! | what if Ward itself is wrong? | `crash.rs` |
//! | how does hyp-core reach the hardware? | `machine.rs` |
//! | what does a device reach? | `smmu.rs` |
//!
//! The modules without assembly ([`fdt`], [`image`], [`layout`], [`lock`], [`smmu::Plan`]) build and are tested on
//! any machine; the rest exists on `aarch64-unknown-none-softfloat` only.
#![cfg_attr(not(test), no_std)]

pub mod fdt;
pub mod gic;
pub mod hash;
pub mod image;
pub mod layout;
pub mod lock;

#[cfg(target_os = "none")]
pub mod boot;
#[cfg(target_os = "none")]
pub mod cache;
#[cfg(target_os = "none")]
pub mod console;
#[cfg(target_os = "none")]
pub mod cpu;
#[cfg(target_os = "none")]
pub mod crash;
#[cfg(target_os = "none")]
pub mod global;
#[cfg(target_os = "none")]
pub mod glue;
#[cfg(target_os = "none")]
pub mod host;
#[cfg(target_os = "none")]
pub mod machine;
#[cfg(target_os = "none")]
pub mod mmu;
#[cfg(target_os = "none")]
pub mod percpu;
#[cfg(target_os = "none")]
pub mod psci;
pub mod relr;
#[cfg(target_os = "none")]
pub mod sha256;
#[cfg(target_os = "none")]
pub mod smc;
pub mod smmu;
#[cfg(target_os = "none")]
pub mod switch;

#[cfg(target_os = "none")]
mod assembly {
    use crate::host::Frame;
    use crate::percpu::PerCpu;
    use core::arch::global_asm;
    use core::mem::offset_of;
    use hyp_core::vcpu::context::Context;

    global_asm!(include_str!("entry.s"), CPU_STACK = const offset_of!(PerCpu, stack_top));
    global_asm!(
        include_str!("vectors.s"),
        FRAME_SIZE = const size_of::<Frame>(),
        CPU_GUEST = const offset_of!(PerCpu, guest),
        CPU_BUGS = const offset_of!(PerCpu, bugs),
        CPU_EMERGENCY = const offset_of!(PerCpu, emergency_top),
        CTX_PC = const offset_of!(Context, pc),
        CTX_SP_EL0 = const offset_of!(Context, sp_el0),
    );
    global_asm!(include_str!("fp.s"));

    // What the assembly takes for granted.
    const _: () = assert!(offset_of!(Context, x) == 0);
    const _: () = assert!(offset_of!(Context, pstate) == offset_of!(Context, pc) + 8);
    const _: () = assert!(offset_of!(hyp_core::vcpu::context::Fp, fpcr) == 512);
    const _: () = assert!(offset_of!(hyp_core::vcpu::context::Fp, fpsr) == 520);
    const _: () = assert!(size_of::<Frame>() == 272 && offset_of!(Frame, pc) == 248);
}
