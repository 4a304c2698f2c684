//! Descriptors, bit for bit.

use crate::addr::{Pfn, Size};
use crate::stage2::descriptor::Entry;
use crate::stage2::{Attrs, Leaf, MemoryKind, Note};

const FRAMES: [u64; 3] = [0, 0x40000, 0xa_aaa8_0000];

/// All leaves over some frames, with their bits as DDI 0487 D8.3 lays them out.
fn each(mut check: impl FnMut(Leaf, u64, u8)) {
    for (size, level, kind_bits) in [
        (Size::Page, 3, 0b11),
        (Size::Block2M, 2, 0b01),
        (Size::Block1G, 1, 0b01),
    ] {
        for frame in FRAMES
            .into_iter()
            .chain([size.frames(), (1 << 36) - size.frames()])
        {
            for n in 0..24 {
                let (write, execute, accessed) = (n & 1 != 0, n & 2 != 0, n & 4 != 0);
                let (kind, attr) = [
                    (MemoryKind::Normal, 0b1111),
                    (MemoryKind::Device, 0b0001),
                    (MemoryKind::WriteCombining, 0b0101),
                ][n >> 3];
                let mut raw = kind_bits | frame << 12 | 0b11 << 8 | attr << 2;
                raw |= if write { 0b11 << 6 } else { 0b01 << 6 };
                raw |= if accessed { 1 << 10 } else { 0 };
                raw |= if execute { 0 } else { 1 << 54 };
                let attrs = Attrs {
                    kind,
                    write,
                    execute,
                };
                check(
                    Leaf {
                        frame: Pfn(frame),
                        size,
                        attrs,
                        accessed,
                    },
                    raw,
                    level,
                );
            }
        }
    }
}

#[test]
fn leaves_encode_and_decode() {
    let mut count = 0;
    each(|leaf, raw, level| {
        assert_eq!(leaf.encode(), raw, "{leaf:x?}");
        assert_eq!(Entry::decode(raw, level), Entry::Leaf(leaf));
        count += 1;
    });
    assert_eq!(count, 3 * 5 * 24);
}

#[test]
fn the_valid_bit_decides() {
    each(|_, raw, level| {
        assert!(matches!(Entry::decode(raw & !1, level), Entry::Invalid(_)));
    });
    assert_eq!(Entry::decode(0, 3), Entry::Invalid(Note::NONE));
}

#[test]
fn reserved_patterns_are_invalid() {
    assert!(matches!(
        Entry::decode(0b01 | 1 << 12, 0),
        Entry::Invalid(_)
    ));
    assert!(matches!(
        Entry::decode(0b01 | 1 << 12, 3),
        Entry::Invalid(_)
    ));
}

#[test]
fn bits_that_hardware_ignores_are_not_read() {
    each(|leaf, raw, level| {
        // Software bits 58:55, bits 51:48.
        assert_eq!(
            Entry::decode(raw | 0xf << 55 | 0xf << 48, level),
            Entry::Leaf(leaf)
        );
    });
}

#[test]
fn tables() {
    for frame in FRAMES {
        let raw = Entry::table(Pfn(frame));
        assert_eq!(raw, frame << 12 | 0b11);
        for level in 0..3 {
            assert_eq!(Entry::decode(raw, level), Entry::Table(Pfn(frame)));
        }
        assert!(matches!(Entry::decode(raw, 3), Entry::Leaf(_)));
    }
}

#[test]
fn notes_never_look_valid() {
    for n in 0..=255 {
        let raw = Note(n).encode();
        assert_eq!(raw, u64::from(n) << 2);
        assert_eq!(Entry::decode(raw, 3), Entry::Invalid(Note(n)));
    }
    assert_eq!(Note::NONE, Note(0));
}

#[test]
fn parts() {
    each(|leaf, _, _| {
        let part = leaf.part(3, Size::Page);
        assert_eq!(part.frame, Pfn(leaf.frame.0 + 3));
        assert_eq!(
            part,
            Leaf {
                frame: part.frame,
                size: Size::Page,
                ..leaf
            }
        );
    });
}
