//! Finding nodes, and where their registers are for a CPU.

use super::{Span, value};
use arrayvec::ArrayVec;
use dtoolkit::Node;
use dtoolkit::fdt::{Fdt, FdtNode};

/// Nodes between the root and a device, at most.
const DEPTH: usize = 6;

/// A node, and the buses above it.
#[derive(Clone, Debug)]
pub(super) struct Found<'a> {
    /// The node.
    pub(super) node: FdtNode<'a>,
    /// Its parents, the root apart, outermost first.
    buses: ArrayVec<FdtNode<'a>, DEPTH>,
}

impl<'a> Found<'a> {
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

/// Is the node in use?
pub(super) fn enabled(node: &FdtNode<'_>) -> bool {
    matches!(value(node, "status"), None | Some(b"okay\0" | b"ok\0"))
}

/// The first node for which `test` holds, depth first. What a disabled bus has is left out.
pub(super) fn find<'a>(fdt: Fdt<'a>, test: &dyn Fn(&FdtNode<'a>) -> bool) -> Option<Found<'a>> {
    find_below(fdt.root(), &ArrayVec::new(), test)
}

fn find_below<'a>(
    parent: FdtNode<'a>,
    buses: &ArrayVec<FdtNode<'a>, DEPTH>,
    test: &dyn Fn(&FdtNode<'a>) -> bool,
) -> Option<Found<'a>> {
    parent.children().filter(enabled).find_map(|node| {
        let buses = buses.clone();
        if test(&node) {
            return Some(Found { node, buses });
        }
        let mut below = buses;
        below.try_push(node).ok()?;
        find_below(node, &below, test)
    })
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
