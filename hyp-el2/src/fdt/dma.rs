//! What the device tree says about DMA: the SMMUs, the doorbells of message interrupts, and the
//! bus masters that no SMMU stands before.
//!
//! An SMMU is a bus master itself: it reads tables and writes queues where its registers say, and
//! its performance monitors write messages. So a host that reached the registers of *any* SMMUv3 would
//! reach all memory, and the pages of each are kept from it, also of those that the tree disables.
//! Those of an SMMUv2 too: what the host accesses there, Ward does for it, filtered.

use super::walk::{Found, each, enabled, is_pci};
use super::{Missing, Span, Spans, given, value};
use arrayvec::ArrayVec;
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::standard::NodeStandard;
use hyp_core::addr::PAGE_SIZE;

/// SMMUs Ward has room for. One more ends the boot: an SMMU that nobody drives lets everything
/// pass.
pub const MAX_SMMUS: usize = 16;

/// SMMUv3 (Linux, `Documentation/devicetree/bindings/iommu/arm,smmu-v3.yaml`).
const SMMU: &str = "arm,smmu-v3";
/// Its performance monitors, which can write a message wherever they are told (IHI 0070, 10).
const MONITORS: &str = "arm,smmu-v3-pmcg";
/// Translation service of message interrupts.
const ITS: &str = "arm,gic-v3-its";
/// SMMUv2 (Linux, `Documentation/devicetree/bindings/iommu/arm,smmu.yaml`), one of which is
/// Arm's own.
const MMU500: &str = "arm,mmu-500";
const SECOND: [&str; 2] = [MMU500, "arm,smmu-v2"];
/// SMMUs that Ward does not drive, whatever else they say they are: those of version 1, one that
/// shares VMIDs with its neighbours, one whose bus takes no access of 64 bits (so it cannot be told
/// to forget an address), one that is several behind each other, and one that says no more than that.
const OTHERS: [&str; 7] = [
    "arm,smmu-v1",
    "arm,mmu-400",
    "arm,mmu-401",
    "cavium,smmu-v2",
    "marvell,ap806-smmu-500",
    "nvidia,smmu-500",
    "qcom,smmu-v2",
];

/// What an SMMU is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SmmuKind {
    /// An SMMUv3, which the host does not see.
    V3,
    /// An SMMUv2, whose registers the host accesses through Ward's filter.
    V2 {
        /// It is Arm's MMU-500.
        mmu500: bool,
    },
}

impl SmmuKind {
    fn of(node: &FdtNode<'_>) -> Option<Self> {
        let is = |name: &&str| node.is_compatible(name);
        if node.is_compatible(SMMU) {
            Some(SmmuKind::V3)
        } else if SECOND.iter().any(is) && !OTHERS.iter().any(is) {
            let mmu500 = node.is_compatible(MMU500);
            Some(SmmuKind::V2 { mmu500 })
        } else {
            None
        }
    }
}

/// One SMMU that is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SmmuNode {
    /// What it is.
    pub kind: SmmuKind,
    /// Its registers.
    pub registers: Span,
    /// The tree says that it reads memory through the CPUs' caches.
    pub coherent: bool,
    /// Streams that the tree leads to it are below this number; of an SMMUv3.
    pub streams: u64,
    phandle: Option<u32>,
}

/// A bus master that QEMU's boards have beside their SMMU, with registers of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Master {
    /// QEMU's configuration device: one register starts a transfer to anywhere.
    FwCfg,
    /// virtio by registers: each queue is in memory of the driver's choice.
    VirtioMmio,
}

impl Master {
    /// All.
    pub const ALL: [Master; 2] = [Master::FwCfg, Master::VirtioMmio];

    /// What `ward.allow=` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Master::FwCfg => "fw-cfg",
            Master::VirtioMmio => "virtio-mmio",
        }
    }

    const fn compatible(self) -> &'static str {
        match self {
            Master::FwCfg => "qemu,fw-cfg-mmio",
            Master::VirtioMmio => "virtio,mmio",
        }
    }

    /// Is this node one?
    pub(super) fn of(node: &FdtNode<'_>) -> Option<Self> {
        let is = |master: &Master| node.is_compatible(master.compatible());
        Self::ALL.into_iter().find(is)
    }

    /// Does the command line let the host have it: `ward.allow=` with its name in a list?
    pub fn is_allowed(self, bootargs: &str) -> bool {
        given(bootargs, "ward.allow=")
            .flat_map(|list| list.split(','))
            .any(|name| name == self.name())
    }
}

/// What the tree says about DMA.
#[derive(Clone, Debug, Default)]
pub struct DmaNodes {
    /// SMMUs to drive.
    pub smmus: ArrayVec<SmmuNode, MAX_SMMUS>,
    /// Whole pages of registers that the host may never reach.
    pub hidden: Spans,
    /// Pages to which devices write message interrupts.
    pub doorbells: Spans,
    /// Whole pages of registers of [`Master`]s, in the order of [`Master::ALL`].
    pub masters: [Spans; 2],
    /// Registers of the GICv3's distributor.
    pub distributor: Option<Span>,
    /// Regions of its redistributors.
    pub redistributors: Spans,
    /// Bytes from one redistributor to the next, where the tree says.
    pub stride: Option<u64>,
    /// Registers of its translation services.
    pub services: Spans,
    /// PCI host bridges, some of whose devices no SMMU stands before.
    pub open_bridges: u32,
    /// SMMUs that Ward does not drive.
    pub others: u32,
}

impl DmaNodes {
    /// Reads the tree.
    ///
    /// # Errors
    /// [`Missing::BadSmmu`] for an SMMU whose registers cannot be read; [`Missing::TooMany`].
    pub fn read(fdt: Fdt<'_>) -> Result<Self, Missing> {
        let mut nodes = DmaNodes::default();
        each(fdt, &mut |found, used| nodes.add(fdt, found, used))?;
        // Only now all SMMUs are known.
        each(fdt, &mut |found, used| {
            if used {
                nodes.streams_of(found);
            }
            Ok::<(), Missing>(())
        })?;
        super::span::join(&mut nodes.hidden);
        for spans in &mut nodes.masters {
            super::span::join(spans);
        }
        Ok(nodes)
    }

    fn add<'a>(&mut self, fdt: Fdt<'a>, found: &Found<'a>, used: bool) -> Result<(), Missing> {
        let node = &found.node;
        let pages = |span: Span| span.to_pages();
        if let Some(kind) = SmmuKind::of(node) {
            let registers = found.registers().next();
            let Some(registers) = registers else {
                // Out of use and out of reach is as good as not there.
                return if used { Err(Missing::BadSmmu) } else { Ok(()) };
            };
            super::span::push(&mut self.hidden, pages(registers))?;
            if used {
                // What ends every stream is in the first page.
                if !registers.base.is_multiple_of(PAGE_SIZE) || registers.size < PAGE_SIZE {
                    return Err(Missing::BadSmmu);
                }
                let smmu = SmmuNode {
                    kind,
                    registers,
                    coherent: found.is_coherent(fdt),
                    streams: 0,
                    phandle: phandle(node),
                };
                self.smmus.try_push(smmu).map_err(|_| Missing::TooMany)?;
            }
        } else if node.is_compatible(MONITORS) {
            for span in found.registers() {
                super::span::push(&mut self.hidden, pages(span))?;
            }
        } else if let Some(master) = Master::of(node) {
            for span in found.registers() {
                let spans = &mut self.masters[master as usize];
                super::span::push(spans, pages(span))?;
                // 32 windows of virtio are 4 pages.
                super::span::join(spans);
            }
        } else if used && OTHERS.iter().any(|name| node.is_compatible(name)) {
            self.others += 1;
        } else if used && node.is_compatible("arm,gic-v3") {
            self.gic(found)?;
        } else if node.is_compatible(ITS) {
            // Out of use it is a bus master all the same, and nobody looks at its commands.
            match found.registers().next() {
                Some(span) if used => {
                    self.services.try_push(span).map_err(|_| Missing::TooMany)?;
                }
                Some(span) => super::span::push(&mut self.hidden, pages(span))?,
                None => {}
            }
        }
        if used && let Some(page) = doorbell(found) {
            super::span::push(&mut self.doorbells, page)?;
            super::span::join(&mut self.doorbells);
        }
        Ok(())
    }

    /// Distributor, as many regions of redistributors as the tree says, and what is no matter here.
    fn gic(&mut self, found: &Found<'_>) -> Result<(), Missing> {
        let regions = cells::<1>(&found.node, "#redistributor-regions").next();
        let mut registers = found.registers();
        self.distributor = registers.next();
        for span in registers.take(regions.map_or(1, |[n]| n as usize)) {
            super::span::push(&mut self.redistributors, span)?;
        }
        self.stride = match value(&found.node, "redistributor-stride") {
            Some([0, 0, 0, 0, low @ ..]) | Some(low) if low.len() == 4 => low
                .first_chunk()
                .map(|bytes| u32::from_be_bytes(*bytes).into()),
            _ => None,
        };
        Ok(())
    }

    /// Which streams a node's `iommus` and `iommu-map` lead to which SMMU.
    fn streams_of(&mut self, found: &Found<'_>) {
        let node = &found.node;
        // One cell names a stream of an SMMUv3. An SMMUv2's may have two, but how far its streams
        // go nobody asks.
        for [phandle, stream] in cells(node, "iommus") {
            self.reach(phandle, u64::from(stream) + 1);
        }
        let mut mapped = 0;
        for [_, phandle, first, length] in cells(node, "iommu-map") {
            // An SMMU that is not driven lets everything pass.
            if self.reach(phandle, u64::from(first) + u64::from(length)) {
                mapped += u64::from(length);
            }
        }
        if is_pci(node) && !found.is_below_pci() && mapped < requesters(node) {
            self.open_bridges += 1;
        }
    }

    /// Streams below `end` lead to the SMMU of this name; `false`: Ward drives none.
    fn reach(&mut self, phandle: u32, end: u64) -> bool {
        let ours = |smmu: &&mut SmmuNode| smmu.phandle == Some(phandle);
        let found = self.smmus.iter_mut().find(ours);
        let driven = found.is_some();
        if let Some(smmu) = found {
            smmu.streams = smmu.streams.max(end);
        }
        driven
    }
}

/// How many requester IDs a host bridge has: 256 for each bus, of 256 buses where it does not say.
fn requesters(node: &FdtNode<'_>) -> u64 {
    let buses = match cells::<2>(node, "bus-range").next() {
        Some([first, last]) => u64::from(last.saturating_sub(first)) + 1,
        None => 256,
    };
    buses << 8
}

/// The page that devices write to for an interrupt: `GITS_TRANSLATER` is in the second frame of
/// 64 KiB of an ITS (IHI 0069, 12.18), `V2M_MSI_SETSPI_NS` in the first page of its own.
fn doorbell(found: &Found<'_>) -> Option<Span> {
    let registers = || found.registers().next();
    let at = if found.node.is_compatible(ITS) {
        registers().filter(|span| span.size >= 0x2_0000)?.base + 0x1_0000
    } else if found.node.is_compatible("arm,gic-v2m-frame") {
        registers()?.base
    } else {
        return None;
    };
    Span::new(at, 1).map(Span::to_pages)
}

/// Words of a property, `N` at a time. What is left over is left out.
fn cells<'a, const N: usize>(
    node: &FdtNode<'a>,
    name: &str,
) -> impl Iterator<Item = [u32; N]> + use<'a, N> {
    let bytes = value(node, name).unwrap_or(&[]);
    bytes.chunks_exact(4 * N).map(|entry| {
        let word = |n: usize| {
            entry[4 * n..]
                .first_chunk()
                .copied()
                .map_or(0, u32::from_be_bytes)
        };
        core::array::from_fn(word)
    })
}

fn phandle(node: &FdtNode<'_>) -> Option<u32> {
    cells::<1>(node, "phandle").next().map(|[phandle]| phandle)
}

/// Does the command line ask for nodes with which a host maps memory for its devices:
/// `ward.iommu=on`? The last word counts.
pub fn asks_for_iommu(bootargs: &str) -> bool {
    given(bootargs, "ward.iommu=").next_back() == Some("on")
}

/// The `phandle`s of the SMMUs in use, in the order of their numbers.
pub(super) fn numbered(fdt: Fdt<'_>) -> Result<ArrayVec<Option<u32>, MAX_SMMUS>, Missing> {
    let mut found = ArrayVec::new();
    each(fdt, &mut |node, used| {
        if used && SmmuKind::of(&node.node).is_some() {
            found
                .try_push(phandle(&node.node))
                .map_err(|_| Missing::TooMany)?;
        }
        Ok(())
    })?;
    Ok(found)
}

/// The number of a node, if it is one of the SMMUs that [`numbered`] found.
pub(super) fn number(node: &FdtNode<'_>, numbered: &[Option<u32>]) -> Option<u32> {
    if !node.is_compatible(SMMU) || !enabled(node) {
        return None;
    }
    let name = phandle(node)?;
    let n = numbered.iter().position(|&it| it == Some(name))?;
    u32::try_from(n).ok()
}

/// Is the node not for the host: an SMMUv3 or its monitors?
pub(super) fn is_hidden(node: &FdtNode<'_>) -> bool {
    node.is_compatible(SMMU) || node.is_compatible(MONITORS)
}

/// Does the node lead its streams to an SMMU that `gone` says is not there for the host?
pub(super) fn leads_to(node: &FdtNode<'_>, gone: &dyn Fn(u32) -> bool) -> bool {
    cells(node, "iommus").any(|[phandle, _]| gone(phandle))
        || cells(node, "iommu-map").any(|[_, phandle, _, _]| gone(phandle))
}

/// The properties that lead a node's streams to an SMMU.
pub(super) const LEADS: [&str; 3] = ["iommus", "iommu-map", "iommu-map-mask"];

/// The `phandle`s of all nodes that are hidden.
pub(super) fn hidden_phandles(fdt: Fdt<'_>) -> Result<ArrayVec<u32, 64>, Missing> {
    let mut found = ArrayVec::new();
    each(fdt, &mut |node, _| {
        if let Some(phandle) = phandle(&node.node).filter(|_| is_hidden(&node.node)) {
            found.try_push(phandle).map_err(|_| Missing::TooMany)?;
        }
        Ok(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests;
