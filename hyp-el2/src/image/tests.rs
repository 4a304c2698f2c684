//! Kernels that are none, and what may follow an image.

use super::appended::{Appended, Bad};
use super::{HEADER, Header, appended};
use crate::fdt::Span;

fn kernel() -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[16..24].copy_from_slice(&0x20_0000_u64.to_le_bytes());
    bytes[56..60].copy_from_slice(b"ARM\x64");
    bytes
}

#[test]
fn reads_the_header_of_an_image() {
    let expected = Header {
        text_offset: 0,
        image_size: 0x20_0000,
    };
    assert_eq!(Header::parse(&kernel(), 0x1000), Ok(expected));
    // Older than Linux 3.17.
    let mut old = kernel();
    old[16] = 0;
    old[18] = 0;
    let expected = Header {
        text_offset: 0x8_0000,
        image_size: 0x1000,
    };
    assert_eq!(Header::parse(&old, 0x1000), Ok(expected));
}

#[test]
fn says_what_a_file_is_instead() {
    let starts: [(&[u8], &str); 9] = [
        (b"\x1f\x8b\x08", "gzip"),
        (b"MZ\0\0zimg", "zboot"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x7fELF\x02", "ELF"),
        (b"\x27\x05\x19\x56", "uImage"),
        (b"MZ\x90\0", "PE program"),
        (b"", "only zeros"),
        (b"#!/bin/sh", "no arm64 Image"),
    ];
    for (start, word) in starts {
        let mut bytes = [0; HEADER];
        bytes[..start.len()].copy_from_slice(start);
        let wrong = Header::parse(&bytes, 0x1000).unwrap_err();
        assert!(wrong.contains(word), "{word}: {wrong}");
    }
}

#[test]
fn refuses_sizes_that_cannot_be() {
    let refused = |change: fn(&mut [u8; HEADER]), file_size| {
        let mut bytes = kernel();
        change(&mut bytes);
        Header::parse(&bytes, file_size).unwrap_err()
    };
    assert!(refused(|bytes| bytes[24] = 1, 0x1000).contains("big-endian"));
    assert!(refused(|_| (), 0x20_0001).contains("larger"));
    assert!(refused(|bytes| bytes[20] = 1, 0x1000).contains("4 GiB"));
    assert!(refused(|bytes| bytes[10] = 0x20, 0x1000).contains("4 GiB"));
}

const BASE: u64 = 0x4028_0000;

/// Kernel at 0x2000 of 0x1000 bytes, RAM disk at 0x1000, command line at 0x800.
fn header() -> [u8; appended::HEADER] {
    let mut bytes = [0; appended::HEADER];
    bytes[..8].copy_from_slice(b"WARDLOAD");
    bytes[8] = 1;
    bytes[12] = 3;
    let numbers = [
        (16, 0x3000_u64),
        (24, 0x2000),
        (32, 0x1000),
        (72, 0x1000),
        (80, 0x400),
        (120, 0x800),
        (128, 0x10),
    ];
    for (at, value) in numbers {
        put(&mut bytes, at, value);
    }
    bytes[40..72].fill(7);
    bytes
}

fn put(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn finds_what_is_appended() {
    let found = Appended::parse(&header(), BASE, 0x3000).unwrap();
    let span = |base, size| Span { base, size };
    assert_eq!(found.kernel.span, span(BASE + 0x2000, 0x1000));
    assert_eq!(found.kernel.digest, [7; 32]);
    assert_eq!(found.ramdisk.unwrap().span, span(BASE + 0x1000, 0x400));
    assert_eq!(found.bootargs.unwrap().span, span(BASE + 0x800, 0x10));
    let mut bare = header();
    put(&mut bare, 80, 0);
    put(&mut bare, 128, 0);
    let found = Appended::parse(&bare, BASE, 0x3000).unwrap();
    assert_eq!((found.ramdisk, found.bootargs), (None, None));
}

#[test]
fn refuses_what_cannot_be_one() {
    type Case = (usize, u64, Bad);
    let cases: [Case; 12] = [
        (0, 0, Bad::Magic),
        (8, 2 | 3 << 32, Bad::Version(2)),
        (8, 1 | 4 << 32, Bad::Version(1)),
        (16, 0x3001, Bad::Truncated),
        (16, u64::MAX, Bad::Place),
        (32, 0, Bad::NoKernel),
        (32, 0x1001, Bad::Place),
        (24, u64::MAX, Bad::Place),
        (24, 0x1400 - 1, Bad::Place),
        (72, 0, Bad::Place),
        (120, 0x2fff, Bad::Place),
        (80, u64::MAX, Bad::Place),
    ];
    for (at, value, bad) in cases {
        let mut bytes = header();
        put(&mut bytes, at, value);
        let found = Appended::parse(&bytes, BASE, 0x3000);
        assert_eq!(found, Err(bad), "{value:#x} at {at}");
    }
    let mut long = header();
    put(&mut long, 16, 0x1_0000);
    put(&mut long, 120, 0x4000);
    put(&mut long, 128, 0x1001);
    assert_eq!(Appended::parse(&long, BASE, 0x1_0000), Err(Bad::Bootargs));
    // Cut off: the boot loader's memory behind it is whatever it is.
    let zeros = [0; appended::HEADER];
    assert_eq!(Appended::parse(&zeros, BASE, 0x3000), Err(Bad::Magic));
}
