//! What is loaded beside the EL2 image: the test host, and what it starts.
//!
//! The signed guest bundle is made here, from `testguest.bin`, by the library half of
//! `vmm-frontend`: add it to [`build`] as one more [`Module`] of kind [`Kind::Data`].

use std::path::PathBuf;

use anyhow::Result;

use crate::image::{ImageArgs, cargo_build, flatten};
use crate::paths;
use crate::run::say;

/// Where the test host is loaded. It lies within the smallest machine (512 MiB of RAM from
/// 0x4000_0000), above the EL2 image (at 0x4020_0000) and QEMU's device tree (at 0x4800_0000).
const HOST_ADDRESS: u64 = 0x5000_0000;

/// One file that QEMU's `guest-loader` puts into memory and names under `/chosen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    /// Load address.
    pub(crate) address: u64,
    /// The file.
    pub(crate) file: PathBuf,
    /// How the device tree describes it.
    pub(crate) kind: Kind,
}

/// How the device tree describes a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `multiboot,kernel`: the host, which also gets the boot arguments.
    Kernel,
    /// `multiboot,ramdisk`: data for the host, such as a signed guest bundle.
    #[allow(dead_code, reason = "the guest bundle is the first one")]
    Data,
}

/// Builds the payloads, flattens them to target/ward/, and says what to load where.
pub(crate) fn build(args: &ImageArgs) -> Result<Vec<Module>> {
    say("building the EL1 test host and test guest");
    let programs = cargo_build("ward-payload", args.debug_build, &[])?;
    let dir = paths::ward_dir()?;
    for name in ["testhost", "testguest"] {
        flatten(&programs.join(name), &dir.join(name).with_extension("bin"))?;
    }
    Ok(vec![Module {
        address: HOST_ADDRESS,
        file: dir.join("testhost.bin"),
        kind: Kind::Kernel,
    }])
}
