//! One SMMUv3's registers, and the memory that it and Ward share.

use crate::cpu::{dsb_sy, get};
use crate::{cache, mmu};
use core::sync::atomic::{AtomicU64, Ordering};
use smmu::v3::{Hardware, Register, register};

/// `IDR0.COHACC` (IHI 0070, 6.3.1): tables and queues are read through the CPUs' caches.
const COHERENT: u32 = 1 << 4;
/// Its first page has all registers but those of the event queue's counters, which are in the
/// first page of the second 64 KiB (6.1).
const PAGES: [u64; 2] = [0, 0x1_0000];
/// Bytes that an SMMU's registers take at least.
pub(super) const SIZE: u64 = 0x2_0000;
/// How long an SMMU may take to answer, in parts of a second.
const PATIENCE: u64 = 10;
/// Where firmware did not say how fast the counter runs, no less than boards have.
const SLOWEST: u64 = 1_000_000;

/// Ticks of the counter in a second.
pub(super) fn frequency() -> u64 {
    get!("cntfrq_el0").max(SLOWEST)
}

/// The counter.
pub(super) fn now() -> u64 {
    get!("cntpct_el0")
}

/// Until when an SMMU that is asked now may answer.
pub(super) fn deadline() -> u64 {
    now() + frequency() / PATIENCE
}

/// The registers, mapped for good.
#[derive(Debug)]
pub(super) struct Mmio {
    base: u64,
    coherent: bool,
}

impl Mmio {
    /// Maps the registers at `base`, of an SMMU that the device tree says is `coherent`.
    ///
    /// # Errors
    /// [`mmu::NoTables`].
    ///
    /// # Safety
    /// The boot CPU, before any other runs. [`SIZE`] bytes from `base` on are an SMMUv3's
    /// registers, and nobody else writes them.
    pub(super) unsafe fn new(base: u64, coherent: bool) -> Result<Self, mmu::NoTables> {
        for page in PAGES {
            // SAFETY: the caller's promise.
            unsafe { mmu::map(base + page, base + page + 4, mmu::Access::Device)? };
        }
        let mut mmio = Mmio {
            base,
            coherent: true,
        };
        // Where tree and register differ, the weaker is believed: maintenance that is not needed
        // does no harm.
        mmio.coherent = coherent && mmio.read32(register::IDR0) & COHERENT != 0;
        Ok(mmio)
    }

    /// Does it read memory through the CPUs' caches?
    pub(super) const fn is_coherent(&self) -> bool {
        self.coherent
    }

    fn at(&self, register: Register) -> u64 {
        let offset = u64::from(register.0);
        assert!(
            PAGES.contains(&(offset & !0xfff)),
            "in a page that is mapped"
        );
        self.base + offset
    }
}

/// A word of a table or queue of Ward's.
fn word(at: u64) -> &'static AtomicU64 {
    let place = at as *const AtomicU64;
    assert!(place.is_aligned());
    // SAFETY: the driver names only words of its `Placement` and of pages given to `separate`:
    // frames that Ward took for this SMMU at boot, mapped for good, and accessed by nobody but
    // through here, as atomics.
    unsafe { &*place }
}

impl Hardware for Mmio {
    fn read32(&self, register: Register) -> u32 {
        let at = self.at(register) as *const u32;
        // SAFETY: `new` mapped it, as device memory; registers of 32 bits are read whole, and no
        // read of one has an effect (IHI 0070, 6.2).
        let value = unsafe { at.read_volatile() };
        if register == register::IDR0 && !self.coherent {
            return value & !COHERENT;
        }
        value
    }

    fn write32(&self, register: Register, value: u32) {
        let at = self.at(register) as *mut u32;
        // SAFETY: as above. What the SMMU does to memory then is within what the driver set up:
        // its tables and queues, which are accessed as atomics only.
        unsafe { at.write_volatile(value) }
    }

    fn write64(&self, register: Register, value: u64) {
        let at = self.at(register) as *mut u64;
        // SAFETY: as above; the driver writes only registers of 64 bits so, at multiples of 8.
        unsafe { at.write_volatile(value) }
    }

    fn load(&self, at: u64) -> u64 {
        if !self.coherent {
            // The line is clean (see `store`), so nothing is written back over what the SMMU
            // wrote; it is read from memory anew (IHI 0070, 3.15; DDI 0487, D7.5).
            cache::clean_invalidate(at, 8);
        }
        word(at).load(Ordering::Relaxed)
    }

    fn store(&self, at: u64, value: u64) {
        word(at).store(value, Ordering::Relaxed);
        if !self.coherent {
            cache::clean_to_memory(at, 8);
        }
    }

    fn order(&self) {
        dsb_sy();
    }

    fn deadline(&self) -> u64 {
        deadline()
    }

    fn expired(&self, deadline: u64) -> bool {
        now() >= deadline
    }
}
