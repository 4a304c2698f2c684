//! The registers of a normal VM as its host reads and writes them, in the run page.
//!
//! A normal VM's host may set any register, but not one that reaches past EL1: PSTATE decides
//! where ERET goes (DDI 0487 C5.2.19), so its mode is one of EL0 and EL1 or the window is refused.

use super::context::{Context, PSTATE_AARCH32, PSTATE_MODE, SYS_REGS, WINDOW_WORDS};
use crate::abi::Error;

/// NZCV, TCO, DIT, UAO, PAN, SSBS, BTYPE and DAIF.
const PSTATE_FREE: u64 =
    0xf << 28 | 1 << 25 | 1 << 24 | 1 << 23 | 1 << 22 | 1 << 12 | 3 << 10 | 0xf << 6;
/// EL0t, EL1t, EL1h.
const MODES: [u64; 3] = [0, 4, 5];

/// M\[4:0\] of a PSTATE.
const fn mode(pstate: u64) -> u64 {
    pstate & (PSTATE_MODE | PSTATE_AARCH32)
}

/// May a vCPU have these registers?
///
/// # Errors
/// [`Error::InvalidArgument`] for a PSTATE that would not stay at EL0 or EL1 in AArch64.
pub fn check(words: &[u64; WINDOW_WORDS]) -> Result<(), Error> {
    if MODES.contains(&mode(words[33])) {
        Ok(())
    } else {
        Err(Error::InvalidArgument)
    }
}

impl Context {
    /// The window that shows these registers.
    pub fn window(&self) -> [u64; WINDOW_WORDS] {
        let mut words = [0; WINDOW_WORDS];
        words[..31].copy_from_slice(&self.x);
        words[31] = self.sp_el0;
        words[32] = self.pc;
        words[33] = self.pstate;
        words[34..].copy_from_slice(&self.sys);
        words
    }

    /// Takes the registers from a window that passed [`check`].
    pub fn set_window(&mut self, words: &[u64; WINDOW_WORDS]) {
        self.x.copy_from_slice(&words[..31]);
        self.sp_el0 = words[31];
        self.pc = words[32];
        self.pstate = words[33] & (PSTATE_FREE | mode(words[33]));
        self.sys.copy_from_slice(&words[34..34 + SYS_REGS]);
    }
}

#[cfg(test)]
mod tests;
