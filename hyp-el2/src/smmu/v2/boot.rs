//! From the first look at an SMMUv2 to the moment when the host may run.

use super::super::driver::{Any, lose, set_uncoherent};
use super::mmio::Mmio;
use super::{Closed, Driver, Off, Setup, Unit, begin};
use crate::fdt::SmmuNode;
use crate::{glue, mmu};
use core::fmt;
use hyp_core::addr::{PAGE_SIZE, Pfn};
use hyp_core::dma::DmaTable;
use smmu::report::Limiter;
use smmu::v2::Shape;

/// Frames of a [`Unit`].
const UNIT: u64 = (size_of::<Unit<Mmio>>() as u64).div_ceil(PAGE_SIZE);

/// One SMMUv2 during boot. It ends every stream.
pub(in crate::smmu) struct Taken {
    node: SmmuNode,
    mmu500: bool,
    hw: Mmio,
    state: Result<Shape, Off>,
    /// A table that maps nothing, and where the [`Unit`] will be.
    memory: Option<(Pfn, Pfn)>,
}

impl Taken {
    /// Has it end every stream: the first thing that is done to it.
    ///
    /// # Errors
    /// [`mmu::NoTables`].
    pub(in crate::smmu) fn begin(node: SmmuNode, mmu500: bool) -> Result<Self, mmu::NoTables> {
        // SAFETY: the boot CPU; the device tree says that these are an SMMU's registers, and the
        // host will not have them.
        let hw = unsafe { Mmio::new(node.registers)? };
        let state = begin(&hw, node.registers.size);
        if state.is_err_and(|off| off.is_unknown()) {
            lose();
        }
        if state.is_ok_and(|shape| !(shape.coherent && node.coherent)) {
            set_uncoherent();
        }
        Ok(Taken {
            node,
            mmu500,
            hw,
            state,
            memory: None,
        })
    }

    /// How wide its addresses are.
    pub(in crate::smmu) fn output(&self) -> Option<u8> {
        let shape = self.state.ok()?;
        Some(shape.output.bits() as u8)
    }

    /// Frames that [`Taken::place`] takes.
    pub(in crate::smmu) fn frames(&self) -> u64 {
        self.state.map_or(0, |_| 1 + UNIT)
    }

    /// Gives it memory, see [`Takeover::place`](super::super::Takeover::place).
    pub(in crate::smmu) fn place(&mut self, mut arena: impl FnMut(u64, u64) -> Pfn) {
        if self.state.is_ok() {
            self.memory = Some((arena(1, 1), arena(UNIT, 1)));
        }
    }

    /// Streams translate as the host leads them from now on.
    #[inline(never)]
    pub(in crate::smmu) fn start(
        self,
        n: usize,
        table: Option<DmaTable>,
        limiter: Limiter,
        bypass: bool,
    ) -> Any {
        let window = Closed {
            base: self.node.registers.base,
            bytes: self.node.registers.size,
        };
        let name = format_args!("smmu {n} at {:#x}", window.base);
        let started = self.state.and_then(|shape| {
            let (Some(table), Some((empty, place))) = (table, self.memory) else {
                return Err(Off::Narrow);
            };
            let setup = Setup {
                table,
                empty,
                coherent: shape.coherent && self.node.coherent,
                mmu500: self.mmu500,
            };
            let plan = setup.plan(&shape)?;
            let place = place.pa() as *mut Unit<Mmio>;
            let driver = Driver::new(shape, plan, setup.coherent, limiter);
            // SAFETY: so many frames hold it: mapped, aligned to a page, nobody else's for ever.
            unsafe { place.write(Unit::new(self.hw, window, driver)) };
            // SAFETY: as above, and it is written.
            let unit = unsafe { &*place };
            unit.lock().start(&unit.hw)?;
            Ok(unit)
        });
        match started {
            Ok(unit) => {
                report(name, &unit.lock(), bypass);
                Any::V2(unit)
            }
            Err(off) => {
                if off.is_unknown() {
                    lose();
                }
                glue::say(format_args!("WARNING: {name}: {off}"));
                Any::Closed(window)
            }
        }
    }
}

fn report(name: fmt::Arguments<'_>, driver: &Driver, bypass: bool) {
    let smmu = driver.smmu();
    let (mark, first) = match bypass {
        true => ("", ""),
        false => (
            "WARNING: ",
            ". No DMA passes it unless that asks for bypass (iommu.passthrough=1 on the host's command line)",
        ),
    };
    let second = match smmu.prefetches() {
        true => ". Firmware has locked this MMU-500's prefetch on, which has errata",
        false => "",
    };
    glue::say(format_args!(
        "{mark}{name}: SMMUv2, {} groups and {} banks for the host's driver{first}{second}",
        smmu.host_groups(),
        smmu.host_banks()
    ));
}
