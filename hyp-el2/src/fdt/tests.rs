//! Device trees of the shape QEMU `virt` and boards have, built here.

mod fuzz;
mod reader;
mod trees;

use super::host::{Changes, SLACK, edit};
use super::*;
use dtoolkit::ToPropertyValue;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};

fn node(name: &str, properties: &[(&str, &[u8])]) -> DeviceTreeNode {
    let mut node = DeviceTreeNode::new(name).unwrap();
    for (name, value) in properties {
        node.add_property(property(name, value));
    }
    node
}

fn property(name: &str, value: impl ToPropertyValue) -> DeviceTreeProperty {
    DeviceTreeProperty::new(name, value).unwrap()
}

fn cells(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// The parts of QEMU's tree that Ward reads.
fn virt() -> DeviceTree {
    let mut tree = DeviceTree::new();
    let two = cells(&[2]);
    let one = cells(&[1]);
    let zero = cells(&[0]);
    let root = &mut tree.root;
    root.add_property(property("#address-cells", &two[..]));
    root.add_property(property("#size-cells", &two[..]));
    root.add_child(node(
        "psci",
        &[
            ("method", b"smc\0"),
            ("compatible", b"arm,psci-1.0\0arm,psci-0.2\0"),
        ],
    ));
    let ram = cells(&[0, 0x4000_0000, 0, 0x4000_0000]);
    root.add_child(node(
        "memory@40000000",
        &[("reg", &ram), ("device_type", b"memory\0")],
    ));
    let uart = cells(&[0, 0x0900_0000, 0, 0x1000]);
    root.add_child(node(
        "pl011@9000000",
        &[
            ("reg", &uart),
            ("compatible", b"arm,pl011\0arm,primecell\0"),
        ],
    ));
    let gic = cells(&[0, 0x0800_0000, 0, 0x1_0000, 0, 0x080a_0000, 0, 0xf6_0000]);
    root.add_child(node(
        "intc@8000000",
        &[("reg", &gic), ("compatible", b"arm,gic-v3\0")],
    ));
    let mut cpus = node("cpus", &[("#address-cells", &one), ("#size-cells", &zero)]);
    for (name, id) in [("cpu@0", 0), ("cpu@100", 0x100)] {
        cpus.add_child(node(name, &[("reg", &cells(&[id]))]));
    }
    root.add_child(cpus);
    let mut chosen = node("chosen", &[("stdout-path", b"/pl011@9000000\0")]);
    let kernel = cells(&[0, 0x5000_0000, 0, 0x1000]);
    let kind = b"multiboot,module\0multiboot,kernel\0";
    chosen.add_child(node(
        "module@50000000",
        &[
            ("reg", &kernel),
            ("compatible", kind),
            ("bootargs", b"quiet\0"),
        ],
    ));
    let disk = cells(&[0, 0x5100_0000, 0, 0x2000]);
    let kind = b"multiboot,module\0multiboot,ramdisk\0";
    chosen.add_child(node(
        "module@51000000",
        &[("reg", &disk), ("compatible", kind)],
    ));
    root.add_child(chosen);
    tree
}

fn discover(tree: &DeviceTree) -> Result<(Spans, Vec<u64>), Missing> {
    let blob = tree.to_dtb();
    let fdt = parse(&blob).unwrap();
    Platform::discover(fdt).map(|found| (found.ram, found.cpus.to_vec()))
}

#[test]
fn finds_the_machine() {
    let blob = virt().to_dtb();
    let fdt = parse(&blob).unwrap();
    assert_eq!(console(fdt).unwrap().base, 0x0900_0000);
    let found = Platform::discover(fdt).unwrap();
    assert_eq!(
        found.ram[..],
        [Span {
            base: 0x4000_0000,
            size: 0x4000_0000
        }]
    );
    assert_eq!(found.cpus[..], [0, 0x100]);
    assert_eq!(
        found.gic[1],
        Span {
            base: 0x080a_0000,
            size: 0xf6_0000
        }
    );
    let kernel = found.modules.kernel.unwrap();
    assert_eq!(
        kernel.span,
        Span {
            base: 0x5000_0000,
            size: 0x1000
        }
    );
    assert_eq!(kernel.bootargs, Some("quiet"));
    assert_eq!(found.modules.ramdisk.unwrap().base, 0x5100_0000);
}

#[test]
fn says_what_is_missing() {
    for (name, missing) in [
        ("psci", Missing::Psci),
        ("memory@40000000", Missing::Memory),
        ("intc@8000000", Missing::Gic),
        ("cpus", Missing::Cpus),
    ] {
        let mut tree = virt();
        tree.root.remove_child(name).unwrap();
        assert_eq!(discover(&tree).unwrap_err(), missing, "without {name}");
    }
    let mut tree = virt();
    tree.root.remove_child("pl011@9000000").unwrap();
    assert_eq!(console(parse(&tree.to_dtb()).unwrap()), None);
    let mut tree = virt();
    tree.root
        .child_mut("psci")
        .unwrap()
        .property_mut("method")
        .unwrap()
        .set_value("hvc");
    assert_eq!(discover(&tree).unwrap_err(), Missing::PsciHvc);
}

#[test]
fn memory_that_nobody_may_map_is_no_ram() {
    let mut tree = virt();
    let two = cells(&[2]);
    let mut all = node(
        "reserved-memory",
        &[("#address-cells", &two), ("#size-cells", &two)],
    );
    let secret = cells(&[0, 0x4800_0000, 0, 0x10_0000]);
    all.add_child(node(
        "secure@48000000",
        &[("reg", &secret), ("no-map", b"")],
    ));
    let pool = cells(&[0, 0x4900_0000, 0, 0x10_0000]);
    all.add_child(node("pool@49000000", &[("reg", &pool)]));
    tree.root.add_child(all);
    let blob = tree.to_dtb();
    let found = Platform::discover(parse(&blob).unwrap()).unwrap();
    assert_eq!(
        found.ram[..],
        [
            Span {
                base: 0x4000_0000,
                size: 0x0800_0000
            },
            Span {
                base: 0x4810_0000,
                size: 0x37f0_0000
            },
        ]
    );
    assert_eq!(
        found.reserved[..],
        [Span {
            base: 0x4900_0000,
            size: 0x10_0000
        }]
    );
}

#[test]
fn the_host_does_not_see_wards_memory() {
    let mut buffer = virt().to_dtb();
    buffer.resize(buffer.len() + SLACK, 0);
    let hidden = [
        Span {
            base: 0x4020_0000,
            size: 0x8_0000,
        },
        Span {
            base: 0x7fc0_0000,
            size: 0x40_0000,
        },
    ];
    let ramdisk = Some(Span {
        base: 0x5100_0000,
        size: 0x2000,
    });
    let len = edit(
        &mut buffer,
        &Changes {
            hidden: &hidden,
            bootargs: Some("a b"),
            ramdisk,
            ..Changes::default()
        },
    )
    .unwrap();
    let fdt = parse(&buffer[..len]).unwrap();
    let found = Platform::discover(fdt).unwrap();
    assert_eq!(
        found.ram[..],
        [
            Span {
                base: 0x4000_0000,
                size: 0x20_0000
            },
            Span {
                base: 0x4028_0000,
                size: 0x3f98_0000
            },
        ]
    );
    let chosen = fdt.find_node("/chosen").unwrap();
    assert_eq!(value(&chosen, "bootargs"), Some(&b"a b\0"[..]));
    assert_eq!(
        value(&chosen, "linux,initrd-start"),
        Some(&0x5100_0000_u64.to_be_bytes()[..])
    );
    assert_eq!(
        value(&chosen, "linux,initrd-end"),
        Some(&0x5100_2000_u64.to_be_bytes()[..])
    );
    // The host has them already.
    assert_eq!(found.modules.kernel, None);
    assert_eq!(found.modules.ramdisk, ramdisk);
}

#[test]
fn edits_without_room_fail_cleanly() {
    let mut buffer = virt().to_dtb();
    let changes = Changes {
        bootargs: Some("x"),
        ..Changes::default()
    };
    assert!(edit(&mut buffer, &changes).is_err());
}

#[test]
fn subtracts_from_each_side() {
    let bank = Span {
        base: 0x1000,
        size: 0x4000,
    };
    let rest = |base, size| {
        let mut spans = Spans::from_iter([bank]);
        subtract(&mut spans, Span { base, size }).unwrap();
        spans
            .iter()
            .map(|span| (span.base, span.end()))
            .collect::<Vec<_>>()
    };
    assert_eq!(rest(0, 0x1000), [(0x1000, 0x5000)]);
    assert_eq!(rest(0, 0x2000), [(0x2000, 0x5000)]);
    assert_eq!(rest(0x4000, 0x9000), [(0x1000, 0x4000)]);
    assert_eq!(rest(0x2000, 0x1000), [(0x1000, 0x2000), (0x3000, 0x5000)]);
    assert_eq!(rest(0, 0x9000), []);
}

/// A tree with a bus in it: the addresses of its children are not the CPU's.
fn with_bus(ranges: Option<&[u8]>) -> DeviceTree {
    let mut tree = virt();
    tree.root.remove_child("pl011@9000000").unwrap();
    let one = cells(&[1]);
    let mut soc = node("soc", &[("#address-cells", &one), ("#size-cells", &one)]);
    if let Some(ranges) = ranges {
        soc.add_property(property("ranges", ranges));
    }
    let uart = cells(&[0x7e20_1000, 0x200]);
    soc.add_child(node(
        "serial@7e201000",
        &[("reg", &uart), ("compatible", b"arm,pl011\0")],
    ));
    tree.root.add_child(soc);
    let mut aliases = DeviceTreeNode::new("aliases").unwrap();
    aliases.add_property(property("serial0", "/soc/serial@7e201000"));
    tree.root.add_child(aliases);
    let chosen = tree.root.child_mut("chosen").unwrap();
    let path = chosen.property_mut("stdout-path").unwrap();
    path.set_value("serial0:115200n8");
    tree
}

#[test]
fn buses_translate_addresses() {
    let uart = |ranges: Option<&[u8]>| {
        let blob = with_bus(ranges).to_dtb();
        console(parse(&blob).unwrap()).map(|uart| uart.base)
    };
    let moved = cells(&[
        0x7c00_0000,
        0,
        0xfc00_0000,
        0x0200_0000,
        0x7e00_0000,
        0,
        0xfe00_0000,
        0x0180_0000,
    ]);
    assert_eq!(uart(Some(&moved)), Some(0xfe20_1000));
    // The same addresses, no way through, and a bus that ends before it.
    assert_eq!(uart(Some(b"")), Some(0x7e20_1000));
    assert_eq!(uart(None), None);
    assert_eq!(uart(Some(&moved[..16])), None);
    let short = cells(&[0x7e00_0000, 0, 0xfe00_0000, 0x0020_1100]);
    assert_eq!(uart(Some(&short)), None);
}

#[test]
fn other_uarts_are_left_alone() {
    let mut tree = with_bus(Some(b""));
    let soc = tree.root.child_mut("soc").unwrap();
    let reg = cells(&[0x7e21_5040, 0x40]);
    let kind = b"brcm,bcm2835-aux-uart\0";
    soc.add_child(node(
        "serial@7e215040",
        &[("reg", &reg), ("compatible", kind)],
    ));
    let path = |path: &str| {
        let mut tree = tree.clone();
        let chosen = tree.root.child_mut("chosen").unwrap();
        chosen.property_mut("stdout-path").unwrap().set_value(path);
        console(parse(&tree.to_dtb()).unwrap()).map(|uart| uart.base)
    };
    assert_eq!(path("/soc/serial@7e215040:115200n8"), None);
    // A name that leads nowhere names nothing.
    assert_eq!(path("serial7"), Some(0x7e20_1000));
}

#[test]
fn machines_that_ward_does_not_drive_are_named() {
    let mut tree = virt();
    let gic = tree.root.child_mut("intc@8000000").unwrap();
    gic.property_mut("compatible")
        .unwrap()
        .set_value("arm,gic-400");
    assert_eq!(discover(&tree).unwrap_err(), Missing::GicV2);
    let mut tree = virt();
    tree.root.remove_child("psci").unwrap();
    let cpus = tree.root.child_mut("cpus").unwrap();
    let cpu = cpus.child_mut("cpu@100").unwrap();
    cpu.add_property(property("enable-method", "spin-table"));
    assert_eq!(discover(&tree).unwrap_err(), Missing::SpinTable);
}

/// `virt` with its memory node changed.
fn with_memory(change: impl FnOnce(&mut DeviceTreeNode)) -> DeviceTree {
    let mut tree = virt();
    change(tree.root.child_mut("memory@40000000").unwrap());
    tree
}

#[test]
fn memory_that_cannot_be_read_is_refused() {
    let reg = |words: &[u32]| {
        let value = cells(words);
        with_memory(|node| node.property_mut("reg").unwrap().set_value(&value[..]))
    };
    let cases = [
        (reg(&[0, 0x4000_0000, 0]), Missing::BadMemory),
        (reg(&[u32::MAX, 0, 1, 0]), Missing::BadMemory),
        (reg(&[0, 0x4000_0000, 0, 0x800]), Missing::Memory),
        (
            with_memory(|node| node.add_property(property("status", "disabled"))),
            Missing::Memory,
        ),
    ];
    for (tree, missing) in cases {
        assert_eq!(discover(&tree).unwrap_err(), missing);
    }
    let mut tree = virt();
    let three = cells(&[3]);
    let property = tree.root.property_mut("#address-cells").unwrap();
    property.set_value(&three[..]);
    assert_eq!(discover(&tree).unwrap_err(), Missing::Cells);
    // Older kernels find it, newer ones do not.
    let mut tree = virt();
    let ram = cells(&[0, 0x8000_0000, 0, 0x4000_0000]);
    let nested = node("memory@0", &[("reg", &ram), ("device_type", b"memory\0")]);
    tree.root.child_mut("cpus").unwrap().add_child(nested);
    assert_eq!(discover(&tree).unwrap_err(), Missing::NestedMemory);
    // 33 ranges.
    let many: Vec<u32> = (0..33).flat_map(|n| [n + 1, 0, 0, 0x1000]).collect();
    assert_eq!(discover(&reg(&many)).unwrap_err(), Missing::TooMany);
}

#[test]
fn banks_are_joined_and_sorted() {
    let reg = cells(&[
        0,
        0x8000_0000,
        0,
        0x1000,
        0,
        0x4000_0000,
        0,
        0x2000,
        0,
        0x4000_1000,
        0,
        0x3000,
    ]);
    let tree = with_memory(|node| node.property_mut("reg").unwrap().set_value(&reg[..]));
    let spans = [(0x4000_0000, 0x4000), (0x8000_0000, 0x1000)];
    let spans = spans.map(|(base, size)| Span { base, size });
    assert_eq!(discover(&tree).unwrap().0[..], spans);
}

const HOLE: Span = Span {
    base: 0x4020_0000,
    size: 0x8_0000,
};

/// What an independent reader takes for memory after the edit.
fn memory_after(tree: &DeviceTree) -> Vec<(u64, u64)> {
    let changes = Changes {
        hidden: &[HOLE],
        ..Changes::default()
    };
    let blob = trees::edited(&tree.to_dtb(), &changes).unwrap();
    let spans = reader::Tree::read(&blob).unwrap().memory();
    spans.iter().map(|span| (span.base, span.end())).collect()
}

#[test]
fn every_property_that_names_memory_is_edited() {
    let usable = cells(&[0, 0x4000_0000, 0, 0x1000_0000]);
    let mut tree =
        with_memory(|node| node.add_property(property("linux,usable-memory", &usable[..])));
    let chosen = tree.root.child_mut("chosen").unwrap();
    let crash = cells(&[0, 0x4024_0000, 0, 0x10_0000]);
    chosen.add_property(property("linux,usable-memory-range", &crash[..]));
    assert_eq!(
        memory_after(&tree),
        [
            (0x4000_0000, 0x4020_0000),
            (0x4028_0000, 0x8000_0000),
            (0x4000_0000, 0x4020_0000),
            (0x4028_0000, 0x5000_0000),
            (0x4028_0000, 0x4034_0000),
        ]
    );
    // A disabled node may be enabled by the host.
    let tree = with_memory(|node| node.add_property(property("status", "disabled")));
    let parts = [(0x4000_0000, 0x4020_0000), (0x4028_0000, 0x8000_0000)];
    assert_eq!(memory_after(&tree), parts);
}

#[test]
fn chosen_is_made_where_there_is_none() {
    let mut tree = virt();
    tree.root.remove_child("chosen").unwrap();
    let changes = Changes {
        hidden: &[HOLE],
        bootargs: Some("a b"),
        ramdisk: Some(HOLE),
        ..Changes::default()
    };
    let blob = tree.to_dtb();
    let before = reader::Tree::read(&blob).unwrap();
    let after = reader::Tree::read(&trees::edited(&blob, &changes).unwrap()).unwrap();
    assert_eq!(after.property("/chosen", "bootargs"), Some(&b"a b\0"[..]));
    let nodes = |tree: &reader::Tree| tree.nodes().map(str::to_owned).collect::<Vec<_>>();
    let mut left = nodes(&after);
    left.retain(|path| path != "/chosen");
    assert_eq!(left, nodes(&before));
    Platform::discover(parse(&trees::edited(&blob, &changes).unwrap()).unwrap()).unwrap();
}

#[test]
fn a_ram_disk_of_the_boot_loaders_is_taken_and_a_stale_one_goes() {
    let mut tree = virt();
    let chosen = tree.root.child_mut("chosen").unwrap();
    chosen.remove_child("module@51000000").unwrap();
    let (start, end) = (cells(&[0x5200_0000]), cells(&[0, 0x5200_3000]));
    chosen.add_property(property("linux,initrd-start", &start[..]));
    chosen.add_property(property("linux,initrd-end", &end[..]));
    chosen.add_property(property("kaslr-seed", &start[..]));
    let blob = tree.to_dtb();
    let found = Platform::discover(parse(&blob).unwrap()).unwrap();
    let ramdisk = Span {
        base: 0x5200_0000,
        size: 0x3000,
    };
    assert_eq!(found.modules.ramdisk, Some(ramdisk));
    let changes = Changes::default();
    let after = reader::Tree::read(&trees::edited(&blob, &changes).unwrap()).unwrap();
    assert_eq!(after.property("/chosen", "linux,initrd-start"), None);
    assert_eq!(after.property("/chosen", "linux,initrd-end"), None);
    assert_eq!(after.property("/chosen", "kaslr-seed"), Some(&start[..]));
}

/// A flattened tree of these words.
fn flattened(structure: &[u32]) -> Vec<u8> {
    let size = 4 * structure.len() as u32;
    // Header, an empty reservation block, the structure, and the one name "x".
    let header = [
        0xd00d_feed,
        56 + size + 2,
        56,
        56 + size,
        40,
        17,
        16,
        0,
        2,
        size,
        0,
        0,
        0,
        0,
    ];
    let mut blob = cells(&header);
    blob.extend(cells(structure));
    blob.extend(b"x\0");
    blob
}

#[test]
fn a_tree_is_checked_in_all_its_parts() {
    const A: u32 = 0x6100_0000;
    let good = flattened(&[1, 0, 3, 0, 0, 4, 1, A, 2, 2, 9]);
    parse(&good).unwrap();
    let bad: [&[u32]; 8] = [
        // A property behind a node; outside of the names; longer than the block.
        &[1, 0, 1, A, 2, 3, 0, 0, 2, 9],
        &[1, 0, 3, 0, 2, 2, 9],
        &[1, 0, 3, 100, 0, 2, 9],
        // A root with a name, a node without one, nothing, no end, an unknown token.
        &[1, A, 2, 9],
        &[1, 0, 1, 0, 2, 2, 9],
        &[9],
        &[1, 0, 2],
        &[1, 0, 5, 2, 9],
    ];
    for structure in bad {
        let blob = flattened(structure);
        assert_eq!(parse(&blob).err(), Some(Missing::Tree), "{structure:x?}");
    }
    for (at, value) in [(0, 0), (7, 1), (23, 16), (19, 41), (15, 0), (35, 3)] {
        let mut blob = good.clone();
        blob[at] = value;
        assert_eq!(parse(&blob).err(), Some(Missing::Tree), "byte {at}");
    }
    assert_eq!(parse(&good[..30]).err(), Some(Missing::Tree));
    assert_eq!(parse(&[]).err(), Some(Missing::Tree));
}
