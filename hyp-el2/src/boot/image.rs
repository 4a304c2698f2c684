//! Ward's own image in memory, by the linker script's symbols.

use super::Fatal;
use crate::fdt::{Span, Spans};
use crate::hash::{Digest256, Measurement};
use crate::image::appended::{self, Appended};
use crate::mmu::{self, Access, NoTables};
use crate::relr;
use hyp_core::addr::{PAGE_SIZE, Pfn};

unsafe extern "C" {
    static ward_image_start: u8;
    static ward_text_end: u8;
    static ward_rodata_end: u8;
    static ward_data_end: u8;
    static ward_relr_start: u8;
    static ward_relr_end: u8;
    static ward_boot_guard: u8;
    static ward_boot_stack_end: u8;
    static ward_image_end: u8;
}

macro_rules! address {
    ($symbol:ident) => {
        (&raw const $symbol) as u64
    };
}

/// The image, BSS and stacks included.
pub(super) fn span() -> Span {
    let base = address!(ward_image_start);
    Span {
        base,
        size: address!(ward_image_end) - base,
    }
}

/// Is `address` on the stack of the boot CPU's boot?
pub fn on_boot_stack(at: u64) -> bool {
    (address!(ward_boot_guard) + PAGE_SIZE..address!(ward_boot_stack_end) - 15).contains(&at)
}

/// Maps the image: code RX, constants RO, data RW, nothing below the boot stack.
///
/// # Safety
/// As [`mmu::map`].
pub(super) unsafe fn map() -> Result<(), NoTables> {
    let guard = address!(ward_boot_guard);
    let parts = [
        (
            address!(ward_image_start),
            address!(ward_text_end),
            Access::Code,
        ),
        (
            address!(ward_text_end),
            address!(ward_rodata_end),
            Access::Constants,
        ),
        (address!(ward_rodata_end), guard, Access::Data),
        (guard + PAGE_SIZE, address!(ward_image_end), Access::Data),
    ];
    for (start, end, access) in parts {
        // SAFETY: the linker script laid the parts out so, page aligned.
        unsafe { mmu::map(start, end, access)? };
    }
    // SAFETY: the linker script keeps the page free.
    unsafe { mmu::guard(Pfn(guard / PAGE_SIZE)) }
}

/// SHA-256 of the file this image was loaded from: of its bytes up to the end of data, with the
/// words that relocation moved as they were before. Valid until the first static variable of
/// `.data` changes, so boot measures first.
pub(super) fn measure() -> Digest256 {
    let mut measurement = Measurement::default();
    let start = address!(ward_image_start);
    let len = (address!(ward_data_end) - start) as usize;
    // SAFETY: the loaded part of the image; only this CPU runs, and it writes none of it here.
    let bytes = unsafe { core::slice::from_raw_parts(start as *const u8, len) };
    let words = (address!(ward_relr_end) - address!(ward_relr_start)) as usize / 8;
    // SAFETY: the relocation table, which nobody writes.
    let table =
        unsafe { core::slice::from_raw_parts(address!(ward_relr_start) as *const u64, words) };
    // The size in the header is larger when something is appended; the digest is that of Ward.
    measurement.add(&bytes[..SIZE_AT]);
    measurement.add(&span().size.to_le_bytes());
    let mut at = SIZE_AT + 8;
    for place in relr::places(table) {
        let place = place as usize;
        measurement.add(&bytes[at..place]);
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[place..place + 8]);
        let linked = u64::from_le_bytes(word).wrapping_sub(start);
        measurement.add(&linked.to_le_bytes());
        at = place + 8;
    }
    measurement.add(&bytes[at..]);
    measurement.finish()
}

/// Where the arm64 header has the image's size.
const SIZE_AT: usize = 16;

/// What is appended to the image: in RAM, not mapped yet, its digests not compared.
pub(super) fn appended(ram: &Spans) -> Result<Option<Appended>, Fatal> {
    let own = span();
    let place = (own.base + SIZE_AT as u64) as *const u64;
    // SAFETY: the header at the image's start, 8-byte aligned, which nobody writes.
    let size = unsafe { place.read() };
    if size <= own.size {
        return Ok(None);
    }
    let all = Span::new(own.base, size).ok_or(Fatal::Appended(appended::Bad::Place))?;
    if !ram.iter().any(|bank| bank.contains(all)) {
        return Err(Fatal::NotInRam(all));
    }
    let room = size - own.size;
    if room < appended::HEADER as u64 {
        return Err(Fatal::Appended(appended::Bad::Truncated));
    }
    // Not the parts: they are mapped with all RAM, and guard pages may yet come to lie around them.
    let header_end = own.end() + appended::HEADER as u64;
    // SAFETY: the boot CPU; RAM, by the lines above.
    unsafe { mmu::map(own.end(), header_end, Access::Data)? };
    // SAFETY: mapped above; nothing runs that could write it.
    let header = unsafe { &*(own.end() as *const [u8; appended::HEADER]) };
    Appended::parse(header, own.end(), room)
        .map(Some)
        .map_err(Fatal::Appended)
}

const FDT_MAGIC: u32 = 0xd00d_feed;
/// Larger than any real tree; booting.rst allows 2 MiB.
const MAX_TREE: u64 = 2 << 20;

/// Where the device tree says it is. Of no size when there is none.
pub(super) fn tree_span(dtb: u64) -> Span {
    let none = Span { base: dtb, size: 0 };
    if dtb == 0 || !dtb.is_multiple_of(8) {
        return none;
    }
    let word = |offset: u64| {
        // SAFETY: the boot protocol puts a device tree at `dtb`.
        u32::from_be(unsafe { ((dtb + offset) as *const u32).read_volatile() })
    };
    let size = u64::from(word(4));
    if word(0) != FDT_MAGIC || size > MAX_TREE {
        return none;
    }
    Span { base: dtb, size }
}

/// The device tree's bytes, none when there is no tree.
pub(super) fn tree(dtb: u64) -> &'static [u8] {
    let span = tree_span(dtb);
    if span.size == 0 {
        return &[];
    }
    // SAFETY: `ward_early` mapped it; the host gets a copy, nobody writes this one before that.
    unsafe { core::slice::from_raw_parts(dtb as *const u8, span.size as usize) }
}
