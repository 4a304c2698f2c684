//! Starts private guests under the Ward hypervisor, and prepares what they start from.
//!
//! A guest's owner packs what the guest starts from into one signed file, a *bundle*. The host
//! loads it; Ward refuses to start the guest from anything else.
//!
//! ```
//! use vmm_frontend::bundle::{self, ImageSpec, Spec};
//! use vmm_frontend::keys::SecretKey;
//!
//! # fn main() -> Result<(), vmm_frontend::Error> {
//! let key = SecretKey::generate()?;
//! let mut spec = Spec::new(2);
//! spec.ram.push((0x4000_0000, 256 << 20));
//! spec.images.push(ImageSpec::kernel(0x4008_0000, vec![0; 5000]));
//! let file = bundle::build(&spec, &key)?;
//!
//! let manifest = bundle::verify(&file, &[key.public()], &bundle::LIMITS)?;
//! assert_eq!(manifest.entry, 0x4008_0000);
//!
//! let stranger = SecretKey::generate()?.public();
//! assert!(bundle::verify(&file, &[stranger], &bundle::LIMITS).is_err());
//! # Ok(())
//! # }
//! ```
//!
//! [`bundle::verify`] runs the code that Ward runs at EL2, [`hyp_core::verify`]; everything else
//! here uses only [`hyp_core::abi`]. For a Linux guest, [`guest::Guest`] works out a
//! [`bundle::Spec`] from a kernel: start reading there for what owners do, at [`vm`] for what a
//! host does. The formats are documented where both sides read them:
//! [`hyp_core::abi::bundle`] and [`hyp_core::abi::manifest`]. A bundle begins with
//!
//! | offset | bytes | field (little-endian) |
//! |---|---|---|
//! | 0 | 8 | `WARDBND1` |
//! | 8 | 8 | offset of the signed manifest in the file |
//! | 16 | 8 | bytes of the manifest |
//! | 24 | 4 | images, N |
//! | 28 | 4 | 0 |
//! | 32 | 24 N | images, in the manifest's order: offset in the file, size in bytes, IPA (8 each) |
//!
//! and each image lies at a multiple of 4096, padded with zeros to whole pages.
//!
//! The program `ward` is a thin shell around this library.

pub mod bundle;
pub mod bus;
pub mod config;
pub mod control;
pub mod devices;
mod error;
pub mod event_loop;
pub mod exit;
pub mod fdt;
pub mod guest;
pub mod kernel;
pub mod keys;
pub mod layout;
pub mod sandbox;
pub mod size;
pub mod terminal;
pub mod virtio;
pub mod vm;

pub use error::Error;
