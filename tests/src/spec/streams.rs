//! Calls on streams, and what their devices reach.

use super::calls::{DONE, Outcome, again, frame, gives, leaf_frames};
use super::{Owner, Seen, Spec};
use hyp_core::abi::Error;
use hyp_core::dma::StreamKey;
use std::collections::BTreeMap;

/// Streams that can be the host's own.
const MAX_STREAMS: usize = 64;
/// Pins of a frame that can be told apart.
const MAX_PINS: usize = u16::MAX as usize;
/// Frames that a piece of an end lets go.
const PIECE: u64 = 512;

/// What a page of a stream's own table leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The frame.
    pub pfn: u64,
    /// The device may write.
    pub write: bool,
    /// Part of a 2 MiB leaf.
    pub block: bool,
}

/// A stream that the host took for itself.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// What its pages lead to.
    pub maps: BTreeMap<u64, Reach>,
    /// It is on its way back, and leads nowhere.
    pub ended: bool,
    /// Its SMMU was lost when it was to lead here; it leads where it did.
    pub stuck: bool,
}

impl Stream {
    /// Pages of the leaf that begins at a page.
    fn leaf(&self, page: u64) -> Option<u64> {
        match self.maps.get(&page)?.block {
            true if page.is_multiple_of(512) => Some(512),
            true => None,
            false => Some(1),
        }
    }
}

impl Spec {
    /// Bits of the addresses in a stream's own table.
    pub fn iova_bits(&self) -> u32 {
        self.setup.dma_bits.unwrap_or(0).min(39)
    }

    fn key(smmu: u64, stream: u64) -> Result<StreamKey, Error> {
        match (u8::try_from(smmu), u32::try_from(stream)) {
            (Ok(smmu), Ok(stream)) => Ok(StreamKey { smmu, stream }),
            _ => Err(Error::NotFound),
        }
    }

    /// The stream, if it is the host's own and not on its way back.
    fn own_stream(&mut self, smmu: u64, stream: u64) -> Result<(StreamKey, &mut Stream), Error> {
        let key = Self::key(smmu, stream)?;
        match self.streams.get_mut(&key) {
            Some(it) if !it.ended => Ok((key, it)),
            _ => Err(Error::BadState),
        }
    }

    pub(super) fn smmu_alloc(
        &mut self,
        [smmu, stream, vm]: [u64; 3],
        seen: &Seen<'_>,
    ) -> Result<Outcome, Error> {
        if self.setup.dma_bits.is_none() || vm != 0 {
            return Err(Error::NotSupported);
        }
        let key = Self::key(smmu, stream)?;
        if !crate::fake::STREAMS.contains(&key) {
            return Err(Error::NotFound);
        }
        if self.streams.contains_key(&key) {
            return Err(Error::Exists);
        }
        if self.streams.len() == MAX_STREAMS {
            return Err(Error::NoNumber);
        }
        seen.room(0, 5)?;
        if self.lost {
            // Whether Ward knew, or asked the SMMU: then it keeps what it told it of.
            let stuck = (seen.streams)() > self.streams.len();
            if stuck {
                let stuck = Stream {
                    stuck,
                    ..Stream::default()
                };
                self.streams.insert(key, stuck);
            }
            return Err(Error::DeviceLost);
        }
        self.streams.insert(key, Stream::default());
        Ok(DONE)
    }

    pub(super) fn smmu_map(&mut self, a: [u64; 6], seen: &Seen<'_>) -> Result<Outcome, Error> {
        let [smmu, stream, iova, pa, order, prot] = a;
        if self.setup.dma_bits.is_none() {
            return Err(Error::NotSupported);
        }
        let count = leaf_frames(order)?;
        if prot != 1 && prot != 3 {
            return Err(Error::InvalidArgument);
        }
        let (page, first) = (frame(iova)?, frame(pa)?);
        if page % count != 0 || first % count != 0 {
            return Err(Error::BadAddress);
        }
        let (key, _) = self.own_stream(smmu, stream)?;
        let doorbell = count == 1 && self.setup.doorbells.contains(&first);
        let pfns = first..first + count;
        if !doorbell {
            if pfns.clone().any(|pfn| !self.is_ram(pfn)) {
                return Err(Error::BadAddress);
            }
            let may = |pfn| self.owners[&pfn] == Owner::Host && self.uses(pfn).0 < MAX_PINS;
            if !pfns.clone().all(may) {
                return Err(Error::Denied);
            }
        }
        let end = 1_u64 << (self.iova_bits() - 12);
        if page >= end || pfns.end > end {
            return Err(Error::BadAddress);
        }
        let it = &self.streams[&key];
        if it.maps.range(page..page + count).next().is_some() {
            return Err(Error::Exists);
        }
        seen.room(0, 6)?;
        // It need not ask the SMMU, and so may not know.
        if self.lost && seen.x[0] as i64 == Error::DeviceLost.code() {
            return Err(Error::DeviceLost);
        }
        for (n, pfn) in pfns.enumerate() {
            let page = page + n as u64;
            let reach = Reach {
                pfn,
                write: prot == 3,
                block: count > 1,
            };
            if let Some(it) = self.streams.get_mut(&key) {
                it.maps.insert(page, reach);
            }
            if !doorbell {
                self.device_pins.insert((pfn, key, page));
                self.touched.insert(pfn);
            }
        }
        Ok(DONE)
    }

    fn let_go(&mut self, key: StreamKey, pages: std::ops::Range<u64>) {
        for page in pages {
            let it = self.streams.get_mut(&key);
            if let Some(gone) = it.and_then(|it| it.maps.remove(&page)) {
                self.device_pins.remove(&(gone.pfn, key, page));
                self.touched.insert(gone.pfn);
            }
        }
    }

    pub(super) fn smmu_clear(&mut self, a: [u64; 6], seen: &Seen<'_>) -> Result<Outcome, Error> {
        let [smmu, stream, iova, order, ..] = a;
        if self.setup.dma_bits.is_none() {
            return Err(Error::NotSupported);
        }
        let count = leaf_frames(order)?;
        let page = frame(iova)?;
        if page % count != 0 {
            return Err(Error::BadAddress);
        }
        let lost = self.lost;
        let (key, it) = self.own_stream(smmu, stream)?;
        let there = it.leaf(page) == Some(count);
        // One that does not know finds out only if there is something to forget.
        if lost && (there || seen.x[0] as i64 == Error::DeviceLost.code()) {
            return Err(Error::DeviceLost);
        }
        if !there {
            return Err(Error::NotFound);
        }
        self.let_go(key, page..page + count);
        Ok(DONE)
    }

    pub(super) fn smmu_free(
        &mut self,
        smmu: u64,
        stream: u64,
        seen: &Seen<'_>,
    ) -> Result<Outcome, Error> {
        if self.setup.dma_bits.is_none() {
            return Err(Error::NotSupported);
        }
        let key = Self::key(smmu, stream)?;
        if !self.streams.contains_key(&key) {
            return Err(Error::BadState);
        }
        if self.lost {
            let it = &self.streams[&key];
            // A piece that needs no answer of the SMMU's is done by one that does not know.
            if !(it.ended && seen.x[0] as i64 == 1) {
                return Err(Error::DeviceLost);
            }
        }
        if let Some(it) = self.streams.get_mut(&key) {
            it.ended = true;
        }
        let mut budget = PIECE;
        while let Some((page, _)) = self.streams[&key].maps.first_key_value() {
            let page = *page;
            let count = self.streams[&key].leaf(page).unwrap_or(1);
            if count > budget {
                return Ok(again(Some(1)));
            }
            budget -= count;
            self.let_go(key, page..page + count);
        }
        // How many tables there were is Ward's affair.
        if seen.x[0] as i64 == 1 {
            return Ok(again(Some(1)));
        }
        self.streams.remove(&key);
        Ok(DONE)
    }

    pub(super) fn smmu_iova_to_phys(
        &mut self,
        smmu: u64,
        stream: u64,
        iova: u64,
    ) -> Result<Outcome, Error> {
        if self.setup.dma_bits.is_none() {
            return Err(Error::NotSupported);
        }
        let bits = self.iova_bits();
        let (_, it) = self.own_stream(smmu, stream)?;
        if iova >> bits != 0 {
            return Err(Error::BadAddress);
        }
        let reach = it.maps.get(&(iova >> 12)).ok_or(Error::NotFound)?;
        Ok(gives(reach.pfn << 12 | iova & 0xfff))
    }

    /// The frame that a device reaches at an address, if any.
    pub fn reach(&self, key: StreamKey, iova: u64, write: bool) -> Option<u64> {
        let page = iova >> 12;
        match self.streams.get(&key) {
            Some(it) if it.ended => None,
            Some(it) if !it.stuck => {
                let reach = it.maps.get(&page)?;
                (reach.write || !write).then_some(reach.pfn)
            }
            _ => self.device_may_access(page).then_some(page),
        }
    }
}
