//! The format byte by byte, and that a wrong bundle is refused whole.

use super::*;
use crate::abi::manifest::tests::{Random, encoded, sample};
use std::string::ToString;
use std::vec;
use std::vec::Vec;

const ENTRIES: [Entry; 2] = [
    Entry {
        offset: 0x1000,
        size: 4097,
        ipa: 0x4008_0000,
    },
    Entry {
        offset: 0x3000,
        size: 100,
        ipa: 0x4800_0000,
    },
];

fn bundle(images: &[Entry]) -> Vec<u8> {
    let manifest = encoded(&sample());
    let mut header = [0; MAX_HEADER_BYTES];
    let len = encode_header(&mut header, 1024, manifest.len() as u64, images);
    let mut file = vec![0; 0x4000];
    file[..len].copy_from_slice(&header[..len]);
    file[1024..1024 + manifest.len()].copy_from_slice(&manifest);
    file[0x1000..0x2001].fill(0xa1);
    file[0x3000..0x3064].fill(0xa2);
    file
}

#[test]
fn parts_are_found_where_the_table_says() {
    let file = bundle(&ENTRIES);
    assert_eq!(&file[..8], b"WARDBND1");
    assert_eq!(file[8..16], 1024_u64.to_le_bytes());
    assert_eq!(file[16..24], 376_u64.to_le_bytes());
    assert_eq!(file[24..32], 2_u64.to_le_bytes());
    assert_eq!(file[32..40], 0x1000_u64.to_le_bytes());
    assert_eq!(file[40..48], 4097_u64.to_le_bytes());
    assert_eq!(file[48..56], 0x4008_0000_u64.to_le_bytes());
    let bundle = Bundle::parse(&file).unwrap();
    assert_eq!(bundle.manifest(), encoded(&sample()));
    assert_eq!(bundle.images(), ENTRIES);
    assert_eq!(bundle.pages(0), &file[0x1000..0x3000]);
    assert_eq!(bundle.pages(1), &file[0x3000..]);
    assert!(bundle.pages(2).is_empty());
    assert_eq!(bundle.agrees_with(&sample()), Ok(()));
}

#[test]
fn each_broken_field_is_named() {
    let cases: [(usize, u64, &str); 9] = [
        (0, 0, "bundle magic: not a Ward bundle"),
        (8, 0x4000 - 375, "manifest offset: past the end of the file"),
        (8, u64::MAX, "manifest offset: past the end of the file"),
        (16, u64::MAX, "manifest offset: past the end of the file"),
        (24, 17, "bundle images: more than 16"),
        (24, 1 << 32, "bundle reserved: not 0"),
        (32, 0x1001, "bundle images[0].offset: not page aligned"),
        (
            64,
            0x1001,
            "bundle images[1].size: its pages pass the end of the file",
        ),
        (
            64,
            u64::MAX,
            "bundle images[1].size: its pages pass the end of the file",
        ),
    ];
    for (at, value, message) in cases {
        let mut file = bundle(&ENTRIES);
        file[at..at + 8].copy_from_slice(&value.to_le_bytes());
        assert_eq!(Bundle::parse(&file).unwrap_err().to_string(), message);
    }
    let mut file = bundle(&ENTRIES);
    file[8..16].copy_from_slice(&(0x4000_u64 - 376).to_le_bytes());
    file[64..72].copy_from_slice(&0x1000_u64.to_le_bytes());
    assert!(
        Bundle::parse(&file).is_ok(),
        "up to the last byte is inside"
    );
    assert!(Bundle::parse(&file[..0x3fff]).is_err());
}

#[test]
fn a_cut_header_is_refused() {
    for end in 0..HEADER_BYTES + 2 * ENTRY_BYTES {
        let mut file = bundle(&ENTRIES);
        file[8..24].fill(0);
        assert!(Bundle::parse(&file[..end]).is_err());
    }
}

#[test]
fn as_many_images_as_a_manifest() {
    let many = [Entry {
        offset: 0,
        size: 1,
        ipa: 0,
    }; 17];
    let file = bundle(&many[..16]);
    assert_eq!(Bundle::parse(&file).unwrap().images().len(), 16);
    assert_eq!(bundle(&many), file);
}

#[test]
fn a_bundle_of_another_manifest_is_found() {
    let told = |images: &[Entry]| {
        let file = bundle(images);
        Bundle::parse(&file)
            .unwrap()
            .agrees_with(&sample())
            .unwrap_err()
            .to_string()
    };
    let count = "bundle images: not as many as in the manifest";
    assert_eq!([told(&ENTRIES[..1]), told(&[ENTRIES[0]; 3])], [count; 2]);
    let differs = "bundle images[1].ipa: other address or size than in the manifest";
    let mut entries = ENTRIES;
    entries[1].ipa += 0x1000;
    assert_eq!(told(&entries), differs);
    let mut entries = ENTRIES;
    entries[1].size += 1;
    assert_eq!(told(&entries), differs);
}

#[test]
fn mutated_headers_never_panic() {
    let mut random = Random(1);
    for _ in 0..if cfg!(miri) { 50 } else { 20_000 } {
        let mut file = bundle(&ENTRIES);
        for _ in 0..=random.below(3) {
            file[random.below(HEADER_BYTES + 2 * ENTRY_BYTES)] = random.next() as u8;
        }
        if let Ok(bundle) = Bundle::parse(&file) {
            for (i, image) in bundle.images().iter().enumerate() {
                let pages = bundle.pages(i).len() as u64;
                assert_eq!(pages, image.size.next_multiple_of(PAGE_SIZE));
            }
        }
    }
}
