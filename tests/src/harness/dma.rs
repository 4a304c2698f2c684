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
        let spec = &mut inner.spec;
        let reach = spec.reach(stream, iova, write.is_some());
        if result.is_ok() != reach.is_some() {
            return Err(format!(
                "{stream:x?}: access to {iova:#x} gave {result:x?}, it may reach {reach:x?}"
            ));
        }
        let (pfn, index) = (reach.unwrap_or(0), (iova >> 3 & 511) as u16);
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
        // The last one is the default's for good: the generator leaves it alone.
        let [.., last] = STREAMS;
        let mut inner = self.inner();
        let stream = if inner.rng.percent(70) {
            last
        } else {
            inner.rng.pick(&STREAMS)
        };
        drop(inner);
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
