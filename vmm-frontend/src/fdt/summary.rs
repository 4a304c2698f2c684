//! What a device tree says, in short and as source.

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node, Property};

/// The parts of a tree that an owner or a host looks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// The kernel's command line.
    pub command_line: Option<String>,
    /// CPUs.
    pub cpus: usize,
    /// RAM: first address and bytes.
    pub memory: Vec<(u64, u64)>,
    /// The pool of pages shared with devices.
    pub pool: Option<(u64, u64)>,
    /// The initial RAM disk: first and last address.
    pub initrd: Option<(u64, u64)>,
    /// Devices: what they are compatible with first, and how many there are of them.
    pub devices: Vec<(String, usize)>,
}

/// Reads a tree; `None` when it is none. Safe with any bytes.
pub fn summarise(tree: &[u8]) -> Option<Summary> {
    let tree = Fdt::new(tree).ok()?;
    let mut summary = Summary::default();
    for node in tree.root().children() {
        match node.name_without_address() {
            "chosen" => {
                let line = node.property("bootargs");
                summary.command_line =
                    line.and_then(|p| Some(p.value_as::<&str>().ok()?.to_owned()));
                let number = |name| number(node.property(name)?.value());
                summary.initrd = number("linux,initrd-start").zip(number("linux,initrd-end"));
            }
            "cpus" => {
                let cpu = |node: &FdtNode| node.name_without_address() == "cpu";
                summary.cpus = node.children().filter(cpu).count();
            }
            "memory" => summary.memory.extend(reg(&node)),
            "reserved-memory" => {
                let pool = node
                    .children()
                    .find(|n| kind(n).as_deref() == Some("restricted-dma-pool"));
                summary.pool = pool.and_then(|node| reg(&node));
            }
            _ => count(&mut summary.devices, &node),
        }
    }
    Some(summary)
}

/// The tree as its source; `None` when it is none. What would command a terminal is escaped.
pub fn source(tree: &[u8]) -> Option<String> {
    let text = Fdt::new(tree).ok()?.to_string();
    let mut harmless = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\t' => harmless.push(letter),
            _ if letter.is_control() => harmless.extend(letter.escape_default()),
            _ => harmless.push(letter),
        }
    }
    Some(harmless)
}

/// Counts a node that has addresses.
fn count(devices: &mut Vec<(String, usize)>, node: &FdtNode) {
    let (Some(kind), Some(_)) = (kind(node), node.property("reg")) else {
        return;
    };
    match devices.iter_mut().find(|(known, _)| *known == kind) {
        Some((_, number)) => *number += 1,
        None => devices.push((kind, 1)),
    }
}

/// The first of the strings in `compatible`, if it is one that a terminal may see.
fn kind(node: &FdtNode) -> Option<String> {
    let property = node.property("compatible")?;
    let first = property.value().split(|&byte| byte == 0).next()?;
    let plain = !first.is_empty() && first.iter().all(u8::is_ascii_graphic);
    plain.then(|| String::from_utf8_lossy(first).into_owned())
}

/// The first address and size of a node below one with two cells for each.
fn reg(node: &FdtNode) -> Option<(u64, u64)> {
    let property = node.property("reg")?;
    let value = property.value();
    number(value.get(..8)?).zip(number(value.get(8..16)?))
}

/// A number of one or two cells.
fn number(value: &[u8]) -> Option<u64> {
    match value.len() {
        4 => Some(u32::from_be_bytes(*value.first_chunk()?).into()),
        8 => Some(u64::from_be_bytes(*value.first_chunk()?)),
        _ => None,
    }
}
