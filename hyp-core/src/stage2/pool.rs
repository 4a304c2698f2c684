//! Frames for tables: a list through the free frames themselves.
//!
//! Word 0 of a free frame holds the address of the next one, all else is zero. A frame comes out
//! all zero, that is: a table that translates nothing (DDI 0487 D8.3, invalid descriptors). The
//! frames of a pool are Ward's own, mapped by no table.

use crate::addr::{PAGE_SHIFT, Pfn};
use crate::machine::TableMemory;

/// Free table pages of the host or of one VM.
#[derive(Debug)]
pub struct Pool {
    /// The first one; says nothing when `len` is 0. The last one's link says nothing either.
    head: Pfn,
    len: u64,
}

impl Pool {
    /// A pool with no page.
    pub const fn new() -> Self {
        Pool {
            head: Pfn(0),
            len: 0,
        }
    }

    /// Pages in it.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Is there none left?
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The frame that comes out next, if there is one.
    #[cfg(feature = "inspect")]
    pub(super) const fn first(&self) -> Pfn {
        self.head
    }

    /// The frame that comes out after `frame`, if there is one.
    pub(super) fn after(&self, mem: &impl TableMemory, frame: Pfn) -> Pfn {
        Pfn(mem.read_entry(frame, 0) >> PAGE_SHIFT)
    }

    /// Takes in a frame, whatever its contents, and zeroes it.
    pub fn push(&mut self, mem: &impl TableMemory, frame: Pfn) {
        mem.zero_frame(frame);
        self.push_zeroed(mem, frame);
    }

    /// Takes in a frame that is all zero.
    pub fn push_zeroed(&mut self, mem: &impl TableMemory, frame: Pfn) {
        mem.write_entry(frame, 0, self.head.pa());
        self.head = frame;
        self.len += 1;
    }

    /// Takes out a frame, all zero.
    pub fn pop(&mut self, mem: &impl TableMemory) -> Option<Pfn> {
        self.len = self.len.checked_sub(1)?;
        let frame = self.head;
        self.head = self.after(mem, frame);
        mem.write_entry(frame, 0, 0);
        Some(frame)
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}
