//! The registers of a normal VM as its host reads and writes them, in the run page.
//!
//! A normal VM's host may set any register, but not one that reaches past EL1: PSTATE decides
//! where ERET goes (DDI 0487 C5.2.19), so its mode is one of EL0 and EL1 or the window is refused.

use super::context::{Context, Fp, PSTATE_AARCH32, PSTATE_MODE, SYS_REGS, WINDOW_WORDS};
use crate::abi::Error;
use crate::abi::run::FP_WORDS;

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
    /// Takes the registers from a window that passed [`check`].
    pub fn set_window(&mut self, words: &[u64; WINDOW_WORDS]) {
        self.x.copy_from_slice(&words[..31]);
        self.sp_el0 = words[31];
        self.pc = words[32];
        self.pstate = words[33] & (PSTATE_FREE | mode(words[33]));
        self.sys.copy_from_slice(&words[34..34 + SYS_REGS]);
    }
}

impl Fp {
    /// The registers as the words of a run page.
    pub fn to_words(&self, words: &mut [u64; FP_WORDS]) {
        for (pair, v) in words.chunks_exact_mut(2).zip(self.v) {
            pair.copy_from_slice(&[v as u64, (v >> 64) as u64]);
        }
        [words[64], words[65]] = [self.fpcr, self.fpsr];
    }

    /// Takes the registers from such words; all values are ones that a guest can give them.
    pub fn set_words(&mut self, words: &[u64; FP_WORDS]) {
        for (v, pair) in self.v.iter_mut().zip(words.chunks_exact(2)) {
            *v = u128::from(pair[1]) << 64 | u128::from(pair[0]);
        }
        [self.fpcr, self.fpsr] = [words[64], words[65]];
    }
}

#[cfg(test)]
mod tests;
