//! SMMU back ends of the Ward hypervisor: what keeps devices out of memory that is not theirs.
//!
//! At present this crate knows what an SMMUv3 *is*, not yet how to drive one: it decodes the
//! identification registers (IHI 0070, "Arm System Memory Management Unit Architecture
//! Specification, SMMU architecture version 3") into a plain structure.
//!
//! ```
//! use smmu::ident::{Identification, Idr0, Idr1, Idr5};
//!
//! // What QEMU 10.0 shows for `-machine virt,iommu=smmuv3`.
//! let ident = Identification::decode(Idr0(0x0d44_101b), Idr1(0x0273_0010), Idr5(0x0000_0074))?;
//! assert!(ident.stage1 && ident.stage2);
//! assert_eq!(ident.stream_id.bits(), 16);
//! assert_eq!(ident.output_address.bits(), 44);
//! # Ok::<(), smmu::ident::Unknown>(())
//! ```
//!
//! It never touches hardware: the caller reads the registers and hands over their values. It has
//! no dependencies and no `unsafe`. Start reading at [`ident`].
#![no_std]
#![forbid(unsafe_code)]

pub mod ident;

/// The README's example, so that it stays true.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
