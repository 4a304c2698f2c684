//! Finding nodes, and where their registers are for a CPU.

use super::{Span, value};
use arrayvec::ArrayVec;
use dtoolkit::Node;
use dtoolkit::fdt::{Fdt, FdtNode};

/// Nodes between the root and a device, at most.
const DEPTH: usize = 16;

/// A node, and the buses above it.
#[derive(Clone, Debug)]
pub(super) struct Found<'a> {
    /// The node.
    pub(super) node: FdtNode<'a>,
    /// Its parents, the root apart, outermost first.
    buses: ArrayVec<FdtNode<'a>, DEPTH>,
}

impl<'a> Found<'a> {
    /// Does it read memory through the CPUs' caches, as it or the nearest bus above that says
    /// anything of it says (Linux, `of_dma_is_coherent`)?
    pub(super) fn is_coherent(&self, fdt: Fdt<'a>) -> bool {
        let above = self.buses.iter().rev().copied();
        [self.node]
            .into_iter()
            .chain(above)
            .chain([fdt.root()])
            .find_map(|node| match () {
                () if node.property("dma-coherent").is_some() => Some(true),
                () if node.property("dma-noncoherent").is_some() => Some(false),
                () => None,
            })
            .unwrap_or(false)
    }

    /// Is there a PCI bridge above it?
    pub(super) fn is_below_pci(&self) -> bool {
        self.buses.iter().any(is_pci)
    }

    /// Its `reg`, as the CPU addresses it: each bus translates by its `ranges` (Devicetree
    /// Specification 2.3.8). What no bus passes on is left out.
    pub(super) fn registers(&self) -> impl Iterator<Item = Span> + '_ {
        spans_of(&self.node).flatten().filter_map(|span| {
            let mut buses = self.buses.iter().rev();
            buses.try_fold(span, |span, bus| translate(bus, span))
        })
    }
}

/// `span` of a bus in the address space of the bus's parent.
fn translate(bus: &FdtNode<'_>, span: Span) -> Option<Span> {
    let mut ranges = bus.ranges().ok()??.peekable();
    if ranges.peek().is_none() {
        // An empty property: the addresses are the same.
        return Some(span);
    }
    ranges.find_map(|range| {
        let child = Span::new(range.child_bus_address().ok()?, range.length().ok()?)?;
        let parent: u64 = range.parent_bus_address().ok()?;
        let base = parent.checked_add(span.base.checked_sub(child.base)?)?;
        if child.contains(span) {
            Span::new(base, span.size)
        } else {
            None
        }
    })
}

/// The entries of a node's `reg`; `None` for one that cannot be read.
pub(super) fn spans_of<'a>(node: &FdtNode<'a>) -> impl Iterator<Item = Option<Span>> + use<'a> {
    let (bad, good) = match node.reg() {
        Ok(reg) => (None, reg),
        Err(_) => (Some(None), None),
    };
    bad.into_iter().chain(
        good.into_iter()
            .flatten()
            .map(|reg| Span::new(reg.address::<u64>().ok()?, reg.size::<u64>().ok()?)),
    )
}

/// Is the node a PCI bridge?
pub(super) fn is_pci(node: &FdtNode<'_>) -> bool {
    value(node, "device_type") == Some(b"pci\0")
}

/// Is the node in use?
pub(super) fn enabled(node: &FdtNode<'_>) -> bool {
    matches!(value(node, "status"), None | Some(b"okay\0" | b"ok\0"))
}

/// The first node for which `test` holds, depth first. What a disabled bus has is left out.
pub(super) fn find<'a>(fdt: Fdt<'a>, test: &dyn Fn(&FdtNode<'a>) -> bool) -> Option<Found<'a>> {
    struct Stop;
    let mut found = None;
    let _ = each(fdt, &mut |at, used| {
        if used && test(&at.node) {
            found = Some(at.clone());
            return Err(Stop);
        }
        Ok(())
    });
    found
}

/// Visits each node, depth first, with whether it is in use: neither it nor a bus above is disabled.
///
/// # Errors
/// The first of `visit`, which is then not called again.
pub(super) fn each<'a, E>(
    fdt: Fdt<'a>,
    visit: &mut dyn FnMut(&Found<'a>, bool) -> Result<(), E>,
) -> Result<(), E> {
    let mut at = Found {
        node: fdt.root(),
        buses: ArrayVec::new(),
    };
    below(&mut at, true, visit)
}

fn below<'a, E>(
    at: &mut Found<'a>,
    used: bool,
    visit: &mut dyn FnMut(&Found<'a>, bool) -> Result<(), E>,
) -> Result<(), E> {
    let parent = at.node;
    for node in parent.children() {
        at.node = node;
        let used = used && enabled(&node);
        visit(at, used)?;
        // Trees that are deeper are refused, see `memory`.
        if at.buses.try_push(node).is_ok() {
            below(at, used, visit)?;
            at.buses.pop();
        }
    }
    Ok(())
}

/// The node at a full path.
pub(super) fn at<'a>(fdt: Fdt<'a>, path: &str) -> Option<Found<'a>> {
    let (mut node, mut buses) = (None, ArrayVec::new());
    for name in path.strip_prefix('/')?.split('/') {
        if let Some(bus) = node {
            buses.try_push(bus).ok()?;
        }
        node = Some(node.unwrap_or(fdt.root()).child(name)?);
    }
    Some(Found { node: node?, buses })
}
