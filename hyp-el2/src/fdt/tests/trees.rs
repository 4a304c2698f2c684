//! The edit on whole trees of QEMU's machines, and of what `WARD_TREES` names.

use super::reader::Tree;
use super::*;
use crate::fdt::host::{Changes, SLACK, copy, edit};
use std::path::PathBuf;
use std::{env, fs};

/// Names and contents of all trees.
pub(super) fn all() -> Vec<(String, Vec<u8>)> {
    let kept = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/fdt/trees");
    let more = env::var_os("WARD_TREES").map(PathBuf::from);
    let mut files: Vec<PathBuf> = [Some(kept), more]
        .into_iter()
        .flatten()
        .flat_map(|dir| fs::read_dir(dir).expect("a directory of device trees"))
        .map(|entry| entry.unwrap().path())
        .filter(|file| file.extension().is_some_and(|name| name == "dtb"))
        .collect();
    files.sort();
    let read = |file: PathBuf| {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        (name, fs::read(file).unwrap())
    };
    files.into_iter().map(read).collect()
}

/// One of them.
fn named(name: &str) -> Vec<u8> {
    all().into_iter().find(|(of, _)| of == name).unwrap().1
}

/// A tree edited as boot does it.
pub(super) fn edited(blob: &[u8], changes: &Changes<'_>) -> Option<Vec<u8>> {
    let fdt = parse(blob).ok()?;
    let mut buffer = vec![0xa5; blob.len() + SLACK];
    copy(fdt, &mut buffer).ok()?;
    let len = edit(&mut buffer, changes).ok()?;
    buffer.truncate(len);
    Some(buffer)
}

/// Ranges as Ward would take them: at both ends of a bank, and within one.
pub(super) fn hidden_in(ram: &[Span]) -> Vec<Span> {
    let (first, last) = (ram[0], ram[ram.len() - 1]);
    let image = Span {
        base: first.base + first.size / 4 / PAGE * PAGE,
        size: (first.size / 8).min(0x7_2000) / PAGE * PAGE,
    };
    let size = (last.size / 8).min(0x2f_7000) / PAGE * PAGE;
    let arena = Span {
        base: last.end() - size,
        size,
    };
    vec![image, arena]
}

const PAGE: u64 = hyp_core::addr::PAGE_SIZE;

fn banks(fdt: Fdt<'_>) -> Spans {
    memory::read(fdt).unwrap().ram
}

/// Sorted and joined.
fn tidy(spans: impl IntoIterator<Item = Span>) -> Vec<(u64, u64)> {
    let mut spans: Vec<Span> = spans.into_iter().filter(|span| span.size > 0).collect();
    spans.sort_by_key(|span| span.base);
    let mut tidy: Vec<(u64, u64)> = Vec::new();
    for span in spans {
        match tidy.last_mut() {
            Some(last) if last.1 >= span.base => last.1 = last.1.max(span.end()),
            _ => tidy.push((span.base, span.end())),
        }
    }
    tidy
}

#[test]
fn each_tree_loses_what_is_hidden_and_nothing_else() {
    let all = all();
    assert!(all.len() >= 9, "{} trees", all.len());
    for (name, blob) in all {
        let before = Tree::read(&blob).unwrap();
        let ram = banks(parse(&blob).unwrap());
        let hidden = hidden_in(&ram);
        let ramdisk = Span {
            base: ram[0].base,
            size: 0x1234,
        };
        let changes = Changes {
            hidden: &hidden,
            bootargs: Some("console=ttyAMA0 quiet"),
            ramdisk: Some(ramdisk),
            ..Changes::default()
        };
        let after = Tree::read(&edited(&blob, &changes).unwrap()).unwrap();

        // Every byte of memory: as before, less what is hidden.
        let given = tidy(after.memory());
        let whole = tidy(after.memory().into_iter().chain(hidden.iter().copied()));
        assert_eq!(whole, tidy(before.memory()), "{name}");
        for hole in &hidden {
            let clear = |&(start, end): &(u64, u64)| end <= hole.base || hole.end() <= start;
            assert!(
                hole.size > 0 && given.iter().all(clear),
                "{name}: {given:x?}"
            );
        }

        // Everything else, in the same order.
        assert_eq!(after.reservations, before.reservations, "{name}");
        let is_memory = |path: &str| {
            before
                .property(path, "device_type")
                .is_some_and(|kind| kind == b"memory\0")
        };
        let taken = |path: &str| {
            let kind = before.property(path, "compatible").unwrap_or(b"");
            let kind = String::from_utf8_lossy(kind);
            let gone = ["multiboot,kernel", "multiboot,ramdisk", "arm,smmu-v3"];
            gone.iter().any(|name| kind.contains(name))
        };
        let has_smmu = before.nodes().any(|path| {
            let kind = before.property(path, "compatible").unwrap_or(b"");
            String::from_utf8_lossy(kind).contains("arm,smmu-v3")
        });
        let written = ["bootargs", "linux,initrd-start", "linux,initrd-end"];
        let rest = |tree: &Tree| {
            let kept = |(path, name, _): &&(String, Option<String>, Vec<u8>)| {
                let name = name.as_deref().unwrap_or("");
                let changed = (path == "/chosen" && (name.is_empty() || written.contains(&name)))
                    || (is_memory(path) && name == "reg")
                    || (has_smmu && ["iommus", "iommu-map", "iommu-map-mask"].contains(&name))
                    || taken(path);
                !changed
            };
            tree.items.iter().filter(kept).cloned().collect::<Vec<_>>()
        };
        let (rest_after, rest_before) = (rest(&after), rest(&before));
        let pairs = rest_after.iter().zip(&rest_before);
        // One difference, not two trees.
        assert_eq!(
            pairs.clone().find(|(after, before)| after != before),
            None,
            "{name}"
        );
        assert_eq!(rest_after.len(), rest_before.len(), "{name}");
        assert!(!after.nodes().any(taken), "{name}");
        if has_smmu {
            let leads =
                |(_, name, _): &(_, Option<String>, _)| name.as_deref() == Some("iommu-map");
            assert!(before.items.iter().any(leads), "{name}");
            assert!(!after.items.iter().any(leads), "{name}");
        }
        let chosen = |property| after.property("/chosen", property).unwrap();
        assert_eq!(chosen(written[0]), b"console=ttyAMA0 quiet\0", "{name}");
        assert_eq!(chosen(written[1]), ramdisk.base.to_be_bytes(), "{name}");
        assert_eq!(chosen(written[2]), ramdisk.end().to_be_bytes(), "{name}");
    }
}

#[test]
fn each_machine_is_known_or_refused_by_name() {
    for (name, blob) in all() {
        let fdt = parse(&blob).unwrap();
        let found = Platform::discover(fdt);
        let uart = console(fdt).map(|uart| uart.base);
        match &name[..] {
            "raspi4b" => {
                assert_eq!(found.unwrap_err(), Missing::GicV2);
                // stdout-path names a UART that Ward does not drive.
                assert_eq!(uart, None);
            }
            "imx8mp-evk" => {
                let found = found.unwrap();
                assert_eq!(found.cpus[..], [0, 1, 2, 3]);
                assert_eq!(found.gic[0].base, 0x3880_0000);
                assert_eq!(uart, None);
            }
            "xlnx-versal-virt" => {
                let found = found.unwrap();
                assert_eq!(found.gic[0].base, 0xf900_0000);
                assert_eq!(uart, Some(0xff00_0000));
            }
            _ if name.contains("gic2") => assert_eq!(found.unwrap_err(), Missing::GicV2),
            _ => {
                let found = found.unwrap();
                assert_eq!(found.gic[0].base, 0x0800_0000, "{name}");
                assert_eq!(uart, Some(0x0900_0000), "{name}");
                assert_eq!(found.virtual_timer, 27, "{name}");
                let size: u64 = found.ram.iter().map(|bank| bank.size).sum();
                assert!(size >= 512 << 20, "{name}");
                assert_eq!(found.modules.kernel.is_some(), name == "virt-modules");
            }
        }
    }
}

/// Linux's KVM wants the virtual timer's interrupt, the maintenance interrupt and the ITS.
#[test]
fn what_kvm_needs_stays() {
    let blob = named("virt-gic3-2cpu");
    let hidden = hidden_in(&banks(parse(&blob).unwrap()));
    let changes = Changes {
        hidden: &hidden,
        ..Changes::default()
    };
    let after = Tree::read(&edited(&blob, &changes).unwrap()).unwrap();
    let ppis = |path: &str| -> Vec<u8> {
        let interrupts = after.property(path, "interrupts").unwrap();
        interrupts.chunks(12).map(|entry| 16 + entry[7]).collect()
    };
    assert_eq!(ppis("/timer"), [29, 30, 27, 26, 28]);
    assert_eq!(ppis("/intc@8000000"), [25]);
    assert_eq!(
        after.property("/intc@8000000/its@8080000", "compatible"),
        Some(&b"arm,gic-v3-its\0"[..])
    );
}

#[test]
fn the_smmu_its_streams_and_what_is_beside_it_are_found() {
    let blob = named("virt-gic3-smmu");
    let found = DmaNodes::read(parse(&blob).unwrap()).unwrap();
    let [smmu] = found.smmus[..] else {
        panic!("{found:?}")
    };
    assert_eq!(smmu.kind, SmmuKind::V3);
    assert_eq!(smmu.registers, Span::new(0x0905_0000, 0x2_0000).unwrap());
    assert!(smmu.coherent);
    assert_eq!(smmu.streams, 0x1_0000);
    assert_eq!(found.hidden[..], [smmu.registers]);
    // GITS_TRANSLATER is at 0x8090040.
    assert_eq!(found.doorbells[..], [Span::new(0x0809_0000, PAGE).unwrap()]);
    assert_eq!(
        found.masters[0][..],
        [Span::new(0x0902_0000, PAGE).unwrap()]
    );
    assert_eq!(
        found.masters[1][..],
        [Span::new(0x0a00_0000, 4 * PAGE).unwrap()]
    );
    assert_eq!((found.open_bridges, found.others), (0, 0));
}

#[test]
fn without_an_smmu_a_bridge_is_open() {
    for (name, blob) in all() {
        let found = DmaNodes::read(parse(&blob).unwrap()).unwrap();
        if name == "virt-gic3-2cpu" {
            assert_eq!((found.smmus.len(), found.open_bridges), (0, 1));
        }
        assert!(found.smmus.is_empty() || name == "virt-gic3-smmu", "{name}");
    }
}

/// fw_cfg and virtio go where they are not allowed, and nothing else does.
#[test]
fn bus_masters_go_where_they_are_not_allowed() {
    let blob = named("virt-gic3-smmu");
    let before = Tree::read(&blob).unwrap();
    let nodes = |masters: &[Master]| {
        let changes = Changes {
            masters,
            ..Changes::default()
        };
        let after = Tree::read(&edited(&blob, &changes).unwrap()).unwrap();
        let count = |kind: &str| after.nodes().filter(|path| path.contains(kind)).count();
        let all = before.nodes().count() - after.nodes().count();
        (count("/fw-cfg@"), count("/virtio_mmio@"), all)
    };
    // One node less each time: the SMMU's.
    assert_eq!(nodes(&[]), (1, 32, 1));
    assert_eq!(nodes(&[Master::FwCfg]), (0, 32, 2));
    assert_eq!(nodes(&Master::ALL), (0, 0, 34));
}

/// What leads devices to the SMMU stays, and leads to a node that has a number and no registers.
#[test]
fn a_host_that_asks_for_it_gets_a_node_in_the_smmus_place() {
    let blob = named("virt-gic3-smmu");
    let changes = Changes {
        iommu: true,
        ..Changes::default()
    };
    let before = Tree::read(&blob).unwrap();
    let after = Tree::read(&edited(&blob, &changes).unwrap()).unwrap();
    let smmu = "/smmuv3@9050000";
    let phandle = before.property(smmu, "phandle").unwrap();
    let mut left: Vec<_> = after.items.iter().filter(|item| item.0 == smmu).collect();
    left.sort();
    let mut want = [
        (None, &b""[..]),
        (Some("#iommu-cells"), &[0, 0, 0, 1]),
        (Some("compatible"), b"ward,iommu\0"),
        (Some("phandle"), phandle),
        (Some("ward,smmu-index"), &[0, 0, 0, 0]),
    ];
    want.sort();
    let left: Vec<_> = left
        .iter()
        .map(|(_, name, value)| (name.as_deref(), &value[..]))
        .collect();
    assert_eq!(left, want);

    let rest = |tree: &Tree| -> Vec<_> {
        let other = |(path, ..): &&(String, _, _)| path != smmu && path != "/chosen";
        tree.items.iter().filter(other).cloned().collect()
    };
    assert_eq!(rest(&after), rest(&before));
    let lead = after.property("/pcie@10000000", "iommu-map").unwrap();
    assert_eq!(&lead[4..8], phandle);
}
