//! Where things go in memory.

use crate::fdt::Span;

/// The highest place for `size` bytes, aligned, in one of the `ram` ranges and clear of `taken`.
/// High, because hosts are loaded low.
pub fn find(ram: &[Span], taken: &[Span], size: u64, align: u64) -> Option<Span> {
    let down = |at: u64| at & !(align - 1);
    ram.iter().rev().find_map(|bank| {
        let mut base = down(bank.end().checked_sub(size)?);
        loop {
            if base < bank.base {
                return None;
            }
            let place = Span { base, size };
            match taken.iter().find(|other| other.overlaps(place)) {
                Some(other) => base = down(other.base.checked_sub(size)?),
                None => return Some(place),
            }
        }
    })
}

/// The first of `ram` that ends above what `bits` of address reach.
pub fn beyond(ram: &[Span], bits: u32) -> Option<Span> {
    let reach = |bank: &Span| 1_u64.checked_shl(bits).is_none_or(|end| bank.end() <= end);
    ram.iter().copied().find(|bank| !reach(bank))
}

#[cfg(test)]
mod tests {
    use super::{Span, beyond, find};

    const RAM: [Span; 2] = [
        Span {
            base: 0x4000_0000,
            size: 0x1000_0000,
        },
        Span {
            base: 0x8000_0000,
            size: 0x10_0000,
        },
    ];

    #[test]
    fn takes_the_highest_that_fits() {
        assert_eq!(find(&RAM, &[], 0x1000, 0x1000).unwrap().base, 0x800f_f000);
        assert_eq!(
            find(&RAM, &[], 0x20_0000, 0x20_0000).unwrap().base,
            0x4fe0_0000
        );
    }

    #[test]
    fn what_the_cpu_cannot_reach_is_named() {
        let high = Span {
            base: (1 << 40) - 0x1000,
            size: 0x1000,
        };
        assert_eq!(beyond(&RAM, 32), None);
        assert_eq!(beyond(&RAM, 31), Some(RAM[1]));
        assert_eq!(beyond(&[RAM[0], high], 40), None, "up to the last byte");
        assert_eq!(beyond(&[RAM[0], high], 39), Some(high));
    }

    #[test]
    fn steps_over_what_is_taken() {
        let taken = [
            Span {
                base: 0x4ff0_0000,
                size: 0x1000,
            },
            Span {
                base: 0x8000_0000,
                size: 0x10_0000,
            },
        ];
        assert_eq!(
            find(&RAM, &taken, 0x10_0000, 0x1000).unwrap().base,
            0x4fe0_0000
        );
        assert_eq!(find(&RAM, &taken, 0x2000_0000, 0x1000), None);
    }
}
