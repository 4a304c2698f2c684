//! Which commands forget a range of addresses.

use super::{Command, Vmid};

/// Without range invalidation, more pages than this cost more than forgetting the whole VMID.
const MOST_PAGES: u64 = 64;
/// The most pages that one command with `SCALE` 0 names.
const NUM: u64 = 32;
/// The largest `SCALE`: with it one command names 2^36 pages, 48 bits of address (4.4.1.1).
const SCALE: u64 = 31;

/// Hands the commands that forget `pages` pages from `ipa` on to `push`: leaves of any size and
/// the walks to them, so that a table under them may be freed.
///
/// # Errors
/// The first of `push`.
pub(super) fn range<E>(
    with_range: bool,
    vmid: Vmid,
    ipa: u64,
    pages: u64,
    mut push: impl FnMut(Command) -> Result<(), E>,
) -> Result<(), E> {
    if !with_range && pages > MOST_PAGES {
        return push(Command::all_of(vmid));
    }
    let (mut at, mut left) = (ipa, pages);
    while left > 0 {
        // A single page is not a range: NUM and SCALE 0 with TG is reserved.
        let taken = if !with_range || left == 1 {
            push(Command::leaf(vmid, at))?;
            1
        } else {
            // The largest power of 32 or so that fits: no alignment is asked for when TTL is 0.
            let scale = u64::from(left.ilog2()).saturating_sub(u64::from(NUM.ilog2()) - 1);
            let scale = scale.min(SCALE);
            let num = (left >> scale).min(NUM);
            push(Command::range(vmid, at, num - 1, scale))?;
            num << scale
        };
        at += taken << 12;
        left -= taken;
    }
    Ok(())
}
