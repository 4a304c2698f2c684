//! Memory nodes and reservations.
//!
//! What is memory is decided as Linux does (`drivers/of/fdt.c`): children of the root with
//! `device_type` "memory", whose ranges are in `linux,usable-memory`, else in `reg`, in the root's
//! cells. A tree in which another kernel might see more is refused, for then Ward could not say
//! what the host will take for memory.

use super::span::{join, push, subtract};
use super::walk::{enabled, spans_of};
use super::{Missing, Span, Spans, value};
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node, Property, ToCellInt};

/// Levels of nodes that are searched for memory nodes in the wrong place.
pub(super) const DEEPEST: u32 = 16;

/// Properties of memory nodes that hold ranges.
pub(super) const RANGES: [&str; 2] = ["linux,usable-memory", "reg"];

/// Cells of an address and of a size at the root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cells {
    pub(super) address: u32,
    pub(super) size: u32,
}

impl Cells {
    /// The root's.
    pub(super) fn of(fdt: Fdt<'_>) -> Result<Self, Missing> {
        let cell = |name| match value(&fdt.root(), name) {
            Some([0, 0, 0, n @ (1 | 2)]) => Ok(u32::from(*n)),
            _ => Err(Missing::Cells),
        };
        Ok(Cells {
            address: cell("#address-cells")?,
            size: cell("#size-cells")?,
        })
    }

    /// The ranges in the property `name` of `node`, none when it is not there.
    pub(super) fn ranges<'a>(
        self,
        node: &FdtNode<'a>,
        name: &str,
    ) -> Result<Option<impl Iterator<Item = Result<Span, Missing>> + use<'a>>, Missing> {
        let Some(property) = node.property(name) else {
            return Ok(None);
        };
        let cells = [self.address as usize, self.size as usize];
        let all = property
            .as_prop_encoded_array(cells)
            .map_err(|_| Missing::BadMemory)?;
        Ok(Some(all.map(|[base, size]| {
            let span = || Span::new(base.to_int().ok()?, size.to_int().ok()?);
            span().ok_or(Missing::BadMemory)
        })))
    }
}

/// Is this a memory node? C's string ends at the first zero.
pub(super) fn is_memory(node: &FdtNode<'_>) -> bool {
    value(node, "device_type").is_some_and(|kind| kind.starts_with(b"memory\0"))
}

/// Refuses memory nodes that are not children of the root.
fn check_nested(node: FdtNode<'_>, depth: u32) -> Result<(), Missing> {
    for child in node.children() {
        if depth == DEEPEST || (depth > 0 && is_memory(&child)) {
            return Err(Missing::NestedMemory);
        }
        check_nested(child, depth + 1)?;
    }
    Ok(())
}

/// What the tree says about memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub(super) ram: Spans,
    pub(super) reserved: Spans,
    /// Reserved RAM that nobody may map (`no-map`): taken out of `ram`.
    no_map: Spans,
}

/// Reads it. RAM is in ascending order.
pub(super) fn read(fdt: Fdt<'_>) -> Result<Memory, Missing> {
    let cells = Cells::of(fdt)?;
    check_nested(fdt.root(), 0)?;
    let mut found = Memory::default();
    for node in fdt.root().children().filter(is_memory) {
        // Both are checked, for both are edited for the host; the first is what counts.
        let mut first = true;
        for name in RANGES {
            let Some(ranges) = cells.ranges(&node, name)? else {
                continue;
            };
            for span in ranges {
                let span = span?;
                if first && enabled(&node) {
                    push(&mut found.ram, span.pages_inside())?;
                }
            }
            first = false;
        }
    }
    reservations(fdt, &mut found)?;
    join(&mut found.ram);
    for &hole in &found.no_map {
        subtract(&mut found.ram, hole)?;
    }
    if found.ram.is_empty() {
        return Err(Missing::Memory);
    }
    Ok(found)
}

fn reservations(fdt: Fdt<'_>, found: &mut Memory) -> Result<(), Missing> {
    for entry in fdt.memory_reservations() {
        let span = Span::new(entry.address(), entry.size()).ok_or(Missing::BadMemory)?;
        push(&mut found.reserved, span.to_pages())?;
    }
    let all = fdt.root().children();
    for parent in all.filter(|node| node.name_without_address() == "reserved-memory") {
        for node in parent.children().filter(enabled) {
            for span in spans_of(&node) {
                let span = span.ok_or(Missing::BadMemory)?;
                if node.property("no-map").is_some() {
                    push(&mut found.no_map, span.to_pages())?;
                } else {
                    push(&mut found.reserved, span.to_pages())?;
                }
            }
        }
    }
    // Room for boot's own entries besides.
    join(&mut found.reserved);
    join(&mut found.no_map);
    Ok(())
}
