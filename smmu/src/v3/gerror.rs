//! Global errors (IHI 0070, 6.3.19 and 7.5): what went wrong outside of any stream.

use super::{Hardware, register};

/// Errors that were active, as bits of `SMMU_GERROR`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GlobalErrors(pub u32);

impl GlobalErrors {
    /// Takes and acknowledges what is active, but for the command queue's error, which belongs to
    /// whoever waits for that queue.
    pub fn take<H: Hardware>(hw: &H) -> Self {
        let acknowledged = hw.read32(register::GERRORN);
        let active = (hw.read32(register::GERROR) ^ acknowledged) & Self::KNOWN;
        if active != 0 {
            hw.write32(register::GERRORN, acknowledged ^ active);
        }
        GlobalErrors(active)
    }

    /// All defined bits but `CMDQ_ERR`.
    const KNOWN: u32 = 0x1fc;

    /// Nothing was wrong.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// `EVENTQ_ABT_ERR`: an event could not be written and is gone.
    pub const fn event_lost(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    /// `SFM_ERR`: the SMMU has entered service failure mode. It ends all traffic; only a reset
    /// brings it back.
    pub const fn service_failure(self) -> bool {
        self.0 & 1 << 8 != 0
    }
}
