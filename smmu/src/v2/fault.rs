//! Faults of context banks that are not the host's to read.

use super::register;
use super::{Hardware, Owner, Smmu};
use crate::report::Report;

/// `FSYNR0.WNR`: it was a write.
const WRITE: u32 = 1 << 4;
/// `CBFRSYNRA.SID`.
const STREAM: u32 = 0xffff;

impl Smmu {
    /// The first fault of a bank of a VM's or of Ward's own since the last time; later ones are
    /// not recorded until it is read. A bank of the host's keeps its faults for the host.
    pub fn fault<H: Hardware>(&mut self, hw: &H, bank: u8) -> Option<Report> {
        let own = bank >= self.host_banks() && bank < self.shape.banks;
        if !own && !matches!(self.owner(bank), Some(Owner::Vm(_))) {
            return None;
        }
        let at = |register| self.shape.bank(bank, register);
        let status = hw.read32(at(register::FSR));
        let why = reason(status)?;
        let low = hw.read32(at(register::FAR));
        let high = hw.read32(at(register::FAR + 4));
        let syndrome = hw.read32(at(register::FSYNR0));
        let from = self.shape.global1(register::CBFRSYNRA) + u32::from(bank) * 4;
        let report = Report {
            stream: hw.read32(from) & STREAM,
            address: Some(u64::from(high) << 32 | u64::from(low)),
            write: Some(syndrome & WRITE != 0),
            why,
        };
        // What was recorded is read before it may be recorded anew.
        hw.write32(at(register::FSR), status);
        Some(report)
    }
}

/// `FSR`: the first that is set says why.
fn reason(status: u32) -> Option<&'static str> {
    let reasons = [
        (1, "nothing is mapped there"),
        (2, "the access flag is not set"),
        (3, "it is mapped, but not for this"),
        (4, "a table or the memory could not be read"),
        (5, "two translations for one address: a bug of Ward's"),
        (6, "the TLB is locked"),
        (7, "the address is too large"),
        (8, "the SMMU does not know this kind of access"),
    ];
    let set = |(bit, _): &&(u32, &str)| status >> bit & 1 == 1;
    let known = reasons.iter().find(set).map(|(_, why)| *why);
    let any = status != 0;
    known.or_else(|| any.then_some("for a reason that Ward does not know"))
}
