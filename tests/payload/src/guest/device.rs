//! The emulated device: every size of access, refusals, and a page enrolled by MMIO_GUARD.

use super::hvc1;
use super::report::{Report, Wrong, holds, same};
use crate::protocol::{GUARDED, MMIO, RAM, reg};
use crate::rt::probe;
use hyp_core::abi::smccc;

/// KVM's INVALID_PARAMETER.
const INVALID: u64 = -3_i64 as u64;
const PATTERN: u64 = 0x8182_8384_8586_8788;

pub(super) fn run(report: &mut Report) {
    report.check("mmio-every-size", sizes(MMIO + reg::SCRATCH));
    report.check("mmio-refused-is-an-abort", refused());
    report.check("mmio-without-syndrome-is-an-abort", pair());
    report.check("mmio-guard", guard());
}

fn sizes(scratch: u64) -> Result<(), Wrong> {
    for size in [8, 4, 2, 1] {
        let mask = u64::MAX >> (64 - 8 * size);
        let write = probe::write_sized(scratch, size, PATTERN);
        holds("write", write.is_ok())?;
        same(
            "what was written",
            probe::read_sized(scratch, 8).unwrap_or(0),
            PATTERN & mask,
        )?;
        same(
            "read of the same size",
            probe::read_sized(scratch, size).unwrap_or(0),
            PATTERN & mask,
        )?;
    }
    Ok(())
}

fn refused() -> Result<(), Wrong> {
    let address = MMIO + reg::REFUSED;
    let read = probe::read(address);
    holds(
        "read",
        read.is_err_and(|fault| fault.is_external_abort() && fault.far == address),
    )?;
    holds(
        "write",
        probe::write(address, 1).is_err_and(|fault| fault.is_external_abort()),
    )
}

fn pair() -> Result<(), Wrong> {
    holds("LDP", probe::read_pair(MMIO + reg::SCRATCH).is_err())
}

fn guard() -> Result<(), Wrong> {
    let before = probe::read(GUARDED + reg::SCRATCH);
    holds(
        "before: abort",
        before.is_err_and(|fault| fault.is_external_abort()),
    )?;
    let enrol = |address| hvc1(smccc::KVM_MMIO_GUARD, address);
    same("MMIO_GUARD of memory", enrol(RAM), INVALID)?;
    same("MMIO_GUARD, unaligned", enrol(GUARDED + 4), INVALID)?;
    same("MMIO_GUARD", enrol(GUARDED), 0)?;
    same("MMIO_GUARD again", enrol(GUARDED), 0)?;
    sizes(GUARDED + reg::SCRATCH)?;
    let next = probe::read(GUARDED + 4096);
    holds(
        "the next page: abort",
        next.is_err_and(|fault| fault.is_external_abort()),
    )
}
