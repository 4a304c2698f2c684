//! The first thing that is done to an SMMUv2: nothing passes it any more.

use super::register;
use super::{Hardware, StartError};

/// `IDR0.SMS`: streams are matched; else each is the number of its group.
const MATCHES: u32 = 1 << 27;
/// `IDR0.NUMSMRG`, and as many registers as there are in the first page.
const GROUPS: u32 = 0xff;
const MOST: u32 = super::ident::MOST as u32;

/// Ends every stream, in whatever state the SMMU is, and also of one that Ward can't drive
/// otherwise. A stream that firmware confined does not pass for a moment.
///
/// # Errors
/// [`StartError::NoAnswer`]: it does not do what it is told.
pub fn abort_all<H: Hardware>(hw: &H) -> Result<(), StartError> {
    // What no group matches is ended from here on, unless firmware lets everything pass. The
    // width of streams changes only while no group is valid in either form (IHI 0062D.c, 2.3.1).
    let left = hw.read32(register::CR0) & register::CR0_LEFT;
    hw.write32(register::CR0, register::CR0_FIXED | left);
    for n in 0..groups(hw.read32(register::IDR0)) {
        // In this order, whichever of the two makes the group valid: it ends, then it is none.
        hw.write32(register::S2CR + n * 4, register::S2CR_FAULT);
        hw.write32(register::SMR + n * 4, 0);
    }
    // Nor are there more groups elsewhere, or a table of them (chapter 14).
    hw.write32(register::CR2, 0);
    hw.write32(register::CR0, register::CR0_FIXED);
    let seen = hw.read32(register::CR0);
    if seen & (register::CR0_CLIENTPD | register::CR0_USFCFG) == register::CR0_USFCFG {
        Ok(())
    } else {
        Err(StartError::NoAnswer)
    }
}

/// How many groups an SMMU has that says this of itself. `NUMSIDB` is in bits 12:9.
fn groups(idr0: u32) -> u32 {
    let all = if idr0 & MATCHES != 0 {
        idr0 & GROUPS
    } else {
        1 << (idr0 >> 9 & 15)
    };
    all.min(MOST)
}
