//! Stage 1 at EL1: one table of 1 GiB blocks, the identity. Normal write-back memory where there
//! is RAM, device memory elsewhere (DDI 0487 D8).

use super::{cpu, vectors};
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

/// Level 1 of a 39-bit address space.
#[repr(C, align(4096))]
struct Table([AtomicU64; 512]);

static TABLE: Table = Table([const { AtomicU64::new(0) }; 512]);

/// MAIR attribute 0: normal, write-back, allocating; attribute 1: Device-nGnRE.
pub(crate) const MAIR: u64 = 0x04ff;
/// M, C, I, SA and the bits that are RES1 in Armv8.0.
pub(crate) const SCTLR: u64 = 0x30d0_1800 | 1 << 3 | 1 << 2 | 1;
/// Inner shareable.
const SHARED: u64 = 3 << 8;
/// Valid block with the access flag.
const BLOCK: u64 = 1 << 10 | 1;
/// PXN and UXN.
const NO_EXECUTE: u64 = 3 << 53;

/// T0SZ 25, inner-shareable write-back walks, 4 KiB granule, no TTBR1 walks; IPS as the CPU has.
pub(crate) fn tcr() -> u64 {
    let ips = (read_sysreg!("id_aa64mmfr0_el1") & 0xf).min(5);
    25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | ips << 32
}

/// The address of the table.
pub(crate) fn table() -> u64 {
    &raw const TABLE as u64
}

/// Turns this CPU's MMU and caches on. `is_ram` says which gigabytes are memory.
pub(crate) fn enable(is_ram: impl Fn(u64) -> bool) {
    for (address, entry) in (0..).step_by(1 << 30).zip(&TABLE.0) {
        let kind = if is_ram(address) {
            SHARED
        } else {
            1 << 2 | NO_EXECUTE
        };
        entry.store(address | BLOCK | kind, Ordering::Relaxed);
    }
    let table = table();
    cpu::dsb();
    vectors::install();
    write_sysreg!("mair_el1", MAIR);
    write_sysreg!("tcr_el1", tcr());
    // SAFETY: the table maps every address to itself, so that nothing moves.
    unsafe {
        asm!("msr ttbr0_el1, {t}", "isb", "tlbi vmalle1", "dsb nsh", "isb", "msr sctlr_el1, {s}", "isb",
             "ic iallu", "dsb nsh", "isb", t = in(reg) table, s = in(reg) SCTLR, options(nostack))
    };
}
