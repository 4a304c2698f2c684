//! Why Ward cannot run on a machine, in the words of its console.

use core::fmt;

/// What the machine lacks, or has in a form Ward does not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// Not a device tree, or a damaged one.
    Tree,
    /// The root does not say in how many cells addresses and sizes are, or in more than two.
    Cells,
    /// No memory node with a range.
    Memory,
    /// A memory node, or a reservation, whose ranges cannot be read.
    BadMemory,
    /// A memory node that is no child of the root: some kernels use it, some do not.
    NestedMemory,
    /// More ranges of memory, reservations, modules or SMMUs than Ward has room for.
    TooMany,
    /// No CPU node, or more than [`MAX_CPUS`](super::MAX_CPUS).
    Cpus,
    /// No `arm,gic-v3` with a distributor and a redistributor.
    Gic,
    /// An SMMU whose registers cannot be found: it would let everything pass.
    BadSmmu,
    /// A GICv2.
    GicV2,
    /// No PSCI node.
    Psci,
    /// PSCI by `HVC`: its firmware is at EL2, where Ward is.
    PsciHvc,
    /// CPUs that wait in a loop of the boot loader's, and no PSCI.
    SpinTable,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Missing::Tree => "x0 does not point to a valid device tree",
            Missing::Cells => {
                "the device tree's root does not have #address-cells and #size-cells of 1 or 2"
            }
            Missing::Memory => "the device tree has no memory node",
            Missing::BadMemory => {
                "a memory node or a reservation of the device tree cannot be read"
            }
            Missing::NestedMemory => {
                "a memory node of the device tree is not a child of the root, or the tree is too deep"
            }
            Missing::TooMany => {
                "the device tree has more than 32 ranges of memory, reservations or modules, or more \
                 than 16 SMMUs"
            }
            Missing::Cpus => "the device tree has no CPUs, or more than 64",
            Missing::Gic => "the device tree has no GICv3 (on QEMU: -machine virt,gic-version=3)",
            Missing::BadSmmu => "the registers of an SMMU of the device tree cannot be found, or are no whole page",
            Missing::GicV2 => {
                "the machine has a GICv2; Ward needs a GICv3 (on QEMU: -machine virt,gic-version=3)"
            }
            Missing::Psci => "the device tree has no PSCI 0.2 or later to start CPUs with",
            Missing::PsciHvc => {
                "the device tree has PSCI by HVC, which firmware at EL3 does not answer \
                 (on QEMU: -machine virt,virtualization=on)"
            }
            Missing::SpinTable => {
                "the CPUs are started by a spin table; Ward needs PSCI by SMC (firmware at EL3)"
            }
        })
    }
}
