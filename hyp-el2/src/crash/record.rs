//! The crash record: one page at the end of the image, which boot does not clear.
//!
//! RAM keeps its contents over a warm reset on most machines, and the image comes back to the
//! same place: best effort, so the page has a check sum.

use core::cell::UnsafeCell;
use core::fmt::{self, Write};

const MAGIC: u64 = 0x0068_7361_7243_6457;
const TEXT: usize = 4096 - 24;

#[repr(C, align(4096))]
struct Page {
    magic: u64,
    len: u64,
    sum: u64,
    text: [u8; TEXT],
}

struct Record(UnsafeCell<Page>);

// SAFETY: the boot CPU uses it before others run, after that only the one CPU that reports.
unsafe impl Sync for Record {}

#[unsafe(link_section = ".crash_record")]
static RECORD: Record = Record(UnsafeCell::new(Page {
    magic: 0,
    len: 0,
    sum: 0,
    text: [0; TEXT],
}));

#[allow(clippy::mut_from_ref)]
fn page() -> &'static mut Page {
    // SAFETY: see `Record`; callers do not hold two.
    unsafe { &mut *RECORD.0.get() }
}

fn sum(text: &[u8]) -> u64 {
    // FNV-1a
    text.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

struct Writer<'a>(&'a mut Page);

impl Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            let at = self.0.len as usize;
            if at < TEXT {
                self.0.text[at] = byte;
                self.0.len += 1;
            }
        }
        Ok(())
    }
}

/// Begins a record.
pub(super) fn clear() {
    let page = page();
    page.magic = 0;
    page.len = 0;
}

/// Adds a line.
pub(super) fn line(args: fmt::Arguments<'_>) {
    let _ = writeln!(Writer(page()), "{args}");
}

/// Makes the record whole and sends it to memory.
pub(super) fn seal() {
    let page = page();
    let len = (page.len as usize).min(TEXT);
    page.sum = sum(&page.text[..len]);
    page.magic = MAGIC;
    crate::cache::clean_invalidate(core::ptr::from_ref(page) as u64, 4096);
}

/// Hands the record of a crash before this boot, if there is one, to `each` line by line, and
/// forgets it.
pub fn take(mut each: impl FnMut(&str)) {
    let page = page();
    if page.magic != MAGIC {
        return;
    }
    page.magic = 0;
    let text = page.text.get(..page.len as usize).unwrap_or(&[]);
    if page.sum == sum(text) {
        core::str::from_utf8(text)
            .unwrap_or("")
            .lines()
            .for_each(&mut each);
    }
}
