//! Page frames that the test host hands out: a window of free RAM and one bit for each frame.

use super::dt::Range;
use super::lock::Lock;

/// Bytes in a page frame.
pub(crate) const PAGE: u64 = 4096;
/// Frames in the window: 128 MiB.
const FRAMES: usize = 32 * 1024;

struct Pages {
    start: u64,
    frames: usize,
    // One bit a frame: set when it is handed out.
    used: [u64; FRAMES / 64],
    written_off: u32,
}

static PAGES: Lock<Pages> = Lock::new(Pages {
    start: 0,
    frames: 0,
    used: [0; FRAMES / 64],
    written_off: 0,
});

/// Takes the frames of `range` under management.
pub(crate) fn init(range: Range) {
    let mut pages = PAGES.lock();
    pages.start = range.start.next_multiple_of(1 << 21);
    pages.frames = ((range.end.saturating_sub(pages.start) / PAGE) as usize).min(FRAMES);
}

/// The window.
pub(crate) fn window() -> Range {
    let pages = PAGES.lock();
    Range::sized(pages.start, pages.frames as u64 * PAGE)
}

/// Hands out `count` contiguous frames, the first aligned to `align` frames.
///
/// # Panics
/// When there are none: a test that leaks.
pub(crate) fn take(count: usize, align: usize) -> u64 {
    let mut pages = PAGES.lock();
    let mut at = 0;
    while at + count <= pages.frames {
        match (at..at + count).rev().find(|frame| pages.is_used(*frame)) {
            None => {
                (at..at + count).for_each(|frame| pages.set(frame, true));
                return pages.start + at as u64 * PAGE;
            }
            Some(used) => at = (used + 1).next_multiple_of(align),
        }
    }
    drop(pages);
    panic!("no {count} free page frames left")
}

/// One frame.
pub(crate) fn take_one() -> u64 {
    take(1, 1)
}

/// Hands out this frame.
///
/// # Panics
/// When somebody has it.
pub(crate) fn take_this(address: u64) -> u64 {
    let mut pages = PAGES.lock();
    let frame = ((address - pages.start) / PAGE) as usize;
    pages.set(frame, true);
    address
}

/// Takes frames back.
pub(crate) fn give(address: u64, count: usize) {
    let mut pages = PAGES.lock();
    let first = ((address - pages.start) / PAGE) as usize;
    (first..first + count).for_each(|frame| pages.set(frame, false));
}

/// Frames handed out now that are meant to come back.
pub(crate) fn in_use() -> u32 {
    let pages = PAGES.lock();
    pages.used.iter().map(|word| word.count_ones()).sum::<u32>() - pages.written_off
}

/// Counts `frames` that were handed out as gone for good.
pub(crate) fn write_off(frames: u32) {
    PAGES.lock().written_off += frames;
}

impl Pages {
    fn is_used(&self, frame: usize) -> bool {
        self.used[frame / 64] >> (frame % 64) & 1 != 0
    }

    fn set(&mut self, frame: usize, used: bool) {
        let bit = 1 << (frame % 64);
        assert_ne!(
            self.is_used(frame),
            used,
            "frame {frame:#x} handed out or taken back twice"
        );
        self.used[frame / 64] ^= bit;
    }
}
