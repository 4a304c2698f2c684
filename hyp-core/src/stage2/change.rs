//! Changing the leaves of a range: permissions, the access flag, or that they are there at all.
//!
//! One invalidation ends it, however many leaves changed: of the one leaf and the walk to it, or
//! of all of the VMID's, for the reason given at `merge`. Until then TLBs hold what the tables no
//! longer say, so a caller lets nobody else at the frames before [`Stage2::change`] returns. Only
//! a block that is changed in part has an invalidation of its own, when it is split.

use super::descriptor::{Attrs, Entry, Leaf};
use super::unmap::{UnmapError, unlink_empty};
use super::{Pool, Stage2};
use crate::addr::{Ipa, Pfn, Size};
use crate::machine::{TableMemory, TlbScope};

/// Places for `count` leaves of one size in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The first place, aligned to the size.
    pub ipa: Ipa,
    /// The size of each.
    pub size: Size,
    /// How many, 1 to [`Span::MOST`].
    pub count: u64,
}

/// What becomes of a leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It stays as it is.
    Keep,
    /// It allows this. The kind of memory stays.
    Attrs(Attrs),
    /// Its access flag is cleared; of a block that reaches over an end too.
    Age,
    /// It goes.
    Unmap,
}

impl Span {
    /// Places a span has at most.
    pub const MOST: u64 = crate::abi::MAX_RANGE_FRAMES;

    /// The address behind the last place.
    fn end(self) -> u64 {
        self.ipa.as_u64() + self.count * self.size.bytes()
    }

    fn covers(self, first: Ipa, size: Size) -> bool {
        first >= self.ipa && first.as_u64() + size.bytes() <= self.end()
    }
}

/// Tables that emptying a span can leave empty: its 512 places stand in two tables at most.
const MOST_TABLES: usize = 2 * 3;

impl Stage2 {
    /// Can the leaves of the span be changed so? `change` says what becomes of each; `None` passes
    /// it by, as if nothing were there. Holes are no obstacle, unless the span is nothing else and
    /// has one place only.
    ///
    /// # Errors
    /// [`UnmapError`]; nothing changed. [`UnmapError::Mixed`] for leaves smaller than the span's
    /// size, and for a part of a 1 GiB leaf.
    pub fn can_change(
        &self,
        mem: &impl TableMemory,
        pool_len: u64,
        span: Span,
        change: impl Fn(Leaf) -> Option<Change>,
    ) -> Result<(), UnmapError> {
        if !span.ipa.is_aligned(span.size) {
            return Err(UnmapError::Misaligned);
        }
        let last = span.ipa.checked_add((span.count - 1) * span.size.frames());
        if !last.is_some_and(|last| self.geometry.contains(last, span.size)) {
            return Err(UnmapError::OutOfRange);
        }
        let (mut is_hole, mut splits) = (true, 0);
        let mut at = span.ipa;
        while let Some((first, walk)) = self.find(mem, at, span.end(), is_leaf) {
            let Entry::Leaf(leaf) = walk.entry else { break };
            if leaf.size < span.size {
                return Err(UnmapError::Mixed);
            }
            let change = change(leaf);
            is_hole &= change.is_none();
            let splits_it = matches!(change, Some(Change::Attrs(_) | Change::Unmap));
            if splits_it && !span.covers(first, leaf.size) {
                if leaf.size == Size::Block1G {
                    return Err(UnmapError::Mixed);
                }
                splits += 1;
            }
            at = after(first, leaf.size);
        }
        if is_hole && span.count == 1 {
            return Err(UnmapError::NotMapped);
        }
        match u64::saturating_sub(splits, pool_len) {
            0 => Ok(()),
            missing => Err(UnmapError::NoTables(missing)),
        }
    }

    /// Changes them, after [`Stage2::can_change`] under the same lock, and says how many leaves it
    /// changed. `change` is asked once of each leaf, in order, or of each part of a block that
    /// reaches over an end. On return no TLB holds what was.
    ///
    /// # Panics
    /// If [`Stage2::can_change`] would have refused: a bug of the caller's.
    pub fn change(
        &mut self,
        mem: &impl TableMemory,
        pool: &mut Pool,
        span: Span,
        mut change: impl FnMut(Leaf) -> Option<Change>,
    ) -> u64 {
        let (mut changed, mut stale) = (0, None);
        let mut empty = [None; MOST_TABLES];
        let mut places = empty.iter_mut();
        let mut at = span.ipa;
        while let Some((first, walk)) = self.find(mem, at, span.end(), is_leaf) {
            let Entry::Leaf(leaf) = walk.entry else { break };
            let (from, part) = if span.covers(first, leaf.size) {
                (first, leaf)
            } else {
                let from = first.max(at);
                let frames = from.page_number() - first.page_number();
                (from, leaf.part(frames, span.size))
            };
            at = after(first, leaf.size);
            let (whole, raw) = match change(part) {
                None | Some(Change::Keep) => continue,
                Some(Change::Age) => {
                    let aged = Leaf {
                        accessed: false,
                        ..leaf
                    };
                    (leaf, aged.encode())
                }
                Some(Change::Attrs(attrs)) => (part, Leaf { attrs, ..part }.encode()),
                Some(Change::Unmap) => (part, 0),
            };
            changed += 1;
            if whole.size != leaf.size {
                self.carve(mem, pool, walk.end, from, whole.size, raw);
                at = after(from, whole.size);
                continue;
            }
            // Permissions and the flag alone need no break-before-make (DDI 0487 D8.17.1).
            walk.end.write(mem, raw);
            if raw == 0 {
                for table in unlink_empty(mem, &walk).into_iter().flatten() {
                    *places.next().expect("two tables of each level") = Some(table);
                }
            }
            stale = Some(match stale {
                None => TlbScope::Leaf(first, leaf.size),
                Some(_) => TlbScope::All,
            });
        }
        if let Some(scope) = stale {
            mem.tlb_invalidate(self.vm, scope);
        }
        let empty: [Option<Pfn>; MOST_TABLES] = empty;
        empty
            .into_iter()
            .flatten()
            .for_each(|table| pool.push(mem, table));
        changed
    }
}

fn is_leaf(entry: Entry) -> bool {
    matches!(entry, Entry::Leaf(_))
}

/// The address behind a leaf.
fn after(first: Ipa, size: Size) -> Ipa {
    Ipa::containing(first.as_u64() + size.bytes())
}
