//! What hyp-core asks of the SMMUs, of whatever kind each is: [`hyp_core::dma::Dma`].

use hyp_core::addr::Ipa;
use hyp_core::dma::{AttachError, DmaLost, DmaTable, Domain, StreamKey};

/// One SMMU under its lock. A stream of an SMMUv3 is named by its number; of an SMMUv2 a context
/// bank is, to which the host's own driver leads streams.
pub trait Seam {
    /// [`hyp_core::dma::Dma::dma_forget`].
    ///
    /// # Errors
    /// [`DmaLost`]: this SMMU is.
    fn forget(&mut self, domain: Domain, first: Ipa, pages: u64) -> Result<(), DmaLost>;

    /// [`hyp_core::dma::Dma::dma_sync`].
    ///
    /// # Errors
    /// [`DmaLost`]: this SMMU is.
    fn sync(&mut self) -> Result<(), DmaLost>;

    /// [`hyp_core::dma::Dma::dma_has`].
    fn has(&self, stream: u32) -> bool;

    /// [`hyp_core::dma::Dma::dma_attach`].
    ///
    /// # Errors
    /// [`AttachError`].
    fn attach(&mut self, stream: u32, table: Option<DmaTable>) -> Result<(), AttachError>;

    /// [`hyp_core::dma::Dma::dma_end`].
    ///
    /// # Errors
    /// [`DmaLost`]: this SMMU is.
    fn end(&mut self, domain: Domain) -> Result<(), DmaLost>;
}

/// An SMMU with its lock.
pub trait Ask {
    /// Takes the lock and asks, unless this SMMU translates nothing.
    fn ask(&self, ask: &mut dyn FnMut(&mut dyn Seam));
}

/// All SMMUs, in the order of the device tree.
#[derive(Clone, Copy, Debug)]
pub struct All<'a, U> {
    /// Each of them.
    pub units: &'a [U],
    /// Once one is lost, memory changes its owner no more.
    pub lose: fn(),
}

impl<U: Ask> All<'_, U> {
    /// Asks each in turn, also when one before it is lost.
    fn each(&self, ask: &mut dyn FnMut(&mut dyn Seam) -> Result<(), DmaLost>) {
        for unit in self.units {
            let mut lost = false;
            unit.ask(&mut |smmu| lost = ask(smmu).is_err());
            if lost {
                (self.lose)();
            }
        }
    }

    /// Asks each that has to do with the domain, without waiting.
    pub fn forget(&self, domain: Domain, first: Ipa, pages: u64) {
        self.each(&mut |smmu| smmu.forget(domain, first, pages));
    }

    /// Waits for each.
    pub fn sync(&self) {
        self.each(&mut |smmu| smmu.sync());
    }

    /// Ends a domain in each.
    pub fn end(&self, domain: Domain) {
        self.each(&mut |smmu| smmu.end(domain));
    }

    fn one(&self, stream: StreamKey, ask: &mut dyn FnMut(&mut dyn Seam)) {
        if let Some(unit) = self.units.get(usize::from(stream.smmu)) {
            unit.ask(ask);
        }
    }

    /// Is there such a stream, or bank?
    pub fn has(&self, stream: StreamKey) -> bool {
        let mut has = false;
        self.one(stream, &mut |smmu| has = smmu.has(stream.stream));
        has
    }

    /// Leads a stream, or a bank, to a table or nowhere.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach(&self, stream: StreamKey, table: Option<DmaTable>) -> Result<(), AttachError> {
        let mut led = Err(AttachError::NoStream);
        self.one(stream, &mut |smmu| led = smmu.attach(stream.stream, table));
        if led == Err(AttachError::Lost) {
            (self.lose)();
        }
        led
    }
}
