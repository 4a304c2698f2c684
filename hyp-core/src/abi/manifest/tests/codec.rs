//! Parsing accepts what encoding writes, and nothing else.

use super::*;
use crate::abi::manifest::split_signature;

#[test]
fn the_bytes_stand_where_the_table_says() {
    let bytes = encoded(&sample());
    let u32_at = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().unwrap());
    let u64_at = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().unwrap());
    assert_eq!(&bytes[..8], b"WARDMAN1");
    assert_eq!([8, 12, 16, 20].map(u32_at), [1, 376, 0, 2]);
    assert_eq!([24, 32, 40].map(u64_at), [0x4008_0040, 0x4800_0000, 3]);
    assert_eq!([48, 52].map(u32_at), [2, 2]);
    assert_eq!(bytes[56..88], [7; 32]);
    assert_eq!([88, 92, 112, 116].map(u32_at), [1, 0, 2, 0]);
    assert_eq!([96, 104].map(u64_at), [0x4000_0000, 0x1000_0000]);
    assert_eq!([120, 128].map(u64_at), [0x0900_0000, 0x1000]);
    assert_eq!([136, 140].map(u32_at), [1, 1]);
    assert_eq!([144, 152].map(u64_at), [0x4008_0000, 4097]);
    assert_eq!(bytes[160..192], [0x11; 32]);
    assert_eq!(bytes[192..224], [0; 32]);
    assert_eq!([224, 228].map(u32_at), [3, 2]);
    assert_eq!([232, 240].map(u64_at), [0x4800_0000, 100]);
    assert_eq!(bytes[248..312], [0x22; 64]);
    assert_eq!(bytes[312..], [0x55; 64]);
    assert_eq!(bytes.len(), 376);
    let (body, signature) = split_signature(&bytes).unwrap();
    assert_eq!((body.len(), signature), (312, &[0x55; 64]));
    assert_eq!(split_signature(&bytes[..63]), None);
}

#[test]
fn parse_undoes_encode() {
    assert_eq!(Manifest::parse(&encoded(&sample())), Ok(sample()));
    let empty = Manifest::new([0; 32]);
    assert_eq!(encoded(&empty).len(), HEADER_BYTES + SIGNATURE_BYTES);
    assert_eq!(Manifest::parse(&encoded(&empty)), Ok(empty));
    for number in 1..=4 {
        let mut manifest = sample();
        manifest.images[1].kind = ImageKind::from_number(number).unwrap();
        assert_eq!(manifest.images[1].kind as u32, number);
        assert_eq!(Manifest::parse(&encoded(&manifest)), Ok(manifest));
    }
    assert_eq!([0, 5].map(ImageKind::from_number), [None; 2]);
    assert_eq!([0, 3].map(RegionKind::from_number), [None; 2]);
}

#[test]
fn each_broken_field_is_named() {
    let cases: [(usize, u8, &str); 17] = [
        (0, b'w', "magic: not a Ward manifest"),
        (7, b'2', "magic: not a Ward manifest"),
        (8, 2, "format version: not 1"),
        (12, 0, "length: not the number of bytes given"),
        (15, 1, "length: not the number of bytes given"),
        (16, 1, "flags: not 0"),
        (19, 0x80, "flags: not 0"),
        (48, 17, "regions: more than 16"),
        (48, 16, "length: does not fit the counts"),
        (48, 1, "length: does not fit the counts"),
        (52, 17, "images: more than 16"),
        (52, 16, "length: does not fit the counts"),
        (88, 3, "regions[0].kind: neither 1 (RAM) nor 2 (MMIO)"),
        (116, 1, "regions[1].reserved: not 0"),
        (136, 5, "images[0].kind: not 1 (kernel) to 4 (other)"),
        (
            228,
            3,
            "images[1].digest algorithm: neither 1 (SHA-256) nor 2 (SHA-512)",
        ),
        (
            223,
            1,
            "images[0].digest: bytes after a SHA-256 digest not 0",
        ),
    ];
    for (at, value, message) in cases {
        let mut bytes = encoded(&sample());
        bytes[at] = value;
        assert_eq!(Manifest::parse(&bytes).unwrap_err().to_string(), message);
    }
}

#[test]
fn no_other_length_will_do() {
    let bytes = encoded(&sample());
    for end in 0..bytes.len() {
        assert!(Manifest::parse(&bytes[..end]).is_err(), "cut at {end}");
    }
    let mut long = bytes.clone();
    long.push(0);
    assert!(Manifest::parse(&long).is_err());
    // With the length put right, too.
    long[12..16].copy_from_slice(&377_u32.to_le_bytes());
    let why = Manifest::parse(&long).unwrap_err().to_string();
    assert_eq!(why, "length: does not fit the counts");
    let mut short = bytes;
    short.truncate(375);
    short[12..16].copy_from_slice(&375_u32.to_le_bytes());
    assert!(Manifest::parse(&short).is_err());
    // The header alone, cut in each field.
    for end in 16..HEADER_BYTES {
        let mut bytes = encoded(&Manifest::new([0; 32]));
        bytes.truncate(end);
        bytes[12..16].copy_from_slice(&(end as u32).to_le_bytes());
        let why = Manifest::parse(&bytes).unwrap_err().why;
        assert_eq!(why, "the bytes end before it", "cut at {end}");
    }
}

/// Whatever parses has one encoding only; and nothing panics, in the checks neither.
#[test]
fn mutated_manifests_parse_to_themselves_or_not_at_all() {
    let rounds = if cfg!(miri) { 100 } else { 200_000 };
    let mut random = Random(0x5eed);
    let limits = Limits {
        ipa_bits: 40,
        max_vcpus: 8,
    };
    let (mut parsed, mut passed) = (0, 0);
    for _ in 0..rounds {
        let mut bytes = encoded(&sample());
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() - SIGNATURE_BYTES);
            bytes[at] = match random.below(3) {
                0 => bytes[at] ^ 1 << random.below(8),
                1 => [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
                _ => random.next() as u8,
            };
        }
        if let Ok(manifest) = Manifest::parse(&bytes) {
            parsed += 1;
            assert_eq!(encoded(&manifest), bytes);
            passed += usize::from(manifest.check(&limits).is_ok());
            for index in 0..3 {
                let last = manifest.image_pages(index).unwrap_or(0).wrapping_sub(1);
                let _ = manifest.image_page(index, last);
            }
        }
    }
    assert!(parsed > rounds / 10 && passed > 0 && passed < parsed);
}
