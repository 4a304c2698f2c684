//! The host sees all RAM but Ward's, and can use it.

use std::fs::File;
use std::ops::{Range, RangeInclusive};
use std::os::unix::fs::FileExt;

use anyhow::{Context as _, Result, bail};

use crate::proc;
use crate::report::Report;
use crate::scenario::Context;

/// What Ward's image and its CPUs' stacks may take at most, and its records and tables, in 1/10000
/// of RAM.
const WARDS_SHARE: (u64, u64) = (704 << 10, 24);
/// All of that on a machine with an SMMU, for which there are tables of single pages.
const WITH_TABLES: (u64, u64) = (0, 60);
/// Where RAM begins on QEMU's machine `virt`.
pub(crate) const RAM: u64 = 0x4000_0000;
/// One word of each such piece is read.
const STEP: u64 = 2 << 20;

fn ram() -> Result<Vec<RangeInclusive<u64>>> {
    let ranges = proc::iomem("System RAM")?;
    if ranges.iter().all(|range| *range.end() == 0) {
        bail!("/proc/iomem shows no addresses");
    }
    Ok(ranges)
}

fn size(range: &RangeInclusive<u64>) -> u64 {
    range.end() - range.start() + 1
}

/// No more is missing from the machine's RAM than Ward may take.
pub(crate) fn all_there(context: &Context, report: &mut Report) -> Result<()> {
    share(context, report, WARDS_SHARE)
}

/// The same on a machine with an SMMU.
pub(crate) fn all_there_but_tables(context: &Context, report: &mut Report) -> Result<()> {
    share(context, report, WITH_TABLES)
}

fn share(context: &Context, report: &mut Report, (fixed, share): (u64, u64)) -> Result<()> {
    let seen: u64 = ram()?.iter().map(size).sum();
    let taken = context
        .memory
        .checked_sub(seen)
        .with_context(|| format!("{seen} bytes of RAM, of {} in the machine", context.memory))?;
    report.note(&format!(
        "memory taken from the host: {} KiB of {} MiB",
        taken >> 10,
        context.memory >> 20
    ));
    let limit = fixed + context.memory / 10_000 * share;
    if taken > limit {
        bail!(
            "{taken} bytes of {} are missing from /proc/iomem: more than {limit}",
            context.memory
        );
    }
    Ok(())
}

/// Every piece of it is mapped in stage 2, from the first byte to the last.
pub(crate) fn readable(_: &Context, _: &mut Report) -> Result<()> {
    let memory = File::open("/dev/mem").context("cannot open /dev/mem")?;
    // Linux takes its own data out of the linear map, by which this device reads.
    let hidden = proc::iomem_within("Kernel data")?;
    let mut word = [0; 8];
    for range in ram()? {
        let last = range.end() - 7;
        let starts = (*range.start()..last).step_by(usize::try_from(STEP)?);
        for address in starts.chain([last]) {
            if hidden.iter().any(|data| data.contains(&address)) {
                continue;
            }
            memory
                .read_exact_at(&mut word, address)
                .with_context(|| format!("cannot read RAM at {address:#x}"))?;
        }
    }
    Ok(())
}

/// The pieces of the machine's RAM that the host was not given: Ward's.
pub(crate) fn withheld(context: &Context) -> Result<Vec<RangeInclusive<u64>>> {
    let found = gaps(&ram()?, RAM..RAM + context.memory);
    if found.is_empty() {
        bail!("the host was given all RAM: Ward has none of its own");
    }
    Ok(found)
}

/// What of `all` is in none of the ranges, which are in order.
fn gaps(ranges: &[RangeInclusive<u64>], all: Range<u64>) -> Vec<RangeInclusive<u64>> {
    let (mut next, mut found) = (all.start, Vec::new());
    for range in ranges {
        if next < *range.start() {
            found.push(next..=range.start() - 1);
        }
        next = range.end() + 1;
    }
    if next < all.end {
        found.push(next..=all.end - 1);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_is_found() {
        let ram = [10..=19, 25..=29];
        assert_eq!(gaps(&ram, 10..40), [20..=24, 30..=39]);
        assert_eq!(gaps(&ram, 5..30), [5..=9, 20..=24]);
        assert!(gaps(&[0..=9], 0..10).is_empty());
    }
}
