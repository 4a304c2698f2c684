//! hyp-core's [`Machine`] on the real thing.
//!
//! All RAM is mapped at its physical address, so a frame number is a pointer. hyp-core promises,
//! call by call, who else may touch a frame (see the trait); the SAFETY comments rest on that.

mod idregs;
mod placed;
pub(crate) mod tlb;

pub use placed::Placed;

use crate::cpu::{dsb_ishst, dsb_sy, get, isb};
use crate::{cache, console, lock::TicketLock, percpu, smmu, switch};
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use hyp_core::addr::{CpuId, Ipa, PAGE_SIZE, Pfn, VmId};
use hyp_core::dma::{AttachError, Dma, DmaLost, DmaTable, Domain, StreamKey};
use hyp_core::machine::{Machine, RunParams, TableMemory, TlbScope, Trap};
use hyp_core::memory::FrameWord;
use hyp_core::vcpu::context::{Context, SysReg};
use hyp_core::vm::VmSlot;

/// The machine Ward runs on.
#[derive(Clone, Copy, Debug)]
pub struct El2;

fn entry(table: Pfn, index: usize) -> &'static AtomicU64 {
    assert!(index < 512);
    let slot = (table.pa() as *const AtomicU64).wrapping_add(index);
    // SAFETY: a table page of Ward's, mapped, aligned, and only ever accessed as atomics.
    unsafe { &*slot }
}

fn bytes(frame: Pfn, offset: usize, len: usize) -> *mut u8 {
    assert!(
        offset
            .checked_add(len)
            .is_some_and(|end| end <= PAGE_SIZE as usize)
    );
    (frame.pa() as *mut u8).wrapping_add(offset)
}

/// Copies words, each in one access (an aligned pair is two: DDI 0487 B2.2.1), none twice.
///
/// # Safety
/// Both ranges are mapped and aligned, and they don't overlap.
unsafe fn copy_words(to: *mut u64, from: *const u64, count: usize) {
    // SAFETY: the caller's promise; Rust assumes nothing of memory that assembly touches.
    unsafe {
        core::arch::asm!(
            "subs {n}, {n}, #8",
            "b.lo 3f",
            "2:",
            "ldp {a}, {b}, [{from}]",
            "ldp {c}, {d}, [{from}, #16]",
            "stp {a}, {b}, [{to}]",
            "stp {c}, {d}, [{to}, #16]",
            "ldp {a}, {b}, [{from}, #32]",
            "ldp {c}, {d}, [{from}, #48]",
            "stp {a}, {b}, [{to}, #32]",
            "stp {c}, {d}, [{to}, #48]",
            "add {from}, {from}, #64",
            "add {to}, {to}, #64",
            "subs {n}, {n}, #8",
            "b.hs 2b",
            "3:",
            "tbz {n}, #2, 4f",
            "ldp {a}, {b}, [{from}], #16",
            "ldp {c}, {d}, [{from}], #16",
            "stp {a}, {b}, [{to}], #16",
            "stp {c}, {d}, [{to}], #16",
            "4:",
            "tbz {n}, #1, 5f",
            "ldp {a}, {b}, [{from}], #16",
            "stp {a}, {b}, [{to}], #16",
            "5:",
            "tbz {n}, #0, 6f",
            "ldr {a}, [{from}]",
            "str {a}, [{to}]",
            "6:",
            n = inout(reg) count => _, from = inout(reg) from => _, to = inout(reg) to => _,
            a = out(reg) _, b = out(reg) _, c = out(reg) _, d = out(reg) _, options(nostack),
        );
    }
}

impl TableMemory for El2 {
    fn read_entry(&self, table: Pfn, index: usize) -> u64 {
        entry(table, index).load(Ordering::Acquire)
    }

    fn write_entry(&self, table: Pfn, index: usize, value: u64) {
        entry(table, index).store(value, Ordering::Release);
    }

    fn publish(&self) {
        dsb_ishst();
        isb();
    }

    fn tlb_invalidate(&self, vm: VmId, scope: TlbScope) {
        tlb::invalidate(vm, scope);
    }

    fn zero_frame(&self, frame: Pfn) {
        // SAFETY: the frame is Ward's to access and nobody else's (trait).
        unsafe { cache::zero_page(frame.pa()) };
        cache::clean_invalidate(frame.pa(), PAGE_SIZE);
    }
}

impl Dma for El2 {
    fn dma_write_entry(&self, table: Pfn, index: usize, value: u64) {
        self.write_entry(table, index, value);
        if smmu::uncoherent() {
            cache::clean_to_memory(table.pa() + index as u64 * 8, 8);
        }
    }

    fn dma_publish(&self) {
        // An SMMU may be outside of the CPUs' inner shareable domain.
        dsb_sy();
        isb();
    }

    fn dma_forget(&self, domain: Domain, first: Ipa, pages: u64) {
        smmu::forget(domain, first, pages);
    }

    fn dma_sync(&self) -> Result<(), DmaLost> {
        smmu::sync()
    }

    fn dma_lost(&self) -> bool {
        smmu::is_lost()
    }

    fn dma_has(&self, stream: StreamKey) -> bool {
        smmu::has(stream)
    }

    fn dma_attach(&self, stream: StreamKey, table: Option<DmaTable>) -> Result<(), AttachError> {
        smmu::attach(stream, table)
    }

    fn dma_end(&self, domain: Domain) -> Result<(), DmaLost> {
        smmu::end(domain)
    }
}

impl Machine for El2 {
    type Mutex<T: Send> = TicketLock<T>;
    type Placed<T: Send> = Placed<T>;
    type Frames = &'static mut [FrameWord];
    type Slots = &'static [VmSlot<Self>];

    fn sync_frame(&self, frame: Pfn) {
        cache::clean_invalidate(frame.pa(), PAGE_SIZE);
        cache::invalidate_instructions();
    }

    fn read_frame(&self, frame: Pfn, offset: usize, buffer: &mut [u8]) {
        let from = bytes(frame, offset, buffer.len());
        // SAFETY: within the frame (checked), which nobody writes (trait); `buffer` is elsewhere.
        unsafe { from.copy_to_nonoverlapping(buffer.as_mut_ptr(), buffer.len()) }
    }

    fn write_frame(&self, frame: Pfn, offset: usize, data: &[u8]) {
        let to = bytes(frame, offset, data.len());
        // SAFETY: within the frame (checked), which nobody else accesses (trait).
        unsafe { to.copy_from_nonoverlapping(data.as_ptr(), data.len()) }
        cache::clean_to_memory(to as u64, data.len() as u64);
    }

    fn sha256_frame(&self, state: &mut [u32; 8], frame: Pfn) {
        // SAFETY: the frame is mapped and nobody writes it (trait).
        let page = unsafe { &*(frame.pa() as *const [u8; PAGE_SIZE as usize]) };
        crate::sha256::sha256_blocks(state, page.as_chunks().0);
    }

    fn read_host_words(&self, frame: Pfn, offset: u64, words: &mut [u64]) {
        let from = bytes(frame, offset as usize, size_of_val(words)) as *const u64;
        assert!(from.is_aligned());
        // SAFETY: within the frame, aligned (both checked), and `words` is elsewhere. The host
        // may write the frame meanwhile: each word is read once, and nothing assumed of it.
        unsafe { copy_words(words.as_mut_ptr(), from, words.len()) }
    }

    fn write_host_words(&self, frame: Pfn, offset: u64, words: &[u64]) {
        let to = bytes(frame, offset as usize, size_of_val(words)) as *mut u64;
        assert!(to.is_aligned());
        match words {
            // SAFETY: as above; Rust holds no reference to host frames.
            [word] => unsafe { to.write_volatile(*word) },
            // SAFETY: as above.
            _ => unsafe { copy_words(to, words.as_ptr(), words.len()) },
        }
    }

    fn place<T: Send>(&self, first: Pfn, frames: u64, value: T) -> Placed<T> {
        assert!(size_of::<T>() as u64 <= frames * PAGE_SIZE && align_of::<T>() as u64 <= PAGE_SIZE);
        // SAFETY: it fits (checked), and the frames are Ward's alone (trait).
        unsafe { Placed::new(first.pa() as *mut T, value) }
    }

    fn displace<T: Send>(&self, placed: Placed<T>) {
        drop(placed);
    }

    fn load_vcpu(&self, context: &mut Context, params: &RunParams) {
        switch::load(context, params);
    }

    fn enter_guest(&self, context: &mut Context) -> Trap {
        switch::enter(context)
    }

    fn unload_vcpu(&self, context: &mut Context, params: &RunParams) {
        switch::unload(context, params);
    }

    fn serror_pending(&self) -> bool {
        switch::serror_pending()
    }

    fn guest_sysreg(&self, context: &Context, reg: SysReg) -> u64 {
        switch::guest_register(context, reg)
    }

    fn set_guest_sysreg(&self, context: &mut Context, reg: SysReg, value: u64) {
        switch::set_guest_register(context, reg, value);
    }

    fn id_register(&self, crm: u8, op2: u8) -> u64 {
        idregs::read(crm, op2)
    }

    fn cpu(&self) -> CpuId {
        CpuId(percpu::this().id)
    }

    fn random(&self) -> Option<u64> {
        if !self.has_random() {
            return None;
        }
        let (value, flags): (u64, u64);
        // SAFETY: reads RNDR (DDI 0487 D24.2.156) and PSTATE.Z, which says that it had none.
        unsafe {
            core::arch::asm!("mrs {}, S3_3_C2_C4_0", "mrs {}, nzcv", out(reg) value, out(reg) flags,
                options(nomem, nostack));
        }
        (flags & 1 << 30 == 0).then_some(value)
    }

    fn has_random(&self) -> bool {
        // ID_AA64ISAR0_EL1.RNDR
        crate::cpu::field(get!("id_aa64isar0_el1"), 60) != 0
    }

    fn console(&self, line: fmt::Arguments<'_>) {
        console::line(line);
    }
}
