//! A second reader of device trees, written for the tests: it shares no code with what they test,
//! and sees memory as Linux does (`drivers/of/fdt.c`).

use super::Span;

/// A tree as a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    /// Path, name of a property (none for the node itself) and its value, in the tree's order.
    pub(super) items: Vec<(String, Option<String>, Vec<u8>)>,
    /// The memory reservation block.
    pub(super) reservations: Vec<(u64, u64)>,
}

fn word(blob: &[u8], at: usize) -> Option<usize> {
    let bytes = blob.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?) as usize)
}

fn string(blob: &[u8], at: usize) -> Option<String> {
    let rest = blob.get(at..)?;
    let len = rest.iter().position(|&byte| byte == 0)?;
    Some(String::from_utf8_lossy(&rest[..len]).into_owned())
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

impl Tree {
    /// Reads a flattened tree (Devicetree Specification 5), as far as it goes.
    pub(super) fn read(blob: &[u8]) -> Option<Self> {
        let (mut at, strings) = (word(blob, 8)?, word(blob, 12)?);
        let (mut path, mut items) = (Vec::<String>::new(), Vec::new());
        loop {
            let token = word(blob, at)?;
            at += 4;
            match token {
                1 => {
                    let name = string(blob, at)?;
                    at = (at + name.len() + 1).next_multiple_of(4);
                    path.push(name);
                    items.push((path.join("/"), None, Vec::new()));
                }
                2 => {
                    path.pop()?;
                }
                3 => {
                    let (len, name) = (word(blob, at)?, word(blob, at + 4)?);
                    let value = blob.get(at + 8..at + 8 + len)?.to_vec();
                    at = (at + 8 + len).next_multiple_of(4);
                    items.push((path.join("/"), Some(string(blob, strings + name)?), value));
                }
                4 => {}
                9 => break,
                _ => return None,
            }
        }
        let mut reservations = Vec::new();
        let mut at = word(blob, 16)?;
        loop {
            let entry = blob.get(at..at + 16)?;
            let entry = (number(&entry[..8]), number(&entry[8..]));
            if entry == (0, 0) {
                break;
            }
            reservations.push(entry);
            at += 16;
        }
        Some(Tree {
            items,
            reservations,
        })
    }

    /// The first property of that name.
    pub(super) fn property(&self, path: &str, name: &str) -> Option<&[u8]> {
        self.items
            .iter()
            .find(|(at, of, _)| at == path && of.as_deref() == Some(name))
            .map(|(_, _, value)| &value[..])
    }

    /// Paths of all nodes.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &str> {
        let nodes = self.items.iter().filter(|(_, name, _)| name.is_none());
        nodes.map(|(path, ..)| &path[..])
    }

    /// Everything that some Linux takes for memory: nodes at any depth, disabled or not, both
    /// properties, and what a crash kernel is told.
    pub(super) fn memory(&self) -> Vec<Span> {
        let cells = |name, default| {
            self.property("", name)
                .map_or(default, |value| number(value) as usize)
        };
        let cells = [cells("#address-cells", 1), cells("#size-cells", 1)];
        let mut found = Vec::new();
        for path in self.nodes() {
            let kind = self.property(path, "device_type").unwrap_or(b"");
            let chosen = path == "/chosen" || path.starts_with("/chosen@");
            let names: &[&str] = match (kind.starts_with(b"memory\0"), chosen) {
                (true, _) => &["reg", "linux,usable-memory"],
                (_, true) => &["linux,usable-memory-range"],
                _ => continue,
            };
            for name in names {
                let value = self.property(path, name).unwrap_or(b"");
                for entry in value.chunks_exact(4 * (cells[0] + cells[1]).max(1)) {
                    let (base, size) = entry.split_at(4 * cells[0]);
                    let (base, size) = (number(base), number(size));
                    found.push(Span {
                        base,
                        size: size.min(u64::MAX - base),
                    });
                }
            }
        }
        found
    }
}
