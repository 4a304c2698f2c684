//! The SMMUs: taken over before the host runs, told what is no longer mapped, and listened to.
//!
//! ```text
//! abort_all    at the start of boot: nothing passes any more (IHI 0070, 6.3.14)
//! Takeover     what they can do, memory for tables and queues
//! start        every stream translates by the host's DMA table; all others abort
//! forget, sync     hyp-core's table changed: see `hyp_core::dma` for the order
//! look         events, a bounded number, into the log
//! ```
//!
//! An SMMUv3 is Ward's alone. An SMMUv2 stays the host's to see, through a [filter](v2).
//!
//! Each SMMU has a lock, the innermost but the console's; nobody holds two. A wait for hardware
//! ends after 100 ms. An SMMU that does not answer is *lost*, for good: hyp-core then lets no
//! frame change its owner.

mod plan;
pub mod seam;
pub mod v2;

pub use plan::Plan;

#[cfg(target_os = "none")]
mod driver;
#[cfg(target_os = "none")]
mod events;
#[cfg(target_os = "none")]
mod mmio;
#[cfg(target_os = "none")]
mod takeover;

#[cfg(target_os = "none")]
pub use driver::{access, attach, end, forget, has, is_lost, sync, uncoherent};
#[cfg(target_os = "none")]
pub use events::{due, look};
#[cfg(target_os = "none")]
pub use takeover::{Takeover, zero};
