//! An SMMUv2 in the machine (IHI 0062): taken over at boot, asked by hyp-core, and seen by the host
//! through a filter.
//!
//! The host's own driver goes on driving it. Its pages of registers are in no table of the host's, so
//! each load and store traps; [`Unit::access`] decodes it, has [`smmu::v2`] answer, and the host
//! goes on behind its instruction. Whatever the host writes,
//!
//! - a stream that it leads to *bypass* translates by the table of the host's memory, in a bank that
//!   it is not shown;
//! - a stream that it leads to a bank translates by the table that Ward gave the bank when the host
//!   asked for one (`smmu_alloc`: the *stream* of an SMMUv2 is a bank), else it is ended;
//! - every other stream is ended, from before the host's first instruction on.
//!
//! Nothing here touches hardware: that is behind [`Hardware`].

mod trap;

pub use trap::{Closed, Outcome, Refused, Trap};

#[cfg(target_os = "none")]
mod boot;
#[cfg(target_os = "none")]
mod mmio;

#[cfg(target_os = "none")]
pub(super) use boot::Taken;
#[cfg(target_os = "none")]
pub(super) use mmio::Mmio;

use super::seam::Seam;
use crate::fdt::given;
use crate::lock::{TicketGuard, TicketLock};
use arrayvec::ArrayVec;
use core::fmt;
use hyp_core::addr::{Ipa, Pfn};
use hyp_core::dma::{AttachError, DmaLost, DmaTable, Domain};
use smmu::report::{Limiter, Report, Verdict};
use smmu::v2::{BankError, Hardware, Owner, Plan, Shape, Smmu, Stage2, StartError, abort_all};

/// Banks of one SMMU that have tables of the host's own.
const MOST_OWN: usize = 32;
/// Bits of addresses, and the level where a walk starts, of a table that maps nothing: its root is
/// a page, of which a narrower SMMU sees less.
const EMPTY_BITS: u8 = 39;
const EMPTY_LEVEL: u8 = 1;

/// Why an SMMU does not translate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Off {
    /// The device tree gives it fewer registers than it says it has.
    Registers,
    /// It cannot walk the host's table.
    Narrow,
    /// It cannot be driven.
    Start(StartError),
}

impl Off {
    /// Nobody knows what its devices do: as bad as one that is lost.
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Off::Start(StartError::NoAnswer))
    }
}

impl fmt::Display for Off {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Off::Registers => f.write_str("has too few registers")?,
            Off::Narrow => f.write_str("cannot walk the host's table")?,
            Off::Start(StartError::NoAnswer) => {
                return f.write_str(
                    "does not answer: nobody knows what its devices do. No guest can start",
                );
            }
            Off::Start(StartError::Unfit(unfit)) => write!(f, "cannot be driven: {unfit}")?,
            Off::Start(StartError::Plan) => f.write_str("has no bank to spare")?,
        }
        f.write_str(". No DMA passes it: devices behind it do not work")
    }
}

/// Ends every stream, and asks the SMMU what it is. The device tree says that it has `bytes` of
/// registers.
///
/// # Errors
/// [`Off`].
pub fn begin<H: Hardware>(hw: &H, bytes: u64) -> Result<Shape, Off> {
    abort_all(hw).map_err(Off::Start)?;
    let unfit = |unfit| Off::Start(StartError::Unfit(unfit));
    let shape = Shape::read(hw).map_err(unfit)?;
    if shape.bytes() > bytes {
        return Err(Off::Registers);
    }
    Ok(shape)
}

/// Does the command line have Linux's driver lead streams to bypass, which is the host's memory?
/// The last word counts.
pub fn asks_for_bypass(bootargs: &str) -> bool {
    given(bootargs, "iommu.passthrough=")
        .next_back()
        .is_some_and(|value| ["1", "y", "Y", "on"].contains(&value))
}

/// What an SMMU is to start with.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The host's memory.
    pub table: DmaTable,
    /// A page of zeros: a table that maps nothing.
    pub empty: Pfn,
    /// It reads tables through the CPUs' caches: the tree says so, and it does.
    pub coherent: bool,
    /// It is an MMU-500.
    pub mmu500: bool,
}

impl Setup {
    /// What an SMMU of that shape is to hold.
    ///
    /// # Errors
    /// [`Off::Narrow`].
    pub fn plan(&self, shape: &Shape) -> Result<Plan, Off> {
        let stage2 = |root: Pfn, bits, level| {
            Stage2::new(root.pa(), bits, level, shape.output, self.coherent)
                .map_err(|_| Off::Narrow)
        };
        let DmaTable { root, geometry, .. } = self.table;
        Ok(Plan {
            empty: stage2(self.empty, EMPTY_BITS, EMPTY_LEVEL)?,
            default: Some(stage2(root, geometry.ipa_bits(), geometry.start_level())?),
            // No VM has a stream in this version.
            streams: 0,
            mmu500: self.mmu500,
        })
    }
}

/// One SMMU that translates.
#[derive(Debug)]
pub struct Driver {
    smmu: Smmu,
    coherent: bool,
    /// Banks that have tables of the host's own, and which.
    banks: ArrayVec<(u8, Domain), MOST_OWN>,
    /// Something was asked for that no sync has waited for.
    pending: bool,
    limiter: Limiter,
    told_lost: bool,
}

impl Driver {
    /// One that is not started. It is made where it stays: it is large.
    pub const fn new(shape: Shape, plan: Plan, coherent: bool, limiter: Limiter) -> Self {
        Driver {
            smmu: Smmu::new(shape, plan),
            coherent,
            banks: ArrayVec::new_const(),
            pending: false,
            limiter,
            told_lost: false,
        }
    }

    /// From now on streams translate as the host leads them. Until it does, each is ended.
    ///
    /// # Errors
    /// [`Off`]. Unless it is [unknown](Off::is_unknown) what it does, every stream is ended.
    pub fn start<H: Hardware>(&mut self, hw: &H) -> Result<(), Off> {
        self.smmu.start(hw).map_err(Off::Start)
    }

    /// The SMMU.
    pub const fn smmu(&self) -> &Smmu {
        &self.smmu
    }

    /// The bank of a domain's table.
    fn bank(&self, domain: Domain) -> Option<u8> {
        if domain == Domain::Host {
            // Behind those that the host is shown.
            return Some(self.smmu.host_banks());
        }
        let entry = self.banks.iter().find(|(_, of)| *of == domain);
        entry.map(|(bank, _)| *bank)
    }

    fn has(&self, bank: u32) -> bool {
        bank < self.smmu.host_banks().into()
    }

    fn forget<H: Hardware>(
        &mut self,
        hw: &H,
        domain: Domain,
        first: Ipa,
        pages: u64,
    ) -> Result<(), DmaLost> {
        let Some(bank) = self.bank(domain) else {
            // No bank of this SMMU has that table.
            return Ok(());
        };
        self.pending = true;
        let asked = self.smmu.forget(hw, bank, first.as_u64(), pages);
        asked.map_err(|_| DmaLost)
    }

    fn sync<H: Hardware>(&mut self, hw: &H) -> Result<(), DmaLost> {
        // Under the lock: whoever asked before has asked or waited.
        if self.pending {
            self.smmu.sync(hw).map_err(|_| DmaLost)?;
            self.pending = false;
        }
        Ok(())
    }

    fn attach<H: Hardware>(
        &mut self,
        hw: &H,
        bank: u32,
        table: Option<DmaTable>,
    ) -> Result<(), AttachError> {
        if !self.has(bank) {
            return Err(AttachError::NoStream);
        }
        // There are 128 at most.
        let bank = bank as u8;
        match table {
            Some(table) if table.domain != Domain::Host => self.give(hw, bank, &table),
            // The host's memory has a bank of its own. This one is nobody's again.
            _ => self.take_back(hw, bank),
        }
    }

    fn give<H: Hardware>(&mut self, hw: &H, bank: u8, table: &DmaTable) -> Result<(), AttachError> {
        // The driver keeps no groups for streams of VMs.
        if self.banks.is_full() || matches!(table.domain, Domain::Vm(_)) {
            return Err(AttachError::NoRoom);
        }
        let stage2 = Stage2::new(
            table.root.pa(),
            table.geometry.ipa_bits(),
            table.geometry.start_level(),
            self.smmu.shape().output,
            self.coherent,
        );
        // A table that this SMMU cannot walk is one for which it has no room.
        let stage2 = stage2.map_err(|_| AttachError::NoRoom)?;
        self.smmu
            .assign(hw, bank, Owner::Host, &stage2)
            .map_err(|error| match error {
                BankError::Lost => AttachError::Lost,
                BankError::NoBank => AttachError::NoStream,
                BankError::Taken | BankError::Free | BankError::InUse => AttachError::NoRoom,
            })?;
        self.banks.push((bank, table.domain));
        Ok(())
    }

    fn take_back<H: Hardware>(&mut self, hw: &H, bank: u8) -> Result<(), AttachError> {
        if let Some(at) = self.banks.iter().position(|(of, _)| *of == bank) {
            // It ends what is under way, and forgets it.
            self.smmu.release(hw, bank).map_err(|_| AttachError::Lost)?;
            self.banks.swap_remove(at);
        }
        Ok(())
    }

    /// The next access of a device of the host's that the table of its memory ended, with how many
    /// before it were not told, if it is to be told.
    pub fn fault<H: Hardware>(&mut self, hw: &H, now: u64) -> Option<(Report, u64)> {
        let report = self.smmu.fault(hw, self.smmu.host_banks())?;
        match self.limiter.pass(&report, now) {
            Verdict::Tell { missing } => Some((report, missing)),
            Verdict::Keep => None,
        }
    }

    /// It no longer does what it is told, and nobody was told so.
    pub fn is_newly_lost(&mut self) -> bool {
        let lost = self.smmu.is_lost();
        lost && !core::mem::replace(&mut self.told_lost, lost)
    }
}

/// One SMMU and its lock.
#[derive(Debug)]
pub struct Unit<H> {
    /// Its registers.
    pub hw: H,
    window: Closed,
    driver: TicketLock<Driver>,
}

impl<H> Unit<H> {
    /// The SMMU whose registers are in the window.
    pub fn new(hw: H, window: Closed, driver: Driver) -> Self {
        Unit {
            hw,
            window,
            driver: TicketLock::new(driver),
        }
    }

    /// Takes the lock.
    pub fn lock(&self) -> TicketGuard<'_, Driver> {
        self.driver.lock()
    }
}

impl<H: Hardware> Seam for Unit<H> {
    fn forget(&self, domain: Domain, first: Ipa, pages: u64) -> Result<(), DmaLost> {
        self.lock().forget(&self.hw, domain, first, pages)
    }

    fn sync(&self) -> Result<(), DmaLost> {
        self.lock().sync(&self.hw)
    }

    fn has(&self, stream: u32) -> bool {
        self.lock().has(stream)
    }

    fn attach(&self, stream: u32, table: Option<DmaTable>) -> Result<(), AttachError> {
        self.lock().attach(&self.hw, stream, table)
    }

    fn end(&self, _: Domain) -> Result<(), DmaLost> {
        // What a bank's table ever said was forgotten when the bank was taken back.
        if self.lock().smmu.is_lost() {
            Err(DmaLost)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
