//! Ward's own address space: the EL2 translation regime (DDI 0487 D8.1.2), an identity map.
//!
//! Nothing is both writable and executable: the image's code is RX, its constants RO, all else
//! RW and never executable, and SCTLR_EL2.WXN makes the CPU insist. Below every stack lies a page
//! that is never mapped. The map only ever grows (an invalid entry becomes valid), so it needs no
//! TLB maintenance after the MMU is on.

use crate::cpu::{dsb_ishst, get, isb};
use core::cell::UnsafeCell;
use hyp_core::addr::{PAGE_SIZE, Pfn};

const POOL_TABLES: usize = 36;
const VALID: u64 = 1;
/// Bits 1:0 of a table descriptor and of a page at level 3 (DDI 0487 D8.3.1).
const TABLE_OR_PAGE: u64 = 3;
/// Access flag, inner shareable, AP[1] RES1 in a regime with one privilege level.
const LEAF: u64 = 1 << 10 | 3 << 8 | 1 << 6;
const READ_ONLY: u64 = 1 << 7;
const EXECUTE_NEVER: u64 = 1 << 54;
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
/// An invalid entry that stays so.
const GUARD: u64 = 0x47 << 56;

/// MAIR_EL2: attribute 0 Normal write-back, 1 Device-nGnRE (DDI 0487 D24.2.111).
const MAIR: u64 = 0x04ff;
const DEVICE: u64 = 1 << 2;

/// SCTLR_EL2 (DDI 0487 D24.2.176): RES1 bits, WXN 19, I 12, SA 3, C 2, M 0.
const SCTLR: u64 = 0x30c5_0830 | 1 << 19 | 1 << 12 | 1 << 3 | 1 << 2 | 1;

/// How a range may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Ward's code.
    Code,
    /// Ward's constants.
    Constants,
    /// All other memory.
    Data,
    /// Device registers.
    Device,
}

impl Access {
    const fn attributes(self) -> u64 {
        match self {
            Access::Code => LEAF | READ_ONLY,
            Access::Constants => LEAF | READ_ONLY | EXECUTE_NEVER,
            Access::Data => LEAF | EXECUTE_NEVER,
            Access::Device => LEAF | EXECUTE_NEVER | DEVICE,
        }
    }
}

/// No table page is left: the machine's memory is in more pieces than Ward expects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoTables;

type Table = [u64; 512];

#[repr(C, align(4096))]
struct Pool {
    tables: UnsafeCell<[Table; POOL_TABLES]>,
    /// Tables handed out besides the root, which is the first.
    used: UnsafeCell<usize>,
}

// SAFETY: only the boot CPU, before any other runs, touches the pool.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool {
    tables: UnsafeCell::new([[0; 512]; POOL_TABLES]),
    used: UnsafeCell::new(0),
};

/// The registers that turn the MMU on; read by assembly with caches off.
#[repr(C)]
struct Registers {
    mair: u64,
    tcr: u64,
    ttbr0: u64,
    sctlr: u64,
}

#[unsafe(no_mangle)]
static mut ward_mmu: Registers = Registers {
    mair: 0,
    tcr: 0,
    ttbr0: 0,
    sctlr: 0,
};

/// Bits of physical address: `ID_AA64MMFR0_EL1.PARange`, 48 for more than that (4 KiB granule
/// without FEAT_LPA2).
pub fn pa_bits() -> u8 {
    match get!("id_aa64mmfr0_el1") & 0xf {
        0 => 32,
        1 => 36,
        2 => 40,
        3 => 42,
        4 => 44,
        _ => 48,
    }
}

/// `ID_AA64MMFR0_EL1.PARange` as `TCR_EL2.PS` and `VTCR_EL2.PS` take it, no more than 48 bits.
pub fn pa_size() -> u64 {
    (get!("id_aa64mmfr0_el1") & 0xf).min(5)
}

/// Fills in the registers with which every CPU turns its MMU on.
///
/// # Safety
/// The boot CPU, before the MMU is on.
pub unsafe fn prepare() {
    let registers = Registers {
        mair: MAIR,
        // TCR_EL2, E2H = 0 (DDI 0487 D24.2.191): RES1 31 and 23, PS 18:16, TG0 4 KiB, inner
        // shareable, write-back walks, T0SZ 16 = 48 bits.
        tcr: 1 << 31 | 1 << 23 | pa_size() << 16 | 3 << 12 | 1 << 10 | 1 << 8 | 16,
        ttbr0: POOL.tables.get() as u64,
        sctlr: SCTLR,
    };
    let place = &raw mut ward_mmu;
    // SAFETY: the only CPU, and nothing else refers to the static.
    unsafe { place.write(registers) }
}

/// Cleans the registers of [`prepare`] to memory, for CPUs that start later.
pub fn publish() {
    let place = &raw const ward_mmu;
    crate::cache::clean_to_memory(place as u64, size_of::<Registers>() as u64);
    let tables = POOL.tables.get();
    // The tables too: they were first written with caches off.
    crate::cache::clean_to_memory(tables as u64, (POOL_TABLES * 4096) as u64);
}

fn new_table() -> Result<*mut u64, NoTables> {
    let used = POOL.used.get();
    // SAFETY: the boot CPU alone, see `Pool`.
    let n = unsafe { used.read() } + 1;
    if n == POOL_TABLES {
        return Err(NoTables);
    }
    // SAFETY: as above.
    unsafe { used.write(n) };
    Ok((POOL.tables.get() as *mut u64).wrapping_add(n * 512))
}

/// Calls `leaf` with each empty entry, and its level, that translates part of `[start, end)`,
/// going down where a table is or the range does not cover an entry.
unsafe fn fill(
    table: *mut u64,
    level: u32,
    start: u64,
    end: u64,
    leaf: &mut dyn FnMut(u64, u32) -> u64,
    blocks: bool,
) -> Result<(), NoTables> {
    let shift = 39 - 9 * level;
    let size = 1 << shift;
    let mut at = start;
    while at < end {
        let next = ((at & !(size - 1)) + size).min(end);
        let slot = table.wrapping_add((at >> shift & 511) as usize);
        // SAFETY: `table` is one of the pool's and the index is below 512.
        let entry = unsafe { slot.read_volatile() };
        let whole = at & (size - 1) == 0 && next - at == size;
        let fits = level == 3 || (blocks && (level == 1 || level == 2) && whole);
        if entry == 0 && fits {
            let value = leaf(at, level);
            // SAFETY: as above. One 64-bit store: the walker sees all of it or nothing.
            unsafe { slot.write_volatile(value) };
        } else if level < 3 && entry & TABLE_OR_PAGE != VALID && entry != GUARD {
            let below = if entry == 0 {
                let below = new_table()?;
                // The new table's zeros are visible before the entry that leads to it.
                dsb_ishst();
                // SAFETY: as above.
                unsafe { slot.write_volatile(below as u64 | TABLE_OR_PAGE) };
                below
            } else {
                (entry & ADDRESS) as *mut u64
            };
            // SAFETY: `below` is a table of the pool.
            unsafe { fill(below, level + 1, at, next, leaf, blocks)? };
        }
        at = next;
    }
    Ok(())
}

/// Maps `[start, end)` to itself where nothing is mapped yet; what is mapped or guarded stays.
/// Widened to whole pages.
///
/// # Errors
/// [`NoTables`].
///
/// # Safety
/// The boot CPU, before any other runs. The range is memory, or device registers, that `access`
/// suits.
pub unsafe fn map(start: u64, end: u64, access: Access) -> Result<(), NoTables> {
    let start = start & !(PAGE_SIZE - 1);
    let end = end.next_multiple_of(PAGE_SIZE);
    let mut leaf = |at: u64, level: u32| {
        let kind = if level == 3 { TABLE_OR_PAGE } else { VALID };
        at | access.attributes() | kind
    };
    // SAFETY: the root is the pool's first table; the caller vouches for the rest.
    unsafe {
        fill(
            POOL.tables.get() as *mut u64,
            0,
            start,
            end,
            &mut leaf,
            true,
        )?
    };
    dsb_ishst();
    isb();
    Ok(())
}

/// Keeps a page unmapped for ever, whatever is mapped around it later.
///
/// # Errors
/// [`NoTables`].
///
/// # Panics
/// When the page is mapped already: it could not be kept so.
///
/// # Safety
/// As [`map`]; nothing uses the page.
pub unsafe fn guard(page: Pfn) -> Result<(), NoTables> {
    let mut leaf = |_: u64, _: u32| GUARD;
    let at = page.pa();
    // SAFETY: as in `map`.
    unsafe {
        fill(
            POOL.tables.get() as *mut u64,
            0,
            at,
            at + PAGE_SIZE,
            &mut leaf,
            false,
        )?;
    }
    assert!(is_guard(at), "a guard page is mapped already");
    Ok(())
}

/// Is `address` in a guard page?
pub fn is_guard(address: u64) -> bool {
    let mut table = POOL.tables.get() as *const u64;
    for level in 0..4 {
        let slot = table.wrapping_add((address >> (39 - 9 * level) & 511) as usize);
        // SAFETY: a table of the pool; entries only ever become valid.
        let entry = unsafe { slot.read_volatile() };
        if entry == GUARD {
            return true;
        }
        if level == 3 || entry & TABLE_OR_PAGE != TABLE_OR_PAGE {
            return false;
        }
        table = (entry & ADDRESS) as *const u64;
    }
    false
}
