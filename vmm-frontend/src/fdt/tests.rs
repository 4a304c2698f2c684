use super::*;
use crate::layout::KernelShape;
use dtoolkit::fdt::Fdt;
use dtoolkit::{Node, Property};
use std::io::Write;
use std::process::{Command, Stdio};

fn layout(cpus: u32, mib: u64) -> Layout {
    let kernel = KernelShape {
        file: 1 << 20,
        text_offset: 0,
        image_size: 2 << 20,
    };
    let machine = Machine::new(cpus, mib << 20).expect("a machine");
    Layout::new(machine, kernel, Some(5000)).expect("fits")
}

#[test]
fn the_largest_tree_fits_its_place() {
    let line = "x".repeat(MAX_COMMAND_LINE);
    let tree = build(&layout(64, 512), &line).expect("a tree");
    assert!(
        tree.len() as u64 <= crate::layout::TREE_BYTES,
        "{}",
        tree.len()
    );
    assert_eq!(build(&layout(64, 512), &line).expect("again"), tree);
}

#[test]
fn a_command_line_that_linux_would_cut_is_refused() {
    assert!(build(&layout(1, 128), &"x".repeat(MAX_COMMAND_LINE + 1)).is_err());
    assert!(build(&layout(1, 128), "a\0b").is_err());
}

#[test]
fn vcpus_have_the_affinities_of_ward_and_kvm() {
    assert_eq!([0, 15, 16, 63].map(affinity), [0, 15, 0x100, 0x30f]);
}

#[test]
fn without_a_pool_no_device_points_to_one() {
    let tree = build(&layout(1, 128).without_pool(), "").expect("a tree");
    assert_eq!(summarise(&tree).expect("readable").pool, None);
    let source = source(&tree).expect("readable");
    assert!(!source.contains("memory-region") && !source.contains("reserved-memory"));
}

#[test]
fn a_tree_of_somebody_else_commands_no_terminal() {
    let evil = "a\u{1b}[2J\u{9b}31m";
    let mut tree = FdtWriter::new().expect("a tree");
    let root = tree.begin_node("").expect("a node");
    let node = tree.begin_node("disk@1").expect("a node");
    tree.property_string("compatible", evil)
        .expect("a property");
    tree.property_u32("reg", 1).expect("a property");
    tree.end_node(node).expect("an end");
    tree.end_node(root).expect("an end");
    let tree = tree.finish().expect("a tree");
    assert!(summarise(&tree).expect("readable").devices.is_empty());
    let source = source(&tree).expect("readable");
    assert!(source.contains("disk@1"), "{source:?}");
    assert!(
        !source.chars().any(|c| c.is_control() && c != '\n'),
        "{source:?}"
    );
}

/// What Linux and the device tree compiler rely on, seen without them.
#[test]
fn nodes_are_named_by_their_addresses_and_point_to_nodes() {
    let tree = build(&layout(4, 512), "").expect("a tree");
    let tree = Fdt::new(&tree).expect("readable");
    let mut nodes = vec![tree.root()];
    let mut handles = Vec::new();
    let mut pointers = Vec::new();
    while let Some(node) = nodes.pop() {
        let words = |name: &str| -> Option<Vec<u32>> {
            let value = node.property(name)?;
            let words = value.value().as_chunks::<4>().0.iter();
            Some(words.map(|word| u32::from_be_bytes(*word)).collect())
        };
        let name = node.name().to_owned();
        let first = words("reg").map(|reg| if reg.len() > 1 { reg[1] } else { reg[0] });
        let named = name.split_once('@').map(|(_, address)| address.to_owned());
        assert_eq!(first.map(|address| format!("{address:x}")), named, "{name}");
        handles.extend(words("phandle").unwrap_or_default());
        for name in ["interrupt-parent", "memory-region", "clocks"] {
            pointers.extend(words(name).unwrap_or_default());
        }
        pointers.extend(words("gpios").map(|gpios| gpios[0]));
        let cells = words("interrupts").unwrap_or_default();
        assert!(cells.len().is_multiple_of(3), "{name}");
        nodes.extend(node.children());
    }
    assert!(pointers.len() > 20 && pointers.iter().all(|to| handles.contains(to)));
}

/// The device tree compiler's opinion, where it is installed.
#[test]
fn dtc_finds_nothing_to_say() {
    let bare = layout(1, 128).without_pool();
    for layout in [layout(1, 512), layout(4, 512), layout(64, 512), bare] {
        let tree = build(&layout, "console=ttyAMA0").expect("a tree");
        let dtc = Command::new("dtc")
            .args(["-I", "dtb", "-O", "dts", "-o", "-", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut dtc) = dtc else { return };
        let mut input = dtc.stdin.take().expect("a pipe");
        input.write_all(&tree).expect("written");
        drop(input);
        let output = dtc.wait_with_output().expect("dtc ends");
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text.matches("virtio,mmio").count(), 16, "{text}");
    }
}
