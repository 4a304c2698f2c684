//! Cache maintenance by address (DDI 0487 D7.5.9).

use crate::cpu::{dsb_ish, dsb_sy, get, isb};
use core::arch::asm;
use hyp_core::addr::PAGE_SIZE;

/// Bytes of the smallest data cache line (CTR_EL0.DminLine, bits 19:16, log2 of words).
fn data_line() -> u64 {
    4 << (get!("ctr_el0") >> 16 & 0xf)
}

fn each_line(start: u64, len: u64, op: impl Fn(u64)) {
    let line = data_line();
    let mut at = start & !(line - 1);
    while at < start + len {
        op(at);
        at += line;
    }
}

/// What this CPU wrote to `[start, start + len)` reaches memory: observers with caches off see it.
pub fn clean_to_memory(start: u64, len: u64) {
    each_line(start, len, |at| {
        // SAFETY: cleaning a line changes no value. The range is mapped by the caller's own use.
        unsafe { asm!("dc cvac, {}", in(reg) at, options(nostack, preserves_flags)) }
    });
    dsb_sy();
}

/// [`clean_to_memory`], and no cache holds the range afterwards.
pub fn clean_invalidate(start: u64, len: u64) {
    each_line(start, len, |at| {
        // SAFETY: as above; the line is written back before it is dropped.
        unsafe { asm!("dc civac, {}", in(reg) at, options(nostack, preserves_flags)) }
    });
    dsb_sy();
}

/// Instruction fetch on every CPU sees what was cleaned before (CTR_EL0.DIC, bit 29: not needed).
pub fn invalidate_instructions() {
    if get!("ctr_el0") & 1 << 29 == 0 {
        // SAFETY: drops cached instructions; they are fetched again.
        unsafe { asm!("ic ialluis", options(nostack, preserves_flags)) }
    }
    dsb_ish();
    isb();
}

/// Zeroes the page at `page`, by DC ZVA where the CPU permits it (DCZID_EL0.DZP, bit 4).
///
/// # Safety
/// The page is mapped writable and nobody else uses it.
pub unsafe fn zero_page(page: u64) {
    let dczid = get!("dczid_el0");
    if dczid & 1 << 4 == 0 {
        let block = 4 << (dczid & 0xf);
        let mut at = page;
        while at < page + PAGE_SIZE {
            // SAFETY: the caller gave the page; a block is a power of two up to 2 KiB inside it.
            unsafe { asm!("dc zva, {}", in(reg) at, options(nostack, preserves_flags)) }
            at += block;
        }
    } else {
        // SAFETY: the caller gave the page.
        unsafe { core::ptr::write_bytes(page as *mut u8, 0, PAGE_SIZE as usize) }
    }
}
