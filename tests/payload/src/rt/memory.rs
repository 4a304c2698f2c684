//! Plain accesses to memory by address. The payloads treat the memory they hand to and fro as
//! numbers, not objects: it may belong to Ward or a guest a moment later.

use core::arch::asm;
use core::slice;

/// Reads a device register, with an instruction whose syndrome describes the access (ISV is 1).
pub(crate) fn read_device32(address: u64) -> u32 {
    let value: u32;
    // SAFETY: `address` is a device register that the device tree or the manifest named.
    unsafe {
        asm!("ldr {:w}, [{}]", out(reg) value, in(reg) address, options(nostack, preserves_flags))
    };
    value
}

/// Writes a device register, in the same way.
pub(crate) fn write_device32(address: u64, value: u32) {
    // SAFETY: as for `read_device32`.
    unsafe {
        asm!("str {:w}, [{}]", in(reg) value, in(reg) address, options(nostack, preserves_flags))
    };
}

/// Reads a device register of 64 bits.
pub(crate) fn read_device64(address: u64) -> u64 {
    let value: u64;
    // SAFETY: as for `read_device32`.
    unsafe {
        asm!("ldr {}, [{}]", out(reg) value, in(reg) address, options(nostack, preserves_flags))
    };
    value
}

/// Writes a device register of 64 bits.
pub(crate) fn write_device64(address: u64, value: u64) {
    // SAFETY: as for `read_device32`.
    unsafe {
        asm!("str {}, [{}]", in(reg) value, in(reg) address, options(nostack, preserves_flags))
    };
}

/// The bytes at `address`, which the boot loader put there and nobody changes.
pub(crate) fn bytes(address: u64, len: u64) -> &'static [u8] {
    // SAFETY: the caller names memory that the device tree reserves for a module.
    unsafe { slice::from_raw_parts(address as *const u8, len as usize) }
}

/// Reads a word of memory that exists.
pub(crate) fn peek(address: u64) -> u64 {
    // SAFETY: the caller owns the page at `address`; the access is aligned and in it.
    unsafe { (address as *const u64).read_volatile() }
}

/// Writes a word of memory that the caller took from the page allocator.
pub(crate) fn poke(address: u64, value: u64) {
    // SAFETY: as for `peek`; no Rust object lies in pages of the page allocator.
    unsafe { (address as *mut u64).write_volatile(value) };
}

/// Copies bytes to memory that the caller took from the page allocator.
pub(crate) fn copy_in(address: u64, data: &[u8]) {
    // SAFETY: the caller owns `data.len()` bytes from `address`, in which no Rust object lies.
    unsafe { core::ptr::copy_nonoverlapping(data.as_ptr(), address as *mut u8, data.len()) };
}

/// Fills pages that the caller took from the page allocator.
pub(crate) fn fill(address: u64, len: u64, byte: u8) {
    // SAFETY: as for `copy_in`.
    unsafe { core::ptr::write_bytes(address as *mut u8, byte, len as usize) };
}

/// Cleans the cache lines of a range to the point of coherency, for a CPU with its caches off.
pub(crate) fn clean(address: u64, len: u64) {
    for line in (address & !63..address + len).step_by(64) {
        // SAFETY: maintenance by address of memory that is mapped; changes no contents.
        unsafe { asm!("dc cvac, {}", in(reg) line, options(nostack, preserves_flags)) };
    }
    super::cpu::dsb();
}
