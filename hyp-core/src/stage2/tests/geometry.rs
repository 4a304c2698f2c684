//! Every width there is.

use super::{G, K4, M2, ipa};
use crate::addr::{Pfn, Size};
use crate::stage2::Geometry;

#[test]
fn refuses_what_no_table_serves() {
    for bits in (0..32).chain(49..=255) {
        assert_eq!(Geometry::new(bits), None, "{bits}");
    }
}

/// Width, start level, root frames, T0SZ, SL0.
const SHAPES: [(u8, u8, u64, u64, u64); 17] = [
    (32, 1, 1, 32, 1),
    (33, 1, 1, 31, 1),
    (34, 1, 1, 30, 1),
    (35, 1, 1, 29, 1),
    (36, 1, 1, 28, 1),
    (37, 1, 1, 27, 1),
    (38, 1, 1, 26, 1),
    (39, 1, 1, 25, 1),
    (40, 1, 2, 24, 1),
    (41, 1, 4, 23, 1),
    (42, 1, 8, 22, 1),
    (43, 1, 16, 21, 1),
    (44, 0, 1, 20, 2),
    (45, 0, 1, 19, 2),
    (46, 0, 1, 18, 2),
    (47, 0, 1, 17, 2),
    (48, 0, 1, 16, 2),
];

#[test]
fn shapes() {
    for (bits, level, frames, t0sz, sl0) in SHAPES {
        let geometry = Geometry::new(bits).unwrap();
        assert_eq!(geometry.ipa_bits(), bits);
        assert_eq!(geometry.start_level(), level, "{bits}");
        assert_eq!(geometry.root_frames(), frames, "{bits}");
        assert_eq!(geometry.vtcr_fields(), t0sz | sl0 << 6, "{bits}");
    }
}

#[test]
fn bounds_are_exact() {
    for (bits, ..) in SHAPES {
        let geometry = Geometry::new(bits).unwrap();
        let end = 1u64 << bits;
        for (size, bytes) in [(Size::Page, K4), (Size::Block2M, M2), (Size::Block1G, G)] {
            assert!(geometry.contains(ipa(0), size));
            assert!(geometry.contains(ipa(end - bytes), size));
            assert!(!geometry.contains(ipa(end - bytes + K4), size));
            assert!(!geometry.contains(ipa(end), size));
            assert!(!geometry.contains(ipa((1 << 52) - K4), size));
            assert!(geometry.contains_frames(Pfn(0), size));
            assert!(geometry.contains_frames(Pfn((end - bytes) / K4), size));
            assert!(!geometry.contains_frames(Pfn((end - bytes) / K4 + 1), size));
            assert!(!geometry.contains_frames(Pfn(u64::MAX), size));
        }
    }
}
