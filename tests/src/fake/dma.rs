//! SMMUs: what devices reach, through TLBs of their own.
//!
//! A translation that an access used stays in the SMMU's TLB, for any later one, until it was both
//! asked to forget it and waited for ([`Dma::dma_forget`], then [`Dma::dma_sync`]). An SMMU that
//! is lost forgets nothing any more, and its devices go on.

use super::tables::{Leaf, Regime, frames_at, is_table, output, valid};
use super::{Fake, Sched, State, Tlb, device_value};
use hyp_core::addr::{Ipa, Pfn};
use hyp_core::dma::{AttachError, Dma, DmaLost, DmaTable, Domain, StreamKey};
use hyp_core::machine::TableMemory;
use std::collections::BTreeMap;

/// The regime of the host's DMA table; tables of streams of the host's own follow.
pub const HOST_DMA: u16 = 0xff00;

/// Is a regime walked by SMMUs alone?
pub const fn is_dma(regime: u16) -> bool {
    regime >= HOST_DMA
}

/// The regime of a domain.
pub const fn regime_of(domain: Domain) -> u16 {
    match domain {
        Domain::Host => HOST_DMA,
        Domain::Own(n) => HOST_DMA + 1 + n as u16,
        Domain::Vm(vm) => vm.0,
    }
}

/// The streams of a machine that has SMMUs: two of each.
pub const STREAMS: [StreamKey; 4] = [stream(0, 8), stream(0, 9), stream(1, 8), stream(1, 0x100)];

const fn stream(smmu: u8, stream: u32) -> StreamKey {
    StreamKey { smmu, stream }
}

/// Why a device's access was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaFault {
    /// The stream leads nowhere.
    Stream,
    /// No valid descriptor.
    Translation,
    /// A leaf that does not permit it.
    Permission,
}

/// A range that was to be forgotten: regime, first address, pages, and how many descriptors had
/// been broken by then.
type Asked = (u16, u64, u64, u64);

/// All SMMUs of the machine.
#[derive(Debug, Default)]
pub struct Smmus {
    /// Which regime each stream translates by.
    pub streams: BTreeMap<StreamKey, Option<u16>>,
    /// The TLBs, as one.
    pub tlb: Tlb,
    /// An SMMU is lost, and Ward may know.
    pub lost: bool,
    /// The next wait is one too many.
    pub failing: bool,
    /// Waits so far.
    pub syncs: u64,
    asked: Vec<Asked>,
}

impl Smmus {
    /// Without streams.
    pub(super) fn new() -> Self {
        Smmus {
            tlb: Tlb::endless(),
            ..Smmus::default()
        }
    }
}

impl State {
    /// A load or store of 8 bytes by a device.
    ///
    /// # Errors
    /// Why it was aborted.
    pub fn dma_access(
        &mut self,
        stream: StreamKey,
        iova: u64,
        write: Option<u64>,
    ) -> Result<u64, DmaFault> {
        let regime = self.dma.streams.get(&stream).copied().flatten();
        let regime = regime.ok_or(DmaFault::Stream)?;
        let leaf = match self.dma.tlb.leaf(regime, iova) {
            Some(leaf) => leaf,
            None => self.dma_walk(regime, iova).ok_or(DmaFault::Translation)?,
        };
        let perms = leaf.perms();
        if !perms.read || write.is_some() && !perms.write {
            return Err(DmaFault::Permission);
        }
        let offset = iova & ((leaf.frames() << 12) - 1);
        let (pfn, index) = (leaf.pfn + (offset >> 12), (iova as usize & 0xfff) / 8);
        let pa = pfn << 12 | iova & 0xfff;
        match write {
            Some(value) if self.ram.contains(pfn) => self.ram.write_through(pfn, index, value),
            Some(value) => self.device_writes.push((pa, value)),
            None if self.ram.contains(pfn) => return Ok(self.ram.word(pfn, index)),
            None => return Ok(device_value(pa)),
        }
        Ok(write.unwrap_or(0))
    }

    fn dma_walk(&mut self, regime: u16, iova: u64) -> Option<Leaf> {
        let root = self.tables.regime(regime)?;
        let start = iova >> (9 * (3 - u32::from(root.level)) + 12);
        if start >= root.frames * 512 {
            return None;
        }
        let cached = self.dma.tlb.walk(regime, iova);
        let (mut level, mut table) = cached.unwrap_or((root.level, root.root + start / 512));
        loop {
            let index = (iova >> 12) / frames_at(level) % 512;
            if !self.ram.contains(table) {
                self.violate(format!(
                    "regime {regime:#x}: walk of {iova:#x} left RAM at {table:#x}"
                ));
                return None;
            }
            let entry = self.ram.word(table, index as usize);
            if !valid(entry) {
                return None;
            }
            if !is_table(entry, level) {
                self.dma.tlb.keep_leaf(regime, iova, level, entry);
                let pfn = output(entry);
                return Some(Leaf { pfn, level, entry });
            }
            (level, table) = (level + 1, output(entry));
            self.dma.tlb.keep_walk(regime, iova, level, table);
        }
    }
}

impl<S: Sched> Fake<S> {
    /// A device loads or stores 8 bytes.
    ///
    /// # Errors
    /// Why it was aborted.
    pub fn dma(&self, stream: StreamKey, iova: u64, write: Option<u64>) -> Result<u64, DmaFault> {
        S::point();
        self.state().dma_access(stream, iova, write)
    }
}

impl<S: Sched> Dma for Fake<S> {
    fn dma_write_entry(&self, table: Pfn, index: usize, entry: u64) {
        self.write_table(table, index, entry, true);
    }

    fn dma_publish(&self) {
        self.publish();
        self.state().tables.dma_publish();
    }

    fn dma_forget(&self, domain: Domain, first: Ipa, pages: u64) {
        S::point();
        let state = &mut *self.state();
        let before = state.tables.broken_so_far();
        let asked = (regime_of(domain), first.as_u64(), pages, before);
        state.dma.asked.push(asked);
    }

    fn dma_sync(&self) -> Result<(), DmaLost> {
        S::point();
        let state = &mut *self.state();
        state.dma.syncs += 1;
        state.dma.lost |= state.dma.failing;
        if state.dma.lost {
            return Err(DmaLost);
        }
        for (regime, first, pages, before) in std::mem::take(&mut state.dma.asked) {
            state.dma.tlb.forget(regime, first..first + (pages << 12));
            state.tables.forgotten(regime, first, pages, before);
        }
        Ok(())
    }

    fn dma_lost(&self) -> bool {
        self.state().dma.lost
    }

    fn dma_has(&self, stream: StreamKey) -> bool {
        self.state().dma.streams.contains_key(&stream)
    }

    fn dma_attach(&self, stream: StreamKey, table: Option<DmaTable>) -> Result<(), AttachError> {
        S::point();
        let state = &mut *self.state();
        if !state.dma.streams.contains_key(&stream) {
            return Err(AttachError::NoStream);
        }
        state.dma.lost |= state.dma.failing;
        if state.dma.lost {
            return Err(AttachError::Lost);
        }
        let regime = table.map(|table| regime_of(table.domain));
        if let (Some(table), Some(regime)) = (table, regime)
            && state.tables.regime(regime).is_none()
        {
            let geometry = table.geometry;
            let root = Regime {
                root: table.root.0,
                frames: geometry.root_frames(),
                level: geometry.start_level(),
            };
            state.tables.add_regime(&state.ram, regime, root);
        }
        state.dma.streams.insert(stream, regime);
        Ok(())
    }

    fn dma_end(&self, domain: Domain) -> Result<(), DmaLost> {
        let regime = regime_of(domain);
        let led = self
            .state()
            .dma
            .streams
            .values()
            .any(|it| *it == Some(regime));
        if led {
            let text = format!("regime {regime:#x} ends, and a stream leads there");
            self.state().violate(text);
        }
        self.dma_forget(domain, Ipa::containing(0), 1 << 40);
        self.dma_sync()?;
        if is_dma(regime) {
            self.state().tables.end(regime);
        }
        Ok(())
    }
}
