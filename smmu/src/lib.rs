//! SMMU back ends of the Ward hypervisor: what keeps devices out of memory that is not theirs.
//!
//! [`ident`] decodes what an SMMUv3 says of itself (IHI 0070, "Arm System Memory Management Unit
//! Architecture Specification, SMMU architecture version 3"); [`v3`] drives one. [`v2`] drives an
//! SMMUv2 (IHI 0062) and filters the host's accesses to it. [`iova`] keeps what the host
//! maps for its devices.
//!
//! ```
//! use smmu::ident::{Identification, Idr0, Idr1, Idr3, Idr5};
//!
//! // What QEMU 10.0 shows for `-machine virt,iommu=smmuv3`.
//! let ident = Identification::decode(Idr0(0x0d44_101b), Idr1(0x0273_0010), Idr3(0), Idr5(0x0000_0074))?;
//! assert!(ident.stage1 && ident.stage2);
//! assert_eq!(ident.stream_id.bits(), 16);
//! assert_eq!(ident.output_address.bits(), 44);
//! # Ok::<(), smmu::ident::Unknown>(())
//! ```
//!
//! It never touches hardware itself: registers and memory are behind [`v3::Hardware`] and
//! [`v2::Hardware`], to be implemented on the real thing in hyp-el2 and on models in the tests. It has no dependencies and
//! no `unsafe`. Start reading at [`v3`] or [`v2`].
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "model"))]
extern crate std;

pub mod ident;
pub mod iova;
#[cfg(test)]
mod random;
pub mod report;
pub mod v2;
pub mod v3;
mod walk;

/// The README's example, so that it stays true.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
