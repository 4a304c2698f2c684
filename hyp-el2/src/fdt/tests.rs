//! Device trees of the shape QEMU `virt` and boards have, built here.

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
    let fdt = Fdt::new(&blob).unwrap();
    Platform::discover(fdt).map(|found| (found.ram, found.cpus.to_vec()))
}

#[test]
fn finds_the_machine() {
    let blob = virt().to_dtb();
    let fdt = Fdt::new(&blob).unwrap();
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
    assert_eq!(
        found.kernel.span,
        Span {
            base: 0x5000_0000,
            size: 0x1000
        }
    );
    assert_eq!(found.kernel.bootargs, Some("quiet"));
    assert_eq!(found.ramdisk.unwrap().span.base, 0x5100_0000);
}

#[test]
fn says_what_is_missing() {
    for (name, missing) in [
        ("psci", Missing::Psci),
        ("memory@40000000", Missing::Memory),
        ("intc@8000000", Missing::Gic),
        ("cpus", Missing::Cpus),
        ("chosen", Missing::Kernel),
    ] {
        let mut tree = virt();
        tree.root.remove_child(name).unwrap();
        assert_eq!(discover(&tree).unwrap_err(), missing, "without {name}");
    }
    let mut tree = virt();
    tree.root.remove_child("pl011@9000000").unwrap();
    assert_eq!(
        console(Fdt::new(&tree.to_dtb()).unwrap()),
        Err(Missing::Console)
    );
    let mut tree = virt();
    tree.root
        .child_mut("psci")
        .unwrap()
        .property_mut("method")
        .unwrap()
        .set_value("hvc");
    assert_eq!(discover(&tree).unwrap_err(), Missing::Psci);
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
    let found = Platform::discover(Fdt::new(&blob).unwrap()).unwrap();
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
        },
    )
    .unwrap();
    let fdt = Fdt::new(&buffer[..len]).unwrap();
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
    // Modules are passed on.
    assert_eq!(found.kernel.span.base, 0x5000_0000);
}

#[test]
fn edits_without_room_fail_cleanly() {
    let mut buffer = virt().to_dtb();
    let changes = Changes {
        hidden: &[],
        bootargs: Some("x"),
        ramdisk: None,
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
