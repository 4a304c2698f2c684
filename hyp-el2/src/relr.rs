//! Packed relative relocations (RELR): which words of the image relocation moved.
//!
//! An even word of the table is the offset of a place; an odd one a bitmap of the 63 words after
//! the last place or bitmap (generic ABI, "Relative relocation table"). `entry.s` applies the
//! same table before there is a stack.

/// Words that one bitmap speaks of.
const BITMAP_WORDS: u64 = 63;

/// The offsets that a table names, in its order.
pub fn places(table: &[u64]) -> impl Iterator<Item = u64> + '_ {
    let mut next = 0;
    table.iter().flat_map(move |&entry| {
        let (base, mut bits) = if entry & 1 == 0 {
            (entry, 1)
        } else {
            (next, entry >> 1)
        };
        next = if entry & 1 == 0 {
            entry + 8
        } else {
            base + 8 * BITMAP_WORDS
        };
        let mut word = 0;
        core::iter::from_fn(move || {
            if bits == 0 {
                return None;
            }
            let skip = u64::from(bits.trailing_zeros());
            let place = base + 8 * (word + skip);
            word += skip + 1;
            bits = bits >> skip >> 1;
            Some(place)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_bitmaps() {
        let all = |table: &[u64]| places(table).collect::<std::vec::Vec<_>>();
        assert_eq!(all(&[]), []);
        assert_eq!(all(&[0x1000]), [0x1000]);
        assert_eq!(all(&[0x1000, 0b1011]), [0x1000, 0x1008, 0x1018]);
        // A full bitmap is 63 words; the next one goes on behind it.
        let full = all(&[0x1000, u64::MAX, 0b11]);
        assert_eq!(full.len(), 1 + 63 + 1);
        assert!(full.windows(2).all(|pair| pair[1] == pair[0] + 8));
        // An empty bitmap only moves on; a new address starts anew.
        assert_eq!(
            all(&[0x1000, 1, 0b11, 0x3000]),
            [0x1000, 0x1008 + 63 * 8, 0x3000]
        );
        assert_eq!(all(&[0x1000, 1 << 63 | 1]), [0x1000, 0x1008 + 62 * 8]);
    }
}
