//! The registers of a normal VM as its host reads and writes them, in the run page.
//!
//! A normal VM's host may set any register, but not one that reaches past EL1: PSTATE decides
//! where ERET goes (DDI 0487 C5.2.19), so its mode is one of EL0 and EL1 or the window is refused.

use super::context::{Fp, PSTATE_AARCH32, PSTATE_MODE};
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

/// What a vCPU gets of a host's PSTATE: the bits that have a meaning.
///
/// # Errors
/// [`Error::InvalidArgument`] for one that would not stay at EL0 or EL1 in AArch64.
pub fn pstate(word: u64) -> Result<u64, Error> {
    if MODES.contains(&mode(word)) {
        Ok(word & (PSTATE_FREE | mode(word)))
    } else {
        Err(Error::InvalidArgument)
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
