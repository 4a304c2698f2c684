//! What the host sees of registers that are Ward's: what it wrote and was granted.

use super::register;

/// The host's copy of one context bank.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BankView {
    pub(super) control: u32,
    pub(super) shape: u32,
    pub(super) root: u64,
    pub(super) attributes: u32,
    pub(super) attributes2: u32,
}

impl BankView {
    /// As a reset leaves it.
    pub(super) const RESET: BankView = BankView {
        control: 0,
        shape: 0,
        root: 0,
        attributes: 0,
        attributes2: register::CBA2R_VA64,
    };
}

/// The host's copy of one group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Group {
    /// `SMR`.
    pub(super) matches: u32,
    /// `S2CR`: type and bank.
    pub(super) route: u32,
    /// What the hardware holds: the match, and the bank it leads to.
    pub(super) in_effect: Option<(u32, u8)>,
}

impl Group {
    /// Matches nothing.
    pub(super) const RESET: Group = Group {
        matches: 0,
        route: register::S2CR_FAULT,
        in_effect: None,
    };

    pub(super) const fn is_valid(&self) -> bool {
        self.matches & register::SMR_VALID != 0
    }

    /// Does it match the stream?
    pub(super) const fn covers(&self, stream: u16) -> bool {
        self.is_valid() && differs(self.matches, stream as u32) == 0
    }

    /// Is there a stream that both match? `matches` is valid.
    pub(super) const fn overlaps(&self, matches: u32) -> bool {
        self.is_valid() && differs(self.matches, matches) & !(matches >> 16) == 0
    }
}

/// Bits of the identifier in which they differ and to which the first pays heed.
const fn differs(matches: u32, other: u32) -> u32 {
    (matches ^ other) & !(matches >> 16) & 0x7fff
}
