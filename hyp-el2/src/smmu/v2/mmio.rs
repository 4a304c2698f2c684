//! One SMMUv2's registers.

use super::super::mmio::{deadline, now};
use crate::cpu::dsb_sy;
use crate::fdt::Span;
use crate::mmu;
use smmu::v2::Hardware;

/// The registers, mapped for good.
#[derive(Debug)]
pub(in crate::smmu) struct Mmio {
    registers: Span,
}

impl Mmio {
    /// Maps the registers.
    ///
    /// # Errors
    /// [`mmu::NoTables`].
    ///
    /// # Safety
    /// The boot CPU, before any other runs. These are an SMMUv2's registers, and nobody else writes
    /// them.
    pub(super) unsafe fn new(registers: Span) -> Result<Self, mmu::NoTables> {
        // SAFETY: the caller's promise.
        unsafe { mmu::map(registers.base, registers.end(), mmu::Access::Device)? };
        Ok(Mmio { registers })
    }

    fn at(&self, offset: u32, bytes: u64) -> u64 {
        let offset = u64::from(offset);
        assert!(
            offset.is_multiple_of(bytes) && offset + bytes <= self.registers.size,
            "a register that is mapped"
        );
        self.registers.base + offset
    }
}

impl Hardware for Mmio {
    fn read32(&self, offset: u32) -> u32 {
        let at = self.at(offset, 4) as *const u32;
        // SAFETY: `new` mapped it, as device memory; registers are read by 32 bits, 64-bit ones by
        // halves, and no read of one that the driver or the filter reads has an effect
        // (IHI 0062D.c, 9.6, 10.2 and chapter 17).
        unsafe { at.read_volatile() }
    }

    fn write32(&self, offset: u32, value: u32) {
        let at = self.at(offset, 4) as *mut u32;
        // SAFETY: as above. An SMMUv2 writes no memory, and reads tables that Ward named.
        unsafe { at.write_volatile(value) }
    }

    fn write64(&self, offset: u32, value: u64) {
        let at = self.at(offset, 8) as *mut u64;
        // SAFETY: as above; the driver writes only registers of 64 bits so.
        unsafe { at.write_volatile(value) }
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
