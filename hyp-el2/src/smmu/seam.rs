//! What hyp-core asks of the SMMUs, of whatever kind each is: [`hyp_core::dma::Dma`].

use hyp_core::addr::Ipa;
use hyp_core::dma::{AttachError, DmaLost, DmaTable, Domain, StreamKey};

/// One SMMU with its lock. A stream of an SMMUv3 is named by its number; of an SMMUv2 a context
/// bank is, to which the host's own driver leads streams. One that translates nothing has no
/// stream, and nothing to forget.
pub trait Seam {
    /// [`hyp_core::dma::Dma::dma_forget`].
    ///
    /// # Errors
    /// [`DmaLost`]: this SMMU is.
    fn forget(&self, domain: Domain, first: Ipa, pages: u64) -> Result<(), DmaLost>;

    /// [`hyp_core::dma::Dma::dma_sync`].
    ///
    /// # Errors
    /// [`DmaLost`]: this SMMU is.
    fn sync(&self) -> Result<(), DmaLost>;

    /// [`hyp_core::dma::Dma::dma_has`].
    fn has(&self, stream: u32) -> bool;

    /// [`hyp_core::dma::Dma::dma_attach`].
    ///
    /// # Errors
    /// [`AttachError`].
    fn attach(&self, stream: u32, table: Option<DmaTable>) -> Result<(), AttachError>;

    /// [`hyp_core::dma::Dma::dma_end`].
    ///
    /// # Errors
    /// [`DmaLost`]: this SMMU is.
    fn end(&self, domain: Domain) -> Result<(), DmaLost>;
}

/// All SMMUs, in the order of the device tree.
#[derive(Clone, Copy, Debug)]
pub struct All<'a, U> {
    /// Each of them.
    pub units: &'a [U],
    /// Once one is lost, memory changes its owner no more.
    pub lose: fn(),
}

impl<U: Seam> All<'_, U> {
    /// Asks each in turn, also when one before it is lost.
    fn each(&self, ask: impl Fn(&U) -> Result<(), DmaLost>) {
        for unit in self.units {
            if ask(unit).is_err() {
                (self.lose)();
            }
        }
    }

    /// Asks each that has to do with the domain, without waiting.
    pub fn forget(&self, domain: Domain, first: Ipa, pages: u64) {
        self.each(|smmu| smmu.forget(domain, first, pages));
    }

    /// Waits for each.
    pub fn sync(&self) {
        self.each(Seam::sync);
    }

    /// Ends a domain in each.
    pub fn end(&self, domain: Domain) {
        self.each(|smmu| smmu.end(domain));
    }

    fn one(&self, stream: StreamKey) -> Option<&U> {
        self.units.get(usize::from(stream.smmu))
    }

    /// Is there such a stream, or bank?
    pub fn has(&self, stream: StreamKey) -> bool {
        self.one(stream).is_some_and(|smmu| smmu.has(stream.stream))
    }

    /// Leads a stream, or a bank, to a table or nowhere.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach(&self, stream: StreamKey, table: Option<DmaTable>) -> Result<(), AttachError> {
        let smmu = self.one(stream).ok_or(AttachError::NoStream)?;
        let led = smmu.attach(stream.stream, table);
        if led == Err(AttachError::Lost) {
            (self.lose)();
        }
        led
    }
}
