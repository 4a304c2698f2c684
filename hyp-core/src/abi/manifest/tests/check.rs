//! The shape of the machine.

use super::*;
use crate::addr::Ipa;

const LIMITS: Limits = Limits {
    ipa_bits: 40,
    max_vcpus: 8,
};

/// What `check` says of the sample after a change; empty when it passes.
fn verdict(change: impl FnOnce(&mut Manifest)) -> std::string::String {
    let mut manifest = sample();
    change(&mut manifest);
    match manifest.check(&LIMITS) {
        Ok(()) => std::string::String::new(),
        Err(bad) => bad.to_string(),
    }
}

fn ram(ipa: u64, size: u64) -> Region {
    Region {
        kind: RegionKind::Ram,
        ipa,
        size,
    }
}

#[test]
fn vcpus_from_one_to_the_limit() {
    let bad = "vcpus: none, or more than this machine allows";
    assert_eq!([1, 2, 8].map(|n| verdict(|m| m.vcpus = n)), [""; 3]);
    assert_eq!([0, 9, u32::MAX].map(|n| verdict(|m| m.vcpus = n)), [bad; 3]);
}

#[test]
fn regions_are_whole_pages_inside_the_space() {
    let one = |ipa, size| verdict(|m| m.push_region(ram(ipa, size)).unwrap());
    let end = 1 << 40;
    assert_eq!(one(0x8000_0800, 0x1000), "regions[2].ipa: not page aligned");
    for size in [0, 1, 0x1fff, 0xfff] {
        let bad = "regions[2].size: zero, or not a multiple of 4096";
        assert_eq!(one(0x8000_0000, size), bad);
    }
    assert_eq!(one(end - 0x1000, 0x1000), "");
    assert_eq!(one(0x5000_0000, end - 0x5000_0000), "");
    let outside = "regions[2].size: ends outside this machine's guest address space";
    assert_eq!(one(end - 0x1000, 0x2000), outside);
    assert_eq!(one(end, 0x1000), outside);
    assert_eq!(one(u64::MAX - 0xfff, 0x1000), outside);
    assert_eq!(one(u64::MAX - 0xfff, 0x2000), outside);
    assert_eq!(one(0x8000_0000, u64::MAX - 0xfff), outside);
    // No machine has more than 52 bits, whatever it claims.
    let wide = Limits {
        ipa_bits: 99,
        ..LIMITS
    };
    let mut manifest = sample();
    manifest
        .push_region(ram((1 << 52) - 0x1000, 0x1000))
        .unwrap();
    assert_eq!(manifest.check(&wide), Ok(()));
    manifest.push_region(ram(1 << 52, 0x1000)).unwrap();
    assert!(manifest.check(&wide).is_err());
}

#[test]
fn regions_do_not_overlap() {
    let one = |kind, ipa, size| verdict(|m| m.push_region(Region { kind, ipa, size }).unwrap());
    let bad = "regions[2].ipa: overlaps an earlier region";
    for kind in [RegionKind::Ram, RegionKind::Mmio] {
        assert_eq!(one(kind, 0x3fff_f000, 0x1000), "");
        assert_eq!(one(kind, 0x5000_0000, 0x1000), "");
        assert_eq!(one(kind, 0x3fff_f000, 0x2000), bad);
        assert_eq!(one(kind, 0x4fff_f000, 0x1000), bad);
        assert_eq!(one(kind, 0x4000_0000, 0x1000_0000), bad);
        assert_eq!(one(kind, 0x3000_0000, 0x4000_0000), bad);
        assert_eq!(one(kind, 0x0900_0000, 0x1000), bad);
    }
}

#[test]
fn images_are_inside_one_ram_region() {
    let bad = "images[1].size: its pages are not all inside one RAM region";
    let one = |ipa, size| {
        verdict(|m| {
            m.boot_arg = 0;
            (m.images[1].ipa, m.images[1].size) = (ipa, size);
        })
    };
    assert_eq!(one(0x4800_0001, 1), "images[1].ipa: not page aligned");
    assert_eq!(one(0x4800_0000, 0), "images[1].size: zero");
    assert_eq!(one(0x4fff_f000, 1), "");
    assert_eq!(one(0x4fff_f000, 0x1000), "");
    assert_eq!(one(0x4fff_f000, 0x1001), bad);
    assert_eq!(one(0x5000_0000, 1), bad);
    assert_eq!(one(0x3fff_f000, 0x1000), bad);
    assert_eq!(one(0x0900_0000, 1), bad);
    assert_eq!(one(0x4800_0000, u64::MAX), bad);
    assert_eq!(one(u64::MAX - 0xfff, u64::MAX), bad);
    // Two regions that touch are still two.
    let across = verdict(|m| {
        m.push_region(ram(0x5000_0000, 0x1000)).unwrap();
        m.images[1].ipa = 0x4fff_f000;
        m.images[1].size = 0x1001;
    });
    assert_eq!(across, bad);
}

#[test]
fn images_share_no_page() {
    let bad = "images[1].ipa: shares a page with an earlier image";
    let one = |ipa, size| {
        verdict(|m| {
            m.boot_arg = 0;
            (m.images[1].ipa, m.images[1].size) = (ipa, size);
        })
    };
    // The kernel's 4097 bytes take the pages at 0x4008_0000 and 0x4008_1000.
    assert_eq!(one(0x4008_2000, 1), "");
    assert_eq!(one(0x4008_1000, 1), bad);
    assert_eq!(one(0x4008_0000, 1), bad);
    assert_eq!(one(0x4007_f000, 0x1000), "");
    assert_eq!(one(0x4007_f000, 0x1001), bad);
}

#[test]
fn the_entry_is_in_a_kernel() {
    let at = |entry| verdict(|m| m.entry = entry);
    let bad = "entry: not inside a kernel image";
    assert_eq!([0x4008_0000, 0x4008_1000].map(at), [""; 2]);
    assert_eq!([0x4007_fffc, 0x4008_1004, 0x4800_0000, 0].map(at), [bad; 4]);
    assert_eq!(at(0x4008_0002), "entry: not a multiple of 4");
    let no_kernel = verdict(|m| m.images[0].kind = ImageKind::Other);
    assert_eq!(no_kernel, bad);
    assert_eq!(verdict(|m| m.image_count = 0), bad);
}

#[test]
fn the_boot_argument_is_zero_or_in_an_image() {
    let at = |arg| verdict(|m| m.boot_arg = arg);
    let bad = "boot argument: neither 0 nor inside an image";
    assert_eq!([0, 0x4800_0000, 0x4800_0063, 0x4008_1000].map(at), [""; 4]);
    assert_eq!([1, 0x4800_0064, 0x47ff_ffff].map(at), [bad; 3]);
}

#[test]
fn ranges_are_looked_up_by_kind() {
    let manifest = sample();
    assert!(manifest.ram_contains(0x4000_0000, 0x1000_0000));
    assert!(manifest.ram_contains(0x4fff_ffff, 1));
    assert!(!manifest.ram_contains(0x4000_0000, 0x1000_0001));
    assert!(!manifest.ram_contains(0x3fff_ffff, 1));
    assert!(!manifest.ram_contains(0x4000_0000, 0));
    assert!(!manifest.ram_contains(0x4fff_ffff, u64::MAX));
    assert!(!manifest.ram_contains(0x0900_0000, 1));
    assert!(manifest.mmio_contains(0x0900_0ff8, 8));
    assert!(!manifest.mmio_contains(0x0900_0ff9, 8));
    assert!(!manifest.mmio_contains(0x4000_0000, 1));
}

#[test]
fn pages_of_images_have_addresses() {
    let manifest = sample();
    assert_eq!(
        [0, 1, 2].map(|i| manifest.image_pages(i)),
        [Some(2), Some(1), None]
    );
    assert_eq!(manifest.image_page(0, 1), Ipa::page(0x4008_1000).ok());
    assert_eq!(manifest.image_page(0, 2), None);
    assert_eq!(manifest.image_page(2, 0), None);
}
