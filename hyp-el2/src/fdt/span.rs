//! Ranges of physical addresses, and short lists of them.

use super::Missing;
use arrayvec::ArrayVec;
use core::fmt;
use hyp_core::addr::PAGE_SIZE;

/// Ranges of one kind that Ward has room for.
pub const MAX_SPANS: usize = 32;

/// A range of physical addresses, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// First byte.
    pub base: u64,
    /// Bytes; the end does not wrap.
    pub size: u64,
}

impl Span {
    /// The range of `size` bytes at `base`, if neither its end nor that of its last page wraps.
    pub fn new(base: u64, size: u64) -> Option<Self> {
        let end = base.checked_add(size)?;
        end.checked_next_multiple_of(PAGE_SIZE)?;
        Some(Span { base, size })
    }

    /// The first byte after the range.
    pub const fn end(self) -> u64 {
        self.base + self.size
    }

    /// Do the two ranges share a byte?
    pub const fn overlaps(self, other: Span) -> bool {
        self.base < other.end() && other.base < self.end()
    }

    /// Is all of `other` in this range?
    pub const fn contains(self, other: Span) -> bool {
        self.base <= other.base && other.end() <= self.end()
    }

    /// The smallest range of whole pages that contains this one.
    pub fn to_pages(self) -> Self {
        let base = self.base & !(PAGE_SIZE - 1);
        Span {
            base,
            size: self.end().next_multiple_of(PAGE_SIZE) - base,
        }
    }

    /// The whole pages inside this range.
    pub fn pages_inside(self) -> Self {
        let base = self.base.next_multiple_of(PAGE_SIZE);
        let end = self.end() & !(PAGE_SIZE - 1);
        Span {
            base,
            size: end.saturating_sub(base),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.base, self.end())
    }
}

/// A short list of [`Span`]s.
pub type Spans = ArrayVec<Span, MAX_SPANS>;

/// Adds `span` to `spans` unless it is empty.
pub(super) fn push(spans: &mut Spans, span: Span) -> Result<(), Missing> {
    if span.size == 0 {
        return Ok(());
    }
    spans.try_push(span).map_err(|_| Missing::TooMany)
}

/// Takes `hole` out of every range.
///
/// # Errors
/// [`Missing::TooMany`] when a range falls in two and there is no room.
pub fn subtract(spans: &mut Spans, hole: Span) -> Result<(), Missing> {
    let mut rest = Spans::new();
    for &span in spans.iter() {
        if !span.overlaps(hole) {
            push(&mut rest, span)?;
            continue;
        }
        let before = hole.base.saturating_sub(span.base);
        let after = span.end().saturating_sub(hole.end());
        for (base, size) in [(span.base, before), (hole.end(), after)] {
            push(&mut rest, Span { base, size })?;
        }
    }
    *spans = rest;
    Ok(())
}

/// Sorts, and joins what touches or overlaps.
pub(super) fn join(spans: &mut Spans) {
    // A few elements: an insertion sort, for the size of core's.
    for n in 1..spans.len() {
        for at in (1..=n).rev() {
            if spans[at - 1].base > spans[at].base {
                spans.swap(at - 1, at);
            }
        }
    }
    let mut n = 1;
    while n < spans.len() {
        let (before, span) = (spans[n - 1], spans[n]);
        if span.base <= before.end() {
            spans[n - 1].size = span.end().max(before.end()) - before.base;
            spans.remove(n);
        } else {
            n += 1;
        }
    }
}
