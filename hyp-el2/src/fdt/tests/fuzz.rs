//! Damaged trees: no panic, and none is accepted in which the host would still see Ward's memory.
//!
//! A short run with every `cargo test`. A long one:
//! `WARD_TREE_STEPS=1000000 WARD_SEED=7 cargo test --release -p hyp-el2 --lib fuzz -- --nocapture`

use super::reader::Tree;
use super::trees::{all, edited, hidden_in};
use super::*;
use crate::fdt::host::Changes;
use std::env;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Where the words of a tree are that say how to read the rest.
struct Places {
    /// Tokens, lengths and offsets of names.
    structure: Vec<usize>,
    /// Values of properties that matter, and where their lengths are.
    values: Vec<(usize, usize)>,
    /// First bytes of names of nodes.
    names: Vec<usize>,
    /// Offsets of names of the properties that matter.
    interesting: Vec<u32>,
}

const INTERESTING: [&str; 15] = [
    "reg",
    "#address-cells",
    "#size-cells",
    "device_type",
    "ranges",
    "compatible",
    "status",
    "stdout-path",
    "linux,usable-memory",
    "linux,usable-memory-range",
    "linux,initrd-start",
    "no-map",
    "phandle",
    "iommu-map",
    "bus-range",
];

fn word(blob: &[u8], at: usize) -> usize {
    u32::from_be_bytes(blob[at..at + 4].try_into().unwrap()) as usize
}

fn put(blob: &mut [u8], at: usize, value: u32) {
    if let Some(place) = blob.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

fn places(blob: &[u8]) -> Places {
    let mut found = Places {
        structure: Vec::new(),
        values: Vec::new(),
        names: Vec::new(),
        interesting: Vec::new(),
    };
    let (mut at, strings) = (word(blob, 8), word(blob, 12));
    let text = |at: usize| {
        let len = blob[at..].iter().position(|&byte| byte == 0).unwrap();
        core::str::from_utf8(&blob[at..at + len]).unwrap()
    };
    loop {
        found.structure.push(at);
        match word(blob, at) {
            1 => {
                found.names.push(at + 4);
                at = (at + 4 + text(at + 4).len() + 1).next_multiple_of(4);
            }
            3 => {
                let (len, name) = (word(blob, at + 4), word(blob, at + 8));
                found.structure.extend([at + 4, at + 8]);
                if INTERESTING.contains(&text(strings + name)) {
                    found.values.push((at + 12, len));
                    found.interesting.push(name as u32);
                }
                at = (at + 12 + len).next_multiple_of(4);
            }
            9 => return found,
            _ => at += 4,
        }
    }
}

/// Numbers that are near something.
const EDGES: [u32; 14] = [
    0,
    1,
    2,
    3,
    4,
    8,
    9,
    0x1000,
    0x0fff,
    0x4000_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_f000,
    u32::MAX,
];

fn mutate(blob: &mut Vec<u8>, places: &Places, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let len = blob.len();
        let edge = EDGES[random.below(EDGES.len())];
        match random.below(9) {
            // Damage anywhere.
            0 => blob[random.below(len)] ^= 1 << random.below(8),
            1 => {
                blob.truncate(random.below(len).max(48));
                if random.below(2) == 0 {
                    let size = blob.len() as u32;
                    put(blob, 4, size);
                }
            }
            // The header.
            2 => put(blob, 4 * random.below(10), edge),
            // Tokens, sizes and names.
            3 => put(
                blob,
                places.structure[random.below(places.structure.len())],
                edge,
            ),
            4 => {
                let at = places.names[random.below(places.names.len())];
                let names: [&[u8]; 4] = [b"memory\0", b"chosen\0", b"cpus\0\0\0", b"psci\0\0\0"];
                let name = names[random.below(4)];
                if at + name.len() < len {
                    blob[at..at + name.len()].copy_from_slice(name);
                }
            }
            // A property gets the name of another that matters.
            5 => {
                let at = places.structure[random.below(places.structure.len())];
                let name = places.interesting[random.below(places.interesting.len())];
                put(blob, at, name);
            }
            // Values that matter: cells, addresses, sizes, kinds.
            6 | 7 => {
                let (at, size) = places.values[random.below(places.values.len())];
                put(blob, at + random.below(size / 4) * 4, edge);
            }
            _ => {
                let (at, size) = places.values[random.below(places.values.len())];
                if size >= 7 && at + 7 <= len {
                    blob[at..at + 7].copy_from_slice(b"memory\0");
                }
            }
        }
    }
}

/// What boot would do with a tree; whether it got as far as a host.
fn boot(blob: &[u8], ward: &[Span]) -> bool {
    let Ok(fdt) = parse(blob) else {
        return false;
    };
    let _ = console(fdt);
    let _ = DmaNodes::read(fdt);
    let discovered = Platform::discover(fdt);
    // The edit is tried where Ward would have stopped too: it must stand by itself.
    let hidden = match &discovered {
        Ok(machine) => hidden_in(&machine.ram),
        Err(_) => ward.to_vec(),
    };
    let changes = Changes {
        hidden: &hidden,
        bootargs: Some("quiet"),
        masters: &[Master::VirtioMmio],
        iommu: true,
        ..Changes::default()
    };
    let Some(after) = edited(blob, &changes) else {
        return false;
    };
    let tree = Tree::read(&after).expect("what was written can be read");
    if discovered.is_err() {
        return false;
    }
    for span in tree.memory() {
        let shown = hidden.iter().find(|hole| hole.overlaps(span));
        assert_eq!(shown, None, "the host sees it in {span}");
    }
    true
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn damaged_trees_do_no_harm() {
    let steps = setting("WARD_TREE_STEPS", 4000);
    let seed = setting("WARD_SEED", 1);
    let trees: Vec<_> = all()
        .into_iter()
        .map(|(name, blob)| {
            let places = places(&blob);
            let ram = memory::read(parse(&blob).unwrap()).unwrap().ram;
            (name, blob, places, hidden_in(&ram))
        })
        .collect();
    let mut accepted = 0;
    for step in 0..steps {
        let mut random = Random(seed << 40 ^ step);
        let (name, blob, places, ward) = &trees[random.below(trees.len())];
        let mut damaged = blob.clone();
        mutate(&mut damaged, places, &mut random);
        let result = std::panic::catch_unwind(|| boot(&damaged, ward));
        match result {
            Ok(good) => accepted += u64::from(good),
            Err(_) => {
                let file = env::temp_dir().join(format!("ward-tree-{step}.dtb"));
                let _ = std::fs::write(&file, &damaged);
                panic!("seed {seed}, step {step}, {name}: {}", file.display());
            }
        }
    }
    println!("{steps} damaged trees, {accepted} of them accepted");
    // A test that refuses everything would test nothing of the edit.
    assert!(accepted * 20 >= steps, "{accepted} of {steps}");
}
