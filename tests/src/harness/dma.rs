//! What devices do, on both sides.

use super::World;
use crate::fake::{STREAMS, Sched};
use hyp_core::dma::StreamKey;

impl<S: Sched> World<S> {
    /// A device of the host's loads or stores 8 bytes.
    ///
    /// # Errors
    /// What Ward did otherwise than specified.
    pub fn dma(
        &self,
        stream: StreamKey,
        iova: u64,
        write: Option<u64>,
    ) -> Result<Option<u64>, String> {
        let mut inner = self.inner();
        inner.note(format!("{stream:x?} access {iova:#x}, store {write:x?}"));
        let result = self.fake.dma(stream, iova, write);
        let (pfn, index) = (iova >> 12, (iova >> 3 & 511) as u16);
        let spec = &mut inner.spec;
        let may = spec.device_may_access(pfn);
        if result.is_ok() != may {
            return Err(format!(
                "{stream:x?}: access to {iova:#x} gave {result:x?}, permitted is {may}"
            ));
        }
        match (result, write) {
            (Ok(_), Some(value)) if spec.is_ram(pfn) => spec.write(pfn, index, value),
            (Ok(value), None) if spec.is_ram(pfn) && value != spec.word(pfn, index) => {
                return Err(format!("{stream:x?} reads {value:#x} at {iova:#x}"));
            }
            _ => {}
        }
        *inner
            .tally
            .entry(format!("device access: {}", result.is_ok()))
            .or_default() += 1;
        let full = inner.full();
        self.compare(&mut inner.spec, false, full)?;
        Ok(result.ok())
    }

    /// The same from any device.
    ///
    /// # Errors
    /// As [`World::dma`].
    pub fn any_dma(&self, iova: u64, write: Option<u64>) -> Result<Option<u64>, String> {
        let stream = self.inner().rng.pick(&STREAMS);
        self.dma(stream, iova, write)
    }

    /// From now on an SMMU does not answer. Ward finds out when it asks next.
    pub fn lose_smmu(&self) {
        let mut inner = self.inner();
        inner.note("an SMMU is lost".into());
        inner.spec.lost = true;
        self.fake.state().dma.failing = true;
    }
}
