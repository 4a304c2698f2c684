//! The device tree as the host gets it: its command line, its RAM disk, and no memory of Ward's.
//!
//! Ward's memory is taken out of the memory nodes, so that a host never believes it exists;
//! reserving it would leave it in the host's linear map. Everything that Ward does not have to
//! change stays as the boot loader wrote it.
//!
//! Nothing rests on the host's obedience: stage 2 keeps it from Ward's memory whatever its tree
//! says, now or after memory is added. The tree is what lets an honest host run.

use super::memory::{Cells, RANGES, is_memory};
use super::{Master, Missing, Span, Spans, chosen, dma, subtract};
use arrayvec::ArrayVec;
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::fdt_mut::{FdtMut, FdtNodeMut, SliceBuffer};
use dtoolkit::{Node, Property, ToPropertyValue};

/// Room that editing may need beyond the tree's own size and the command line.
pub const SLACK: usize = 16 * 1024;

/// The tree could not be edited: damaged, in an unknown form, or no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EditFailed;

impl From<Missing> for EditFailed {
    fn from(_: Missing) -> Self {
        EditFailed
    }
}

/// What changes for the host.
#[derive(Clone, Debug, Default)]
pub struct Changes<'a> {
    /// Ranges that are not the host's memory.
    pub hidden: &'a [Span],
    /// The host's command line; none: as found.
    pub bootargs: Option<&'a str>,
    /// The host's RAM disk; none: it has none, whatever the tree said.
    pub ramdisk: Option<Span>,
    /// Bus masters that the host does not get.
    pub masters: &'a [Master],
    /// The host maps memory for its devices by calls: each SMMU has a node to that end.
    pub iommu: bool,
}

type Buffer<'a> = SliceBuffer<'a>;
type Tree<'a> = FdtMut<Buffer<'a>>;

/// Properties of `/chosen` for the RAM disk.
const INITRD: [&str; 2] = ["linux,initrd-start", "linux,initrd-end"];
/// Ranges in `/chosen` to which a crash kernel keeps, in the root's cells. Linux adds all but the
/// first to its memory.
const USABLE: &str = "linux,usable-memory-range";

/// Copies the tree to the start of `buffer` without the padding that loaders leave behind it.
///
/// # Errors
/// [`EditFailed`] when it does not fit.
pub fn copy(fdt: Fdt<'_>, buffer: &mut [u8]) -> Result<(), EditFailed> {
    let data = fdt.data();
    let used = used(data).ok_or(EditFailed)?;
    buffer
        .get_mut(..used)
        .ok_or(EditFailed)?
        .copy_from_slice(&data[..used]);
    let size = u32::try_from(used).map_err(|_| EditFailed)?;
    buffer[4..8].copy_from_slice(&size.to_be_bytes());
    Ok(())
}

/// Bytes of the tree without padding: the strings come last (checked by `parse`).
fn used(data: &[u8]) -> Option<usize> {
    let word = |at: usize| {
        let bytes = data.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(bytes)).ok()
    };
    let end = word(12)?.checked_add(word(32)?)?;
    (end <= data.len()).then_some(end)
}

/// Edits the tree that [`copy`] put at the start of `buffer`, whose rest is room to grow, and
/// returns the bytes it then has. With [`SLACK`] bytes to spare, and the command line's, all changes fit.
///
/// # Errors
/// [`EditFailed`]; the buffer's contents are then of no use.
pub fn edit(buffer: &mut [u8], changes: &Changes<'_>) -> Result<usize, EditFailed> {
    // The tree is the start of the buffer.
    let size = used(buffer).ok_or(EditFailed)?;
    super::parse(&buffer[..size])?;
    let mut fdt = FdtMut::from_slice_unchecked(buffer);
    hide(&mut fdt, changes.hidden)?;
    hide_devices(&mut fdt, changes.masters, changes.iommu)?;
    if fdt.find_node_mut("/chosen").is_none() {
        add_chosen(&mut fdt)?;
    }
    let mut chosen = fdt.find_node_mut("/chosen").ok_or(EditFailed)?;
    if let Some(bootargs) = changes.bootargs {
        set(&mut chosen, "bootargs", bootargs)?;
    }
    match changes.ramdisk {
        Some(ramdisk) => {
            set(&mut chosen, INITRD[0], ramdisk.base)?;
            set(&mut chosen, INITRD[1], ramdisk.end())?;
        }
        None => INITRD.iter().for_each(|name| remove(&mut chosen, name)),
    }
    // The kernel and the RAM disk are no modules for the host: it has them already.
    remove_children(&mut chosen, &chosen::is_taken);
    Ok(fdt.as_read_only().data().len())
}

fn remove(node: &mut FdtNodeMut<'_, Buffer<'_>>, name: &str) {
    // A damaged tree may have it twice.
    while node.remove_property(name) {}
}

fn set<T: ToPropertyValue>(
    node: &mut FdtNodeMut<'_, Buffer<'_>>,
    name: &str,
    value: T,
) -> Result<(), EditFailed> {
    remove(node, name);
    node.add_property(name, value).map_err(|_| EditFailed)?;
    Ok(())
}

/// Removes the children for which `test` holds.
fn remove_children(parent: &mut FdtNodeMut<'_, Buffer<'_>>, test: &dyn Fn(&FdtNode<'_>) -> bool) {
    loop {
        let mut children = parent.children_mut();
        let taken = loop {
            match children.next() {
                Some(node) if test(&node.as_read_only()) => break node,
                Some(_) => {}
                None => return,
            }
        };
        taken.remove();
    }
}

/// Takes the SMMUs out, so that a host does DMA as if there were none, and the bus masters that it
/// is not to have. `msi-map` stays: messages pass the SMMU unchanged.
///
/// With `iommu` a node without registers stands in for each SMMU in use, and what leads there stays.
fn hide_devices(fdt: &mut Tree<'_>, masters: &[Master], iommu: bool) -> Result<(), EditFailed> {
    let tree = fdt.as_read_only();
    let numbered = if iommu {
        dma::numbered(tree)?
    } else {
        ArrayVec::new()
    };
    let hiding = Hiding {
        masters,
        phandles: &dma::hidden_phandles(tree)?,
        numbered: &numbered,
    };
    prune(&mut fdt.root_mut(), &hiding, 0)
}

/// What becomes of nodes.
struct Hiding<'a> {
    /// Bus masters that go.
    masters: &'a [Master],
    /// Of SMMUs and their monitors.
    phandles: &'a [u32],
    /// Of the SMMUs that something stands in for.
    numbered: &'a [Option<u32>],
}

impl Hiding<'_> {
    fn hides(&self, node: &FdtNode<'_>) -> bool {
        (dma::is_hidden(node) && self.number(node).is_none())
            || Master::of(node).is_some_and(|master| self.masters.contains(&master))
    }

    fn is_gone(&self, phandle: u32) -> bool {
        self.phandles.contains(&phandle) && !self.numbered.contains(&Some(phandle))
    }

    /// Number of the SMMU that something stands in for.
    fn number(&self, node: &FdtNode<'_>) -> Option<u32> {
        dma::number(node, self.numbered)
    }
}

fn prune(
    node: &mut FdtNodeMut<'_, Buffer<'_>>,
    hiding: &Hiding<'_>,
    depth: u32,
) -> Result<(), EditFailed> {
    if depth > super::memory::DEEPEST {
        return Err(EditFailed);
    }
    if dma::leads_to(&node.as_read_only(), &|phandle| hiding.is_gone(phandle)) {
        for name in dma::LEADS {
            remove(node, name);
        }
    }
    remove_children(node, &|child| hiding.hides(child));
    if let Some(number) = hiding.number(&node.as_read_only()) {
        stand_in(node, number)?;
    }
    let mut children = node.children_mut();
    while let Some(mut child) = children.next() {
        prune(&mut child, hiding, depth + 1)?;
    }
    Ok(())
}

/// Makes an SMMU's node that of the paravirtual IOMMU (`ward,iommu.yaml` in the Linux patches). The
/// name and the `phandle` stay.
fn stand_in(node: &mut FdtNodeMut<'_, Buffer<'_>>, number: u32) -> Result<(), EditFailed> {
    remove_properties(node, "phandle");
    set(node, "compatible", "ward,iommu")?;
    set(node, "#iommu-cells", 1_u32)?;
    set(node, "ward,smmu-index", number)
}

/// Removes all properties but one.
fn remove_properties(node: &mut FdtNodeMut<'_, Buffer<'_>>, but: &str) {
    loop {
        let mut properties = node.properties_mut();
        let gone = loop {
            match properties.next() {
                Some(property) if property.as_read_only().name() != but => break property,
                Some(_) => {}
                None => return,
            }
        };
        gone.remove();
    }
}

/// Gives the root an empty node `/chosen`. The crate adds properties but no nodes; a property of
/// four bytes has the size of an empty node with a name of six letters.
fn add_chosen(fdt: &mut Tree<'_>) -> Result<(), EditFailed> {
    const HEADER: usize = 12;
    let mut root = fdt.root_mut();
    let room = root
        .add_property("bootargs", 0_u32)
        .map_err(|_| EditFailed)?;
    let at = room.as_read_only().value().as_ptr() as usize;
    let data = fdt.data_mut();
    let at = at - data.as_ptr() as usize - HEADER;
    // FDT_BEGIN_NODE, the name, FDT_END_NODE (Devicetree Specification 5.4.1).
    data[at..at + HEADER + 4].copy_from_slice(b"\0\0\0\x01chosen\0\0\0\0\0\x02");
    Ok(())
}

/// Takes the hidden ranges out of everything that a host takes for memory, and looks again.
fn hide(fdt: &mut Tree<'_>, hidden: &[Span]) -> Result<(), EditFailed> {
    while let Some(left) = visible(fdt.as_read_only(), hidden)? {
        let mut reg = [0; 16 * super::MAX_SPANS];
        let len = encode(&left.spans, left.cells, &mut reg)?;
        let mut root = fdt.root_mut();
        let mut children = root.children_mut();
        let mut at = 0;
        while let Some(mut node) = children.next() {
            if at == left.child {
                set(&mut node, left.name, &reg[..len])?;
                break;
            }
            at += 1;
        }
    }
    Ok(())
}

/// A property that names hidden memory, and what it is to hold instead.
struct Visible {
    /// Number of the node among the root's children.
    child: usize,
    name: &'static str,
    cells: Cells,
    spans: Spans,
}

/// The first property that names hidden memory.
fn visible(fdt: Fdt<'_>, hidden: &[Span]) -> Result<Option<Visible>, EditFailed> {
    let cells = Cells::of(fdt)?;
    for (child, node) in fdt.root().children().enumerate() {
        for &name in ranges_in(&node) {
            let Some(ranges) = cells.ranges(&node, name)? else {
                continue;
            };
            let mut spans = Spans::new();
            for span in ranges {
                spans.try_push(span?).map_err(|_| EditFailed)?;
            }
            let shown = |span: &Span| hidden.iter().any(|hole| hole.overlaps(*span));
            if !spans.iter().any(shown) {
                continue;
            }
            for &hole in hidden {
                subtract(&mut spans, hole)?;
            }
            return Ok(Some(Visible {
                child,
                name,
                cells,
                spans,
            }));
        }
    }
    Ok(None)
}

/// The properties of a child of the root that name memory.
fn ranges_in(node: &FdtNode<'_>) -> &'static [&'static str] {
    if is_memory(node) {
        &RANGES
    } else if node.name_without_address() == "chosen" {
        &[USABLE]
    } else {
        &[]
    }
}

fn encode(spans: &Spans, cells: Cells, out: &mut [u8]) -> Result<usize, EditFailed> {
    let mut len = 0;
    for span in spans {
        for (value, cells) in [(span.base, cells.address), (span.size, cells.size)] {
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
