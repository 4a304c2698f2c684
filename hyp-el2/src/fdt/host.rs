//! The device tree as the host gets it: its command line, its RAM disk, and no memory of Ward's.
//!
//! Ward's memory is taken out of the memory nodes, so that a host never believes it exists;
//! reserving it would leave it in the host's linear map.

use super::{Span, Spans, subtract};
use dtoolkit::Node;
use dtoolkit::fdt::Fdt;
use dtoolkit::fdt_mut::{FdtMut, SliceBuffer};

/// Room that editing may need beyond the tree's own size.
pub const SLACK: usize = 16 * 1024;

/// The tree could not be edited: damaged, in an unknown form, or no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EditFailed;

/// What changes for the host.
#[derive(Clone, Debug)]
pub struct Changes<'a> {
    /// Ranges that are not the host's memory.
    pub hidden: &'a [Span],
    /// The host's command line.
    pub bootargs: Option<&'a str>,
    /// The host's RAM disk.
    pub ramdisk: Option<Span>,
}

fn set<T: dtoolkit::ToPropertyValue>(
    fdt: &mut FdtMut<SliceBuffer<'_>>,
    path: &str,
    name: &str,
    value: T,
) -> Result<(), EditFailed> {
    let mut node = fdt.find_node_mut(path).ok_or(EditFailed)?;
    node.remove_property(name);
    node.add_property(name, value).map_err(|_| EditFailed)?;
    Ok(())
}

/// Edits the tree at the start of `buffer`, whose rest is room to grow, and returns the bytes it
/// then has. With [`SLACK`] bytes to spare all changes fit.
///
/// # Errors
/// [`EditFailed`]; the buffer's contents are then of no use.
pub fn edit(buffer: &mut [u8], changes: &Changes<'_>) -> Result<usize, EditFailed> {
    let mut fdt = FdtMut::from_slice(buffer).map_err(|_| EditFailed)?;
    hide(&mut fdt, changes.hidden)?;
    if let Some(bootargs) = changes.bootargs {
        set(&mut fdt, "/chosen", "bootargs", bootargs)?;
    }
    if let Some(ramdisk) = changes.ramdisk {
        set(&mut fdt, "/chosen", "linux,initrd-start", ramdisk.base)?;
        set(&mut fdt, "/chosen", "linux,initrd-end", ramdisk.end())?;
    }
    Ok(fdt.as_read_only().data().len())
}

/// Rewrites `reg` of every memory node without the hidden ranges.
fn hide(fdt: &mut FdtMut<SliceBuffer<'_>>, hidden: &[Span]) -> Result<(), EditFailed> {
    let mut nth = 0;
    while let Some((cells, spans, changed)) = memory_node(fdt.as_read_only(), nth, hidden)? {
        if changed {
            let mut reg = [0; 16 * super::MAX_SPANS];
            let len = encode(&spans, cells, &mut reg)?;
            let mut root = fdt.root_mut();
            let mut children = root.children_mut();
            let mut seen = 0;
            while let Some(mut node) = children.next() {
                if !is_memory(&node.as_read_only()) {
                    continue;
                }
                if seen == nth {
                    node.remove_property("reg");
                    node.add_property("reg", &reg[..len])
                        .map_err(|_| EditFailed)?;
                    break;
                }
                seen += 1;
            }
        }
        nth += 1;
    }
    Ok(())
}

fn is_memory(node: &dtoolkit::fdt::FdtNode<'_>) -> bool {
    super::value(node, "device_type") == Some(b"memory\0")
}

/// Cells of address and size, ranges left, and whether that differs, of the `nth` memory node.
type MemoryNode = ((u32, u32), Spans, bool);

fn memory_node(
    fdt: Fdt<'_>,
    nth: usize,
    hidden: &[Span],
) -> Result<Option<MemoryNode>, EditFailed> {
    use dtoolkit::standard::NodeStandard;
    let root = fdt.root();
    let space = root.address_space();
    let Some(node) = root.children().filter(is_memory).nth(nth) else {
        return Ok(None);
    };
    let mut spans: Spans = super::spans_of(node).take(super::MAX_SPANS).collect();
    let before = spans.clone();
    for &hole in hidden {
        subtract(&mut spans, hole).map_err(|_| EditFailed)?;
    }
    let changed = spans != before;
    Ok(Some((
        (space.address_cells, space.size_cells),
        spans,
        changed,
    )))
}

fn encode(spans: &Spans, cells: (u32, u32), out: &mut [u8]) -> Result<usize, EditFailed> {
    let mut len = 0;
    for span in spans {
        for (value, cells) in [(span.base, cells.0), (span.size, cells.1)] {
            let bytes = value.to_be_bytes();
            let bytes = match cells {
                1 if value >> 32 == 0 => &bytes[4..],
                2 => &bytes[..],
                _ => return Err(EditFailed),
            };
            out.get_mut(len..len + bytes.len())
                .ok_or(EditFailed)?
                .copy_from_slice(bytes);
            len += bytes.len();
        }
    }
    Ok(len)
}
