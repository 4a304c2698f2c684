//! RAM as the device tree gives it: a few ranges of frames, each frame with an index.

use crate::addr::Pfn;

/// Ranges of RAM or of Ward's devices that a machine may have.
pub const MAX_RANGES: usize = 32;

/// `frames` contiguous frames from `first`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// First frame.
    pub first: Pfn,
    /// Number of frames.
    pub frames: u64,
}

impl Range {
    /// The first frame after the range.
    pub const fn end(self) -> Pfn {
        Pfn(self.first.0 + self.frames)
    }

    /// Is `frame` in the range?
    pub const fn contains(self, frame: Pfn) -> bool {
        frame.0 >= self.first.0 && frame.0 < self.end().0
    }

    /// Do the two ranges share a frame?
    pub const fn overlaps(self, other: Range) -> bool {
        self.first.0 < other.end().0 && other.first.0 < self.end().0
    }
}

/// A short list of disjoint ranges in ascending order.
#[derive(Clone, Debug)]
pub struct Ranges {
    ranges: [Range; MAX_RANGES],
    len: usize,
}

impl Default for Ranges {
    fn default() -> Self {
        Self::new()
    }
}

impl Ranges {
    /// No range.
    pub const fn new() -> Self {
        Ranges {
            ranges: [Range {
                first: Pfn(0),
                frames: 0,
            }; MAX_RANGES],
            len: 0,
        }
    }

    /// Adds a range, in any order; one that touches a neighbour is joined with it.
    ///
    /// `false` when the range is empty, wraps, overlaps another or finds no room: nothing was
    /// added.
    #[must_use]
    pub fn add(&mut self, range: Range) -> bool {
        let end = range.first.0.checked_add(range.frames);
        if range.frames == 0 || end.is_none_or(|end| end > 1 << 40) {
            return false;
        }
        if self.as_slice().iter().any(|r| r.overlaps(range)) {
            return false;
        }
        let at = self
            .as_slice()
            .iter()
            .take_while(|r| r.first < range.first)
            .count();
        let joins_before = at > 0 && self.ranges[at - 1].end() == range.first;
        let joins_after = at < self.len && range.end() == self.ranges[at].first;
        match (joins_before, joins_after) {
            (true, true) => {
                self.ranges[at - 1].frames += range.frames + self.ranges[at].frames;
                self.remove(at);
            }
            (true, false) => self.ranges[at - 1].frames += range.frames,
            (false, true) => {
                self.ranges[at].first = range.first;
                self.ranges[at].frames += range.frames;
            }
            (false, false) => {
                if self.len == MAX_RANGES {
                    return false;
                }
                self.ranges.copy_within(at..self.len, at + 1);
                self.ranges[at] = range;
                self.len += 1;
            }
        }
        true
    }

    fn remove(&mut self, at: usize) {
        self.ranges.copy_within(at + 1..self.len, at);
        self.len -= 1;
    }

    /// The ranges, ascending.
    pub fn as_slice(&self) -> &[Range] {
        &self.ranges[..self.len]
    }

    /// Number of frames in all ranges.
    pub fn frames(&self) -> u64 {
        self.as_slice().iter().map(|r| r.frames).sum()
    }

    /// The place of a frame in an array that has one element for each frame of the ranges.
    pub fn index_of(&self, frame: Pfn) -> Option<usize> {
        let mut before = 0;
        for range in self.as_slice() {
            if range.contains(frame) {
                return usize::try_from(before + (frame.0 - range.first.0)).ok();
            }
            before += range.frames;
        }
        None
    }

    /// Are all frames of `range` in one of the ranges? (Touching ranges were joined, so a range
    /// that crosses two of these has a hole.)
    pub fn contains_all(&self, range: Range) -> bool {
        let Some(end) = range.first.0.checked_add(range.frames) else {
            return false;
        };
        self.as_slice()
            .iter()
            .any(|r| r.first.0 <= range.first.0 && end <= r.end().0)
    }

    /// Does any of the ranges share a frame with `range`? A range that wraps is taken to.
    pub fn overlaps(&self, range: Range) -> bool {
        if range.first.0.checked_add(range.frames).is_none() {
            return true;
        }
        self.as_slice().iter().any(|r| r.overlaps(range))
    }
}

#[cfg(test)]
mod tests;
