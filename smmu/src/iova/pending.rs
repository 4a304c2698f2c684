//! Leaves that are gone from their table, and perhaps not yet from a TLB: their frames stay pinned.

use super::{Backend, Error, Key, Leaf};

/// Most leaves that wait for one sync.
const MOST: usize = 64;

/// Leaves that wait for a sync, of all SMMUs.
#[derive(Debug)]
pub(super) struct Pending {
    leaves: [Option<(Key, Leaf)>; MOST],
}

impl Pending {
    pub(super) const fn new() -> Self {
        Pending {
            leaves: [None; MOST],
        }
    }

    /// Is there room for one more?
    pub(super) fn is_full(&self) -> bool {
        self.leaves.iter().all(Option::is_some)
    }

    /// Adds one; there is room.
    pub(super) fn push(&mut self, key: Key, leaf: Leaf) {
        if let Some(free) = self.leaves.iter_mut().find(|entry| entry.is_none()) {
            *free = Some((key, leaf));
        }
    }

    /// Does a range of a stream wait?
    pub(super) fn meets(&self, key: Key, iova: u64, bytes: u64) -> bool {
        self.leaves.iter().flatten().any(|(of, leaf)| {
            *of == key && leaf.iova < iova + bytes && iova < leaf.iova + leaf.order.bytes()
        })
    }

    /// Syncs one SMMU and unpins what waited for it.
    ///
    /// # Errors
    /// [`Error::Lost`]: all of it stays pinned, for ever.
    pub(super) fn flush<B: Backend>(&mut self, backend: &mut B, smmu: u8) -> Result<(), Error> {
        let synced = backend.sync(smmu);
        for entry in &mut self.leaves {
            if let Some((key, leaf)) = *entry
                && key.smmu == smmu
            {
                if synced.is_ok() && !leaf.doorbell {
                    backend.unpin(leaf.frame, leaf.order.pages());
                }
                *entry = None;
            }
        }
        Ok(synced?)
    }

    /// An SMMU that something waits for, if any.
    pub(super) fn smmu(&self) -> Option<u8> {
        self.leaves.iter().flatten().map(|(key, _)| key.smmu).next()
    }
}
