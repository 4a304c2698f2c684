//! What the device tree says about the machine (Devicetree Specification 0.4), and how the
//! host's copy of it is written.
//!
//! The tree comes from firmware and is trusted, but not to be complete: whatever Ward needs and
//! does not find is a [`Missing`] that says so on the console.

mod check;
mod chosen;
mod dma;
pub mod host;
mod memory;
mod missing;
mod span;
mod timer;
mod walk;

pub use check::parse;
pub use chosen::{Module, Modules, bootargs as chosen_bootargs, console, given};
pub use dma::{DmaNodes, MAX_SMMUS, Master, SmmuKind, SmmuNode, asks_for_iommu};
pub use missing::Missing;
pub use span::{MAX_SPANS, Span, Spans, subtract};

use arrayvec::ArrayVec;
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::standard::NodeStandard;
use dtoolkit::{Node, Property};

/// CPUs Ward can bring up.
pub const MAX_CPUS: usize = 64;

/// The machine.
#[derive(Clone, Debug)]
pub struct Platform<'a> {
    /// RAM: memory nodes, in whole pages, without what firmware keeps unmapped.
    pub ram: Spans,
    /// RAM that is taken: `/memreserve/` entries and `/reserved-memory`.
    pub reserved: Spans,
    /// Distributor and redistributors of the GICv3, and what else its node names.
    pub gic: Spans,
    /// INTID of the virtual timer.
    pub virtual_timer: u16,
    /// `MPIDR_EL1` affinities of the CPUs that are not disabled.
    pub cpus: ArrayVec<u64, MAX_CPUS>,
    /// What the boot loader put into memory for the host.
    pub modules: Modules<'a>,
}

/// The bytes of a property.
fn value<'a>(node: &FdtNode<'a>, name: &str) -> Option<&'a [u8]> {
    node.property(name)?.value_as::<&'a [u8]>().ok()
}

impl<'a> Platform<'a> {
    /// Reads the tree.
    ///
    /// # Errors
    /// What is [`Missing`].
    pub fn discover(fdt: Fdt<'a>) -> Result<Self, Missing> {
        let memory = memory::read(fdt)?;
        let gic = gic(fdt)?;
        psci(fdt)?;
        Ok(Platform {
            ram: memory.ram,
            reserved: memory.reserved,
            gic,
            virtual_timer: timer::interrupt(fdt).unwrap_or(timer::USUAL),
            cpus: cpus(fdt)?,
            modules: chosen::modules(fdt)?,
        })
    }
}

fn gic(fdt: Fdt<'_>) -> Result<Spans, Missing> {
    const GICV2: [&str; 5] = [
        "arm,gic-400",
        "arm,cortex-a15-gic",
        "arm,cortex-a7-gic",
        "arm,cortex-a9-gic",
        "arm,gic-v2",
    ];
    let Some(found) = walk::find(fdt, &|node| node.is_compatible("arm,gic-v3")) else {
        let older = |node: &FdtNode<'_>| GICV2.iter().any(|name| node.is_compatible(name));
        return Err(match walk::find(fdt, &older) {
            Some(_) => Missing::GicV2,
            None => Missing::Gic,
        });
    };
    let spans: Spans = found.registers().take(MAX_SPANS).collect();
    if spans.len() < 2 {
        return Err(Missing::Gic);
    }
    Ok(spans)
}

/// The CPU nodes that are in use.
fn cpu_nodes(fdt: Fdt<'_>) -> impl Iterator<Item = FdtNode<'_>> {
    let all = fdt.find_node("/cpus").into_iter();
    all.flat_map(|all| all.children())
        .filter(|node| node.name_without_address() == "cpu" && walk::enabled(node))
}

fn psci(fdt: Fdt<'_>) -> Result<(), Missing> {
    let known = ["arm,psci-1.0", "arm,psci-0.2"];
    let is_psci = |node: &FdtNode<'_>| known.iter().any(|name| node.is_compatible(name));
    let Some(found) = walk::find(fdt, &is_psci) else {
        let spins = |cpu: FdtNode<'_>| value(&cpu, "enable-method") == Some(b"spin-table\0");
        return Err(if cpu_nodes(fdt).any(spins) {
            Missing::SpinTable
        } else {
            Missing::Psci
        });
    };
    match value(&found.node, "method") {
        Some(b"smc\0") => Ok(()),
        Some(b"hvc\0") => Err(Missing::PsciHvc),
        _ => Err(Missing::Psci),
    }
}

fn cpus(fdt: Fdt<'_>) -> Result<ArrayVec<u64, MAX_CPUS>, Missing> {
    let mut found = ArrayVec::new();
    for node in cpu_nodes(fdt) {
        let reg = node.reg().ok().flatten().and_then(|mut reg| reg.next());
        let mpidr = reg
            .and_then(|reg| reg.address::<u64>().ok())
            .ok_or(Missing::Cpus)?;
        found.try_push(mpidr).map_err(|_| Missing::Cpus)?;
    }
    if found.is_empty() {
        Err(Missing::Cpus)
    } else {
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
