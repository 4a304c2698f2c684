use super::*;
use crate::fdt::parse;
use dtoolkit::Node;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};

fn node(name: &str, kind: &str, properties: &[(&str, &[u32])]) -> DeviceTreeNode {
    let mut node = DeviceTreeNode::new(name).unwrap();
    let mut add = |name: &str, value: &[u8]| {
        node.add_property(DeviceTreeProperty::new(name, value).unwrap());
    };
    add("compatible", format!("{kind}\0").as_bytes());
    for (name, words) in properties {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        add(name, &bytes);
    }
    node
}

fn text(node: &mut DeviceTreeNode, name: &str, value: &str) {
    node.add_property(DeviceTreeProperty::new(name, format!("{value}\0").as_bytes()).unwrap());
}

fn blob(nodes: Vec<DeviceTreeNode>) -> Vec<u8> {
    let mut tree = DeviceTree::new();
    for name in ["#address-cells", "#size-cells"] {
        let one = DeviceTreeProperty::new(name, &1_u32.to_be_bytes()[..]).unwrap();
        tree.root.add_property(one);
    }
    for node in nodes {
        tree.root.add_child(node);
    }
    tree.to_dtb()
}

fn read(nodes: Vec<DeviceTreeNode>) -> Result<DmaNodes, Missing> {
    DmaNodes::read(parse(&blob(nodes)).unwrap())
}

fn smmu(at: u32, phandle: u32, more: &[(&str, &[u32])]) -> DeviceTreeNode {
    let reg = [at, 0x2_0000];
    let own: [(&str, &[u32]); 2] = [("reg", &reg), ("phandle", &[phandle])];
    node(&format!("iommu@{at:x}"), SMMU, &[&own[..], more].concat())
}

#[test]
fn streams_go_to_the_smmu_that_their_node_names() {
    let mut bridge = node(
        "pcie@10000000",
        "pci-host-ecam-generic",
        &[("iommu-map", &[0, 2, 0x100, 0x200, 0x200, 7, 0, 0xfe00])],
    );
    text(&mut bridge, "device_type", "pci");
    let found = read(vec![
        smmu(0x1000_0000, 1, &[("dma-coherent", &[])]),
        smmu(0x2000_0000, 2, &[]),
        node("net@1", "x,net", &[("iommus", &[1, 5, 1, 3])]),
        bridge,
    ]);
    let found = found.unwrap();
    let seen: Vec<_> = found
        .smmus
        .iter()
        .map(|s| (s.streams, s.coherent))
        .collect();
    assert_eq!(seen, [(6, true), (0x300, false)]);
    // All requester IDs are in the map, but some of them lead to no SMMU.
    assert_eq!(found.open_bridges, 1);
}

#[test]
fn a_bridge_that_leads_to_an_smmu_out_of_use_is_open() {
    for (state, open) in [("disabled", 1), ("okay", 0)] {
        let mut smmu = smmu(0x1000_0000, 1, &[]);
        text(&mut smmu, "status", state);
        let map = ("iommu-map", &[0, 1, 0, 0x1_0000][..]);
        let mut bridge = node("pcie@10000000", "pci-host-ecam-generic", &[map]);
        text(&mut bridge, "device_type", "pci");
        let found = read(vec![smmu, bridge]).unwrap();
        assert_eq!(found.open_bridges, open, "{state}");
    }
}

#[test]
fn a_translation_service_is_filtered_or_out_of_reach() {
    let its = |at: u32, size: u32| {
        let name = format!("its@{at:x}");
        node(&name, "arm,gic-v3-its", &[("reg", &[at, size])])
    };
    let mut off = its(0x5000_0000, 0x2_0000);
    text(&mut off, "status", "disabled");
    // The third has no second frame, and commands all the same.
    let nodes = vec![its(0x4000_0000, 0x2_0000), off, its(0x6000_0000, 0x1_0000)];
    let found = read(nodes).unwrap();
    let bases = |spans: &[Span]| spans.iter().map(|span| span.base).collect::<Vec<_>>();
    assert_eq!(bases(&found.services), [0x4000_0000, 0x6000_0000]);
    assert_eq!(bases(&found.hidden), [0x5000_0000]);
    assert_eq!(bases(&found.doorbells), [0x4001_0000]);
}

#[test]
fn a_bridge_with_devices_outside_the_map_is_open_unless_it_has_fewer_buses() {
    for (buses, open) in [([0, 0xff], 1), ([0, 1], 0)] {
        let mut bridge = node(
            "pcie@10000000",
            "pci-host-ecam-generic",
            &[("iommu-map", &[0, 1, 0, 0x200]), ("bus-range", &buses)],
        );
        text(&mut bridge, "device_type", "pci");
        // A root port is not a host bridge.
        let mut port = node("pcie@0", "x,port", &[]);
        text(&mut port, "device_type", "pci");
        bridge.add_child(port);
        let found = read(vec![smmu(0x1000_0000, 1, &[]), bridge]).unwrap();
        assert_eq!(found.open_bridges, open);
    }
}

#[test]
fn the_registers_of_what_is_out_of_use_are_kept_from_the_host_too() {
    let mut off = smmu(0x1000_0000, 1, &[]);
    text(&mut off, "status", "disabled");
    let monitors = node(
        "pmcg@0",
        MONITORS,
        &[("reg", &[0x1002_0000, 0x1000, 0x1003_0000, 0x1000])],
    );
    let found = read(vec![off, monitors]).unwrap();
    assert!(found.smmus.is_empty());
    let hidden: Vec<_> = found
        .hidden
        .iter()
        .map(|span| (span.base, span.size))
        .collect();
    assert_eq!(hidden, [(0x1000_0000, 0x2_1000), (0x1003_0000, 0x1000)]);
}

#[test]
fn an_smmu_that_cannot_be_driven_for_lack_of_registers_ends_the_boot() {
    let found = read(vec![node("iommu@0", SMMU, &[])]);
    assert_eq!(found.unwrap_err(), Missing::BadSmmu);
    for kind in [SMMU, "arm,mmu-500"] {
        // A page of them is what Ward writes before it knows how many there are.
        for (reg, fits) in [
            ([0x1000_0000, 0x1000], true),
            ([0x1000_0000, 0xfff], false),
            ([0x1000_0800, 0x2_0000], false),
        ] {
            let found = read(vec![node("iommu@0", kind, &[("reg", &reg)])]);
            assert_eq!(found.is_ok(), fits, "{kind} {reg:x?}");
            assert_eq!(found.err(), (!fits).then_some(Missing::BadSmmu));
        }
    }
    let many = (0..=MAX_SMMUS as u32)
        .map(|n| smmu(n << 20, n, &[]))
        .collect();
    assert_eq!(read(many).unwrap_err(), Missing::TooMany);
}

#[test]
fn an_smmuv2_is_driven_and_its_registers_are_kept_from_the_host() {
    let second = |at: u32, phandle: u32, kind: &str| {
        let own: [(&str, &[u32]); 2] = [("reg", &[at, 0x8_0000]), ("phandle", &[phandle])];
        node(&format!("iommu@{at:x}"), kind, &own)
    };
    let mut off = second(0x4000_0000, 4, "arm,mmu-500");
    text(&mut off, "status", "disabled");
    let mut bridge = node(
        "pcie@10000000",
        "pci-host-ecam-generic",
        &[("iommu-map", &[0, 2, 0, 0x1_0000])],
    );
    text(&mut bridge, "device_type", "pci");
    let found = read(vec![
        second(0x1000_0000, 2, "x,soc-smmu\0arm,mmu-500"),
        smmu(0x2000_0000, 1, &[]),
        second(0x3000_0000, 3, "arm,smmu-v2"),
        off,
        bridge,
    ]);
    let found = found.unwrap();
    let kinds: Vec<_> = found.smmus.iter().map(|smmu| smmu.kind).collect();
    let v2 = |mmu500| SmmuKind::V2 { mmu500 };
    assert_eq!(kinds, [v2(true), SmmuKind::V3, v2(false)]);
    let hidden: Vec<_> = found.hidden.iter().map(|span| span.base).collect();
    assert_eq!(hidden, [0x1000_0000, 0x2000_0000, 0x3000_0000, 0x4000_0000]);
    assert_eq!((found.others, found.open_bridges), (0, 0));
}

#[test]
fn other_smmus_are_counted_and_doorbells_found() {
    let found = read(vec![
        node("iommu@0", "arm,mmu-401", &[]),
        // One that is two, and says that it is as any other.
        node("iommu@1", "nvidia,smmu-500\0arm,mmu-500", &[]),
        node("iommu@2", "marvell,ap806-smmu-500\0arm,mmu-500", &[]),
        node("iommu@3", "qcom,msm8996-smmu-v2\0qcom,smmu-v2", &[]),
        node(
            "v2m@0",
            "arm,gic-v2m-frame",
            &[("reg", &[0x3000_0000, 0x1000])],
        ),
        node(
            "its@0",
            "arm,gic-v3-its",
            &[("reg", &[0x4000_0000, 0x2_0000])],
        ),
        // Too small to have the second frame.
        node(
            "its@1",
            "arm,gic-v3-its",
            &[("reg", &[0x5000_0000, 0x1_0000])],
        ),
    ]);
    let found = found.unwrap();
    assert_eq!(found.others, 4);
    let pages: Vec<_> = found
        .doorbells
        .iter()
        .map(|span| (span.base, span.size))
        .collect();
    assert_eq!(pages, [(0x3000_0000, 0x1000), (0x4001_0000, 0x1000)]);
}

#[test]
fn a_command_line_allows_masters_by_name() {
    let line = "quiet ward.allow=virtio-mmio,other console=ttyAMA0";
    assert!(Master::VirtioMmio.is_allowed(line));
    assert!(!Master::FwCfg.is_allowed(line));
    assert!(!Master::FwCfg.is_allowed("xward.allow=fw-cfg ward.allow=fw-cfgs"));
    assert!(Master::FwCfg.is_allowed("ward.allow=a ward.allow=fw-cfg"));
}

#[test]
fn a_node_that_stands_in_has_the_number_of_its_smmu() {
    let mut off = smmu(0x1000_0000, 1, &[]);
    text(&mut off, "status", "disabled");
    // One that the host sees as it is has a number too.
    let own = [("reg", &[0x2800_0000, 0x1_0000][..]), ("phandle", &[4])];
    let second = node("iommu@28000000", MMU500, &own);
    let [first, last] = [(0x2000_0000, 2), (0x3000_0000, 3)].map(|(at, it)| smmu(at, it, &[]));
    let nodes = vec![off, first, second, last];
    let leads = [
        ("iommus", &[2, 5][..]),
        ("iommus", &[1, 5]),
        ("iommus", &[3, 7]),
    ];
    let leads = leads.map(|lead| node(&format!("dev@{:x}", lead.1[0]), "x,dev", &[lead]));
    let blob = blob(nodes.into_iter().chain(leads).collect());
    let fdt = parse(&blob).unwrap();
    // As Ward numbers them.
    let found = DmaNodes::read(fdt).unwrap();
    let bases: Vec<_> = found.smmus.iter().map(|it| it.registers.base).collect();
    assert_eq!(bases, [0x2000_0000, 0x2800_0000, 0x3000_0000]);

    let changes = crate::fdt::host::Changes {
        iommu: true,
        ..crate::fdt::host::Changes::default()
    };
    let mut buffer = vec![0; blob.len() + crate::fdt::host::SLACK];
    crate::fdt::host::copy(fdt, &mut buffer).unwrap();
    let len = crate::fdt::host::edit(&mut buffer, &changes).unwrap();
    let after = parse(&buffer[..len]).unwrap();
    let number = |name: &str| {
        let node = after.root().child(name)?;
        assert!(node.is_compatible("ward,iommu") && node.property("reg").is_none());
        cells::<1>(&node, "ward,smmu-index").next()
    };
    let numbers = ["iommu@10000000", "iommu@20000000", "iommu@30000000"].map(number);
    assert_eq!(numbers, [None, Some([0]), Some([2])]);
    // Nothing leads to the one that is out of use.
    let led = |name: &str| {
        after
            .root()
            .child(name)
            .unwrap()
            .property("iommus")
            .is_some()
    };
    assert_eq!(["dev@1", "dev@2", "dev@3"].map(led), [false, true, true]);
}

#[test]
fn a_command_line_asks_for_the_nodes_with_its_last_word() {
    for (line, asks) in [
        ("quiet ward.iommu=on console=ttyAMA0", true),
        ("ward.iommu=on ward.iommu=off", false),
        ("ward.iommu=off ward.iommu=on", true),
        ("xward.iommu=on ward.iommu=only ward.iommu", false),
        ("", false),
    ] {
        assert_eq!(asks_for_iommu(line), asks, "{line:?}");
    }
}
