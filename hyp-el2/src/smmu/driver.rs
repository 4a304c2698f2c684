//! The SMMUs while the machine runs, and what hyp-core asks of an SMMUv3.

use super::events;
use super::mmio::Mmio;
use super::seam::{All, Seam};
use super::v2::{self, Closed, Outcome, Refused, Trap};
use crate::cpu::get;
use crate::fdt::MAX_SMMUS;
use crate::global::Global;
use crate::glue;
use crate::host::{Frame, once};
use crate::lock::{TicketGuard, TicketLock};
use arrayvec::ArrayVec;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};
use hyp_core::addr::{Ipa, PAGE_SIZE};
use hyp_core::dma::{AttachError, DmaLost, DmaTable, Domain, StreamKey};
use hyp_core::vcpu::esr::Esr;
use smmu::report::Limiter;
use smmu::v3::{Hardware, SetError, Smmu, Stage2Config, Ste, StreamId, StreamTable, Vmid, Vmids};

/// Streams of one SMMU that lead elsewhere than the rest, and domains that they lead to.
const MOST_OWN: usize = 32;

/// One SMMU, of any kind.
#[allow(
    clippy::large_enum_variant,
    reason = "there is no heap, and most are of the large kind"
)]
pub(super) enum Any {
    V3(Unit),
    V2(&'static v2::Unit<v2::Mmio>),
    /// An SMMUv2 that Ward does not drive: it ends every stream, or nobody knows what it does
    /// (then all are lost).
    Closed(Closed),
}

/// One SMMUv3.
pub(super) struct Unit {
    pub(super) hw: Mmio,
    /// `None`: it aborts everything, or nobody knows what it does (then all are lost).
    driver: TicketLock<Option<Driver>>,
}

/// One SMMUv3 that translates.
pub(super) struct Driver {
    pub(super) smmu: Smmu,
    vmids: Vmids,
    /// The VMIDs of domains, the host's apart.
    domains: ArrayVec<(Domain, Vmid), MOST_OWN>,
    /// Where streams lead that do not lead where the rest does.
    streams: ArrayVec<(StreamId, Option<Domain>), MOST_OWN>,
    /// Memory for entries of their own.
    spare: Range<u64>,
    /// Something was asked for that no sync has waited for.
    pending: bool,
    pub(super) limiter: Limiter,
    /// Events were lost since the last line.
    pub(super) overflow: bool,
    /// When it may be said again that nothing is left of them.
    pub(super) next_loss: u64,
    /// The operator knows that it is lost.
    pub(super) told_lost: bool,
}

static SMMUS: Global<ArrayVec<Any, MAX_SMMUS>> = Global::new();
/// See [`is_lost`].
static LOST: AtomicBool = AtomicBool::new(false);
/// See [`uncoherent`].
static UNCOHERENT: AtomicBool = AtomicBool::new(false);

/// Is an SMMU lost? Once true, always true.
pub fn is_lost() -> bool {
    LOST.load(Ordering::Acquire)
}

pub(super) fn lose() {
    if !LOST.swap(true, Ordering::AcqRel) {
        events::hurry();
    }
}

/// Does an SMMU read memory past the CPUs' caches?
pub fn uncoherent() -> bool {
    UNCOHERENT.load(Ordering::Relaxed)
}

pub(super) fn set_uncoherent() {
    UNCOHERENT.store(true, Ordering::Relaxed);
}

pub(super) fn install(units: ArrayVec<Any, MAX_SMMUS>) {
    SMMUS.set(units);
}

/// All SMMUs; none before the start.
pub(super) fn units() -> &'static [Any] {
    SMMUS.get().map_or(&[], |units| units)
}

fn all() -> All<'static, Any> {
    All {
        units: units(),
        lose,
    }
}

impl Seam for Any {
    fn forget(&self, domain: Domain, first: Ipa, pages: u64) -> Result<(), DmaLost> {
        match self {
            Any::V3(unit) => unit.forget(domain, first, pages),
            Any::V2(unit) => unit.forget(domain, first, pages),
            Any::Closed(_) => Ok(()),
        }
    }

    fn sync(&self) -> Result<(), DmaLost> {
        match self {
            Any::V3(unit) => unit.sync(),
            Any::V2(unit) => unit.sync(),
            Any::Closed(_) => Ok(()),
        }
    }

    fn has(&self, stream: u32) -> bool {
        match self {
            Any::V3(unit) => unit.has(stream),
            Any::V2(unit) => unit.has(stream),
            Any::Closed(_) => false,
        }
    }

    fn attach(&self, stream: u32, table: Option<DmaTable>) -> Result<(), AttachError> {
        match self {
            Any::V3(unit) => unit.attach(stream, table),
            Any::V2(unit) => unit.attach(stream, table),
            Any::Closed(_) => Err(AttachError::NoStream),
        }
    }

    fn end(&self, domain: Domain) -> Result<(), DmaLost> {
        match self {
            Any::V3(unit) => unit.end(domain),
            Any::V2(unit) => unit.end(domain),
            Any::Closed(_) => Ok(()),
        }
    }
}

impl Seam for Unit {
    fn forget(&self, domain: Domain, first: Ipa, pages: u64) -> Result<(), DmaLost> {
        let Some(driver) = &mut *self.lock() else {
            return Ok(());
        };
        // The descriptors are in memory before a command speaks of them (IHI 0070, 3.21.2).
        self.hw.order();
        driver.forget(&self.hw, domain, first, pages)
    }

    fn sync(&self) -> Result<(), DmaLost> {
        let mut driver = self.lock();
        driver.as_mut().map_or(Ok(()), |it| it.sync(&self.hw))
    }

    fn has(&self, stream: u32) -> bool {
        let driver = self.lock();
        driver
            .as_ref()
            .is_some_and(|it| it.smmu.has(StreamId(stream)))
    }

    fn attach(&self, stream: u32, table: Option<DmaTable>) -> Result<(), AttachError> {
        let mut driver = self.lock();
        let driver = driver.as_mut().ok_or(AttachError::NoStream)?;
        driver.attach(&self.hw, StreamId(stream), table)
    }

    fn end(&self, domain: Domain) -> Result<(), DmaLost> {
        let mut driver = self.lock();
        driver
            .as_mut()
            .map_or(Ok(()), |it| it.end(&self.hw, domain))
    }
}

impl Unit {
    pub(super) fn new(hw: Mmio, driver: Option<Driver>) -> Self {
        Unit {
            hw,
            driver: TicketLock::new(driver),
        }
    }

    pub(super) fn lock(&self) -> TicketGuard<'_, Option<Driver>> {
        self.driver.lock()
    }
}

impl Driver {
    pub(super) fn new(smmu: Smmu, spare: Range<u64>, limiter: Limiter) -> Self {
        Driver {
            vmids: Vmids::new(smmu.capabilities().vmid_bits),
            smmu,
            domains: ArrayVec::new(),
            streams: ArrayVec::new(),
            spare,
            pending: false,
            limiter,
            overflow: false,
            next_loss: 0,
            told_lost: false,
        }
    }

    /// The VMID of a domain that streams of this SMMU lead to or led to.
    fn vmid(&self, domain: Domain) -> Option<Vmid> {
        if domain == Domain::Host {
            return Some(Vmid::HOST);
        }
        let entry = self.domains.iter().find(|(of, _)| *of == domain);
        entry.map(|(_, vmid)| *vmid)
    }

    /// Where a stream leads: `None` nowhere.
    pub(super) fn owner(&self, stream: StreamId) -> Option<Domain> {
        let entry = self.streams.iter().find(|(of, _)| *of == stream);
        entry.map_or(Some(Domain::Host), |(_, domain)| *domain)
    }

    fn forget(&mut self, hw: &Mmio, domain: Domain, first: Ipa, pages: u64) -> Result<(), DmaLost> {
        let Some(vmid) = self.vmid(domain) else {
            // No stream of this SMMU ever led there.
            return Ok(());
        };
        self.pending = true;
        let asked = self.smmu.forget(hw, vmid, first.as_u64(), pages);
        asked.map_err(|_| DmaLost)
    }

    fn sync(&mut self, hw: &Mmio) -> Result<(), DmaLost> {
        // Under the lock: whoever asked before has asked or waited.
        if !self.pending {
            return Ok(());
        }
        self.smmu.sync(hw).map_err(|_| DmaLost)?;
        self.pending = false;
        Ok(())
    }

    /// Room for the stream among those that lead elsewhere than the rest; one that leads there again
    /// takes none.
    fn remember(&mut self, stream: StreamId, domain: Option<Domain>) -> Result<(), AttachError> {
        if domain == Some(Domain::Host) {
            self.streams.retain(|(of, _)| *of != stream);
            return Ok(());
        }
        match self.streams.iter_mut().find(|(of, _)| *of == stream) {
            Some((_, leads)) => *leads = domain,
            None => self
                .streams
                .try_push((stream, domain))
                .map_err(|_| AttachError::NoRoom)?,
        }
        Ok(())
    }

    /// The entry that leads to a table.
    fn entry(&mut self, table: Option<DmaTable>) -> Result<Ste, AttachError> {
        let Some(table) = table else {
            return Ok(Ste::Invalid);
        };
        let caps = *self.smmu.capabilities();
        let vmid = match self.vmid(table.domain) {
            Some(vmid) => vmid,
            None if self.domains.is_full() => return Err(AttachError::NoRoom),
            None => {
                let vmid = self.vmids.take().ok_or(AttachError::NoRoom)?;
                self.domains.push((table.domain, vmid));
                vmid
            }
        };
        let geometry = table.geometry;
        let config = Stage2Config::new(
            vmid,
            table.root.pa(),
            geometry.ipa_bits(),
            geometry.start_level(),
            caps.output,
            caps.coherent,
        );
        // A table that this SMMU cannot walk is one for which it has no room.
        config.map(Ste::Stage2).map_err(|_| AttachError::NoRoom)
    }

    fn attach(
        &mut self,
        hw: &Mmio,
        stream: StreamId,
        table: Option<DmaTable>,
    ) -> Result<(), AttachError> {
        if !self.smmu.has(stream) {
            return Err(AttachError::NoStream);
        }
        let shared = self.smmu.is_shared(hw, stream);
        if shared && self.spare.is_empty() {
            return Err(AttachError::NoRoom);
        }
        let entry = self.entry(table)?;
        let before = self.owner(stream);
        self.remember(stream, table.map(|table| table.domain))?;
        let error = |error| match error {
            SetError::Lost => AttachError::Lost,
            SetError::NoStream => AttachError::NoStream,
            SetError::Page | SetError::Shared => AttachError::NoRoom,
        };
        if shared {
            let page = self.spare.start;
            self.spare.start += StreamTable::PAGE_BYTES;
            if let Err(cause) = self.smmu.separate(hw, stream, page) {
                let _ = self.remember(stream, before);
                return Err(error(cause));
            }
        }
        self.smmu.set(hw, stream, &entry).map_err(error)
    }

    fn end(&mut self, hw: &Mmio, domain: Domain) -> Result<(), DmaLost> {
        let Some(at) = self.domains.iter().position(|(of, _)| *of == domain) else {
            return Ok(());
        };
        let (_, vmid) = self.domains[at];
        let retired = self.smmu.retire(hw, vmid).map_err(|_| DmaLost)?;
        self.pending = false;
        self.domains.swap_remove(at);
        self.vmids.give_back(retired);
        Ok(())
    }
}

/// [`hyp_core::dma::Dma::dma_forget`].
pub fn forget(domain: Domain, first: Ipa, pages: u64) {
    if cfg!(ward_without = "device-invalidation") {
        return;
    }
    all().forget(domain, first, pages);
}

/// [`hyp_core::dma::Dma::dma_sync`].
///
/// # Errors
/// [`DmaLost`].
pub fn sync() -> Result<(), DmaLost> {
    all().sync();
    if is_lost() { Err(DmaLost) } else { Ok(()) }
}

/// [`hyp_core::dma::Dma::dma_has`].
pub fn has(stream: StreamKey) -> bool {
    all().has(stream)
}

/// [`hyp_core::dma::Dma::dma_attach`].
///
/// # Errors
/// [`AttachError`].
pub fn attach(stream: StreamKey, table: Option<DmaTable>) -> Result<(), AttachError> {
    all().attach(stream, table)
}

/// [`hyp_core::dma::Dma::dma_end`].
///
/// # Errors
/// [`DmaLost`].
pub fn end(domain: Domain) -> Result<(), DmaLost> {
    all().end(domain);
    if is_lost() { Err(DmaLost) } else { Ok(()) }
}

/// Does the host's load or store of a register of an SMMUv2; `false`: it is none, or of a kind
/// that does not say what it does.
pub fn access(frame: &mut Frame, esr: Esr, ipa: u64) -> bool {
    let here = |unit: &Any| match unit {
        Any::V3(_) => false,
        Any::V2(unit) => unit.contains(ipa),
        Any::Closed(window) => window.contains(ipa),
    };
    let Some(n) = units().iter().position(here) else {
        return false;
    };
    let trap = Trap {
        esr,
        ipa,
        pstate: frame.pstate,
        sctlr: get!("sctlr_el1"),
    };
    let outcome = match &units()[n] {
        Any::V3(_) => return false,
        Any::V2(unit) => unit.access(&trap, &mut frame.x),
        Any::Closed(window) => window.access(&trap, &mut frame.x),
    };
    match outcome {
        Outcome::Done => {}
        Outcome::Refused(refused) => tell(n, &refused, frame.pc),
        Outcome::Unclear => {
            if once::first(1 << 41 | n as u64) {
                let pc = frame.pc;
                glue::say(format_args!(
                    "host: the instruction at {pc:#x} is of no kind that accesses a register of smmu \
                     {n}: it takes an abort at {ipa:#x}"
                ));
            }
            return false;
        }
    }
    frame.skip(esr);
    true
}

/// Each reason is told once.
fn tell(n: usize, refused: &Refused, pc: u64) {
    if once::first(refused.why.as_ptr() as u64) {
        let what = if refused.write { "a write" } else { "a read" };
        let Refused { offset, why, .. } = *refused;
        glue::say(format_args!(
            "host: smmu {n} refused {what} at {offset:#x}, by the instruction at {pc:#x}: {why}"
        ));
    }
}

const _: () = assert!(StreamTable::PAGE_BYTES.is_multiple_of(PAGE_SIZE));
