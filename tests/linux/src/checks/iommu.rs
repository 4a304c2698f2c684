//! The host leads its devices itself, by Ward's calls: the kernel's own through domains that
//! translate, and one that a program has (VFIO), with a device that does DMA as it is told.

mod edu;
mod vfio;

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::log;
use crate::proc;
use crate::report::Report;
use crate::scenario::Context;
use edu::Edu;
use vfio::{Access, Device, Memory};

const GROUPS: &str = "/sys/kernel/iommu_groups";
/// Where the program maps memory for the device: above all RAM, so that no address is right by chance.
const IOVA: u64 = 0x60_0000_0000;
const PAGE: usize = 4096;
const BLOCK: usize = 2 << 20;
/// What is refused is told one by one: more fills the SMMU's queue of events.
const LITTLE: usize = 8;

/// Each device is in a domain that translates, of the kind that the command line asks for.
pub(crate) fn domains(context: &Context, report: &mut Report) -> Result<()> {
    let wanted: String = context.args.value("domains")?;
    let mut count = 0;
    for group in fs::read_dir(GROUPS).with_context(|| format!("cannot read {GROUPS}"))? {
        let group = group?.path();
        let kind = proc::read(group.join("type"))?;
        ensure!(
            kind == wanted,
            "{} is of type {kind}, not {wanted}",
            group.display()
        );
        count += 1;
    }
    for class in [
        "/sys/class/nvme/nvme0/device",
        "/sys/class/net/eth0/device/..",
    ] {
        let group = fs::canonicalize(class)
            .map(|device| device.join("iommu_group"))
            .with_context(|| format!("cannot find {class}"))?;
        ensure!(group.exists(), "{class} is in no group: no IOMMU is in use");
    }
    report.note(&format!("{count} groups of devices, each of type {wanted}"));
    Ok(())
}

/// Has the console show what Ward says of accesses that it ended, for xtask to judge.
pub(crate) fn refused(_: &Context, report: &mut Report) -> Result<()> {
    let log = log::read()?;
    for line in log.lines().filter(|line| line.contains(" was refused ")) {
        report.note(line);
    }
    Ok(())
}

/// A program's device reaches what is mapped for it, and nothing else: before, after, beside.
pub(crate) fn vfio(_: &Context, report: &mut Report) -> Result<()> {
    let device = Device::open(edu::VENDOR, edu::DEVICE)?;
    let mut edu = Edu::new(&device)?;
    let pages = Memory::new(4 * PAGE, PAGE)?;
    let block = Memory::new(BLOCK, BLOCK)?;
    pages.fill(0, PAGE, 0x5a);
    pages.fill(PAGE, 3 * PAGE, 0);
    block.fill(0, BLOCK, 0);

    // One page that it may read, two that it may write, and one that nobody maps.
    device.map(&pages, 0, PAGE, IOVA, Access::Read)?;
    device.map(&pages, PAGE, 2 * PAGE, IOVA + 0x1000, Access::ReadWrite)?;
    // Before it reads there: of a translation that it knows already, QEMU's SMMU ends an access that
    // is not allowed without an event.
    edu.give(IOVA, LITTLE)?;
    ensure!(
        pages.is(0, PAGE, 0x5a),
        "the device wrote where it may only read"
    );
    edu.take(IOVA, PAGE)?;
    edu.give(IOVA + 0x2000, PAGE)?;
    ensure!(
        pages.is(2 * PAGE, PAGE, 0x5a),
        "the device's page did not arrive"
    );
    ensure!(pages.is(PAGE, PAGE, 0), "the device wrote beside its page");

    // A block, in the middle of which it writes.
    let high = IOVA + (1 << 30);
    device.map(&block, 0, BLOCK, high, Access::ReadWrite)?;
    edu.give(high + 0x12_3000, PAGE)?;
    ensure!(
        block.is(0x12_3000, PAGE, 0x5a),
        "the device's page did not arrive in the block"
    );

    // From here on everything it does is wrong. Ward tells of each.
    pages.fill(0, PAGE, 0x11);
    edu.give(IOVA, LITTLE)?;
    ensure!(
        pages.is(0, PAGE, 0x11),
        "the device wrote where it may only read"
    );
    edu.give(IOVA + 0x3000, LITTLE)?;
    ensure!(
        pages.is(3 * PAGE, PAGE, 0),
        "the device wrote where nothing was mapped"
    );
    device.unmap(IOVA + 0x1000, 2 * PAGE)?;
    device.unmap(high, BLOCK)?;
    pages.fill(PAGE, 2 * PAGE, 0x22);
    block.fill(0, BLOCK, 0x22);
    edu.give(IOVA + 0x2000, LITTLE)?;
    edu.give(high + 0x12_3000, LITTLE)?;
    ensure!(
        pages.is(PAGE, 2 * PAGE, 0x22),
        "the device wrote to a page that was unmapped"
    );
    ensure!(
        block.is(0, BLOCK, 0x22),
        "the device wrote to a block that was unmapped"
    );

    // The address is another's now.
    device.map(&pages, PAGE, PAGE, IOVA + 0x2000, Access::ReadWrite)?;
    edu.give(IOVA + 0x2000, PAGE)?;
    ensure!(
        !pages.is(PAGE, PAGE, 0x22),
        "nothing arrived at the address that is used again"
    );
    ensure!(
        pages.is(2 * PAGE, PAGE, 0x22),
        "the old page is still reached"
    );
    device.detach()?;
    edu.give(IOVA + 0x2000, LITTLE)?;
    report.note("VFIO: 4 transfers as mapped; 6 that were not, in vain");
    Ok(())
}
