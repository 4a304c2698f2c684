//! Each rule of the driver against a model of the hardware, with the attack and the fault in
//! the middle.

mod attack;
mod encoding;
mod event;
mod fault;
mod model;
mod queue;
mod random;
mod start;
mod stream;
mod tlb;

use super::{Hardware, Placement, Shape, Smmu, Stage2Config, Ste, StreamId, StreamTable, Vmid};
use crate::ident::AddressBits;
use model::Model;

const TABLE: u64 = 0x10_0000;
const SHARED: u64 = 0x20_0000;
const COMMANDS: u64 = 0x30_0000;
const EVENTS: u64 = 0x40_0000;
const PAGE: u64 = 0x50_0000;
const ROOT_A: u64 = 0x100_0000;
const ROOT_B: u64 = 0x200_0000;
const DEVICE: u32 = 0x0108;
const SEEDS: core::ops::Range<u64> = 0..60;

fn place() -> Placement {
    Placement {
        streams: StreamTable::new(TABLE, 16, Shape::TwoLevel { shared: SHARED }),
        commands: COMMANDS,
        command_order: 4,
        events: EVENTS,
        event_order: 4,
    }
}

fn output() -> AddressBits {
    let hw = Model::new(0);
    super::Capabilities::read(&hw).unwrap().output
}

fn stage2(vmid: Vmid, root: u64) -> Ste {
    Ste::Stage2(Stage2Config::new(vmid, root, 40, 1, output(), true).unwrap())
}

/// Maps a page in a table of 40 bits, each table page next to the one above it: all addresses of
/// a test lie in one region of 2 MiB.
fn map(hw: &Model, root: u64, ipa: u64, pa: Option<u64>, write: bool) {
    let (level2, level3) = (root + 0x2000, root + 0x3000);
    hw.store(root + (ipa >> 30) * 8, level2 | 3);
    hw.store(level2 + (ipa >> 21 & 511) * 8, level3 | 3);
    let leaf = pa.map_or(0, |pa| pa | 0x743 | u64::from(write) << 7);
    hw.store(level3 + (ipa >> 12 & 511) * 8, leaf);
    hw.order();
}

/// A running SMMU whose every stream has the host's table A, in which two pages are mapped.
fn running(seed: u64) -> (Model, Smmu) {
    let hw = Model::new(seed);
    map(&hw, ROOT_A, 0x4000_0000, Some(0x4000_0000), true);
    map(&hw, ROOT_A, 0x4000_1000, Some(0x4000_1000), false);
    let smmu = Smmu::start(&hw, &place(), &stage2(Vmid::HOST, ROOT_A)).unwrap();
    hw.done();
    (hw, smmu)
}

/// The same, with an own entry for [`DEVICE`] to come.
fn separated(seed: u64) -> (Model, Smmu) {
    let (hw, mut smmu) = running(seed);
    smmu.separate(&hw, StreamId(DEVICE), PAGE).unwrap();
    (hw, smmu)
}
