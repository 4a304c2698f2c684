//! Devices that reach memory by themselves: what an SMMU translates for them, and the seam to it.
//!
//! Every stream (a device behind an SMMU) belongs to one [`Domain`], a stage-2 table of its own:
//! the host's by default, which maps what the host owns and what guests share, and nothing else
//! (I4). [`Dma`] is how hyp-core tells the SMMUs that a table changed.
//!
//! A machine without an SMMU implements [`Dma`] with nothing, and has no [`DmaConfig`]: no table,
//! no work.

use crate::addr::{Ipa, Pfn, VmId};
use crate::machine::TableMemory;
use crate::memory::{Range, Ranges};
use crate::stage2::Geometry;

/// Whose table a stream translates by. Each has a VMID of its own in every SMMU.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Domain {
    /// The host's memory, at its physical addresses: every stream that nobody asked for.
    Host,
    /// A table of addresses that the host chose, for one stream of its own.
    Own(u8),
    /// A VM's stage 2.
    Vm(VmId),
}

/// A stream of one of the SMMUs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamKey {
    /// Which SMMU, in the order of the device tree.
    pub smmu: u8,
    /// Which of its streams, or of its context banks.
    pub stream: u32,
}

/// An SMMU no longer does what it is told, and will not again: what it cached of a table, it may
/// use for ever. No frame that a device may reach changes its owner any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DmaLost;

/// Why a stream does not lead where it should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttachError {
    /// There is no such SMMU or stream.
    NoStream,
    /// The machine has no more room for an entry of its own for this stream.
    NoRoom,
    /// See [`DmaLost`]. The stream may lead to where it did, to nowhere, or where it should.
    Lost,
}

/// A table as an SMMU is told of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DmaTable {
    /// Whose: the tag of its translations.
    pub domain: Domain,
    /// First frame of the (concatenated) root table.
    pub root: Pfn,
    /// Shape: 4 KiB granule, output addresses as wide as input addresses.
    pub geometry: Geometry,
}

/// Where DMA tables are, and what is in them besides RAM. Given at boot if there is an SMMU.
#[derive(Clone, Debug)]
pub struct DmaConfig {
    /// Shape of the host's DMA table, which every SMMU can walk. It may be narrower than the
    /// CPU's: what lies beyond no device reaches.
    pub geometry: Geometry,
    /// Pages that devices write interrupt messages to: device memory, not Ward's.
    pub doorbells: Ranges,
    /// [`DmaConfig::frames`] frames for the table, in [`Config::hyp`](crate::Config::hyp), the
    /// first aligned to the root's size. Their contents do not matter.
    pub tables: Range,
}

impl DmaConfig {
    /// How many frames the host's DMA table takes, all of which it uses from boot on: no change
    /// of it ever needs another, or frees one. 1/512 of RAM and a few more.
    pub fn frames(geometry: Geometry, ram: &Ranges, doorbells: &Ranges) -> u64 {
        let parts = || ram.as_slice().iter().chain(doorbells.as_slice());
        let below_root = geometry.start_level() + 1..=3;
        let tables = below_root.flat_map(|level| {
            // Frames that one table of this level stands for.
            let span = 1_u64 << (9 * (4 - u32::from(level)));
            parts().map(move |part| (part.end().0 - 1) / span - part.first.0 / span + 1)
        });
        geometry.root_frames() + tables.sum::<u64>()
    }
}

/// The SMMUs, as hyp-core sees them.
///
/// All methods may be called from any CPU at once, with hyp-core's locks held: each SMMU has a
/// lock of its own below those, and none of hyp-core's is taken under it. Every wait is bounded.
///
/// The order in which a translation ends, which hyp-core keeps and no method may weaken:
///
/// 1. [`Dma::dma_write_entry`] makes descriptors invalid,
/// 2. [`Dma::dma_forget`] for their addresses, as often as needed, without a wait,
/// 3. one [`Dma::dma_sync`]. Once it has returned `Ok` no access of any device that used them is
///    under way, and no cache of any SMMU holds them or a table on the walk to them.
/// 4. Then, and not before, frames have another owner, addresses another meaning, tables another use.
pub trait Dma: TableMemory {
    /// Writes descriptor `index` of a table page that an SMMU may walk: as
    /// [`TableMemory::write_entry`], and cleaned to the point of coherency where an SMMU does not
    /// snoop.
    fn dma_write_entry(&self, table: Pfn, index: usize, entry: u64) {
        self.write_entry(table, index, entry);
    }

    /// Makes all descriptor writes by this CPU visible to the walkers of every SMMU. Needed after
    /// an invalid entry became valid.
    fn dma_publish(&self) {
        self.publish();
    }

    /// Asks every SMMU to forget `pages` pages of a domain from `first` on, and the walks to
    /// them. Ordered after all earlier [`Dma::dma_write_entry`] of this CPU. Does not wait for
    /// completion; an SMMU that fails here fails the next [`Dma::dma_sync`].
    fn dma_forget(&self, _domain: Domain, _first: Ipa, _pages: u64) {}

    /// Waits until every SMMU has done what any CPU asked of it before.
    ///
    /// # Errors
    /// [`DmaLost`] when one has not, or is lost since earlier: then always.
    fn dma_sync(&self) -> Result<(), DmaLost> {
        Ok(())
    }

    /// Is it known that an SMMU is lost? Once true, always true. What is refused for it is refused
    /// before anything changes; an SMMU may be lost a moment later.
    fn dma_lost(&self) -> bool {
        false
    }

    /// Is there such a stream?
    fn dma_has(&self, _stream: StreamKey) -> bool {
        false
    }

    /// Leads a stream to a table, or (`None`) nowhere: each access aborts. On return no access by
    /// the way it led before is under way, and nothing of the stream's configuration is cached;
    /// translations of the *domain* it left are still to be forgotten ([`Dma::dma_end`]).
    ///
    /// # Errors
    /// [`AttachError`]; unless it is [`AttachError::Lost`], nothing changed.
    fn dma_attach(&self, _stream: StreamKey, _table: Option<DmaTable>) -> Result<(), AttachError> {
        Err(AttachError::NoStream)
    }

    /// Ends the use of a domain that no stream leads to any more: everything of it is forgotten,
    /// waited for, and its name may come to mean another table.
    ///
    /// # Errors
    /// [`DmaLost`].
    fn dma_end(&self, _domain: Domain) -> Result<(), DmaLost> {
        Ok(())
    }
}
