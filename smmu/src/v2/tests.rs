//! The filter and the driver against a model of an MMU-500's registers.

mod attack;
mod driver;
mod print;
mod property;
mod walk;

use super::model::{Effect, Model};
use super::{Access, Answer, Direction, Owner, Plan, Reason, Shape, Smmu, Stage2, StartError};
use crate::ident::AddressBits;

const EMPTY: u64 = 0x1_2345_6000;
const HOST: u64 = 0x2_0000_0000;
const ROOTS: u64 = 0x3_0000_0000;
/// A table of the host's making, which must never be walked.
const EVIL: u64 = 0x4_4444_4000;
/// Pages of registers before the first bank's.
const PAGES: u64 = 16;

fn table(root: u64) -> Stage2 {
    let output = AddressBits::of_v2(4).unwrap();
    Stage2::new(root, 40, 1, output, true).unwrap()
}

/// The table of a bank that a test assigns.
fn root(bank: u8) -> u64 {
    ROOTS + u64::from(bank) * 0x1_0000
}

fn plan() -> Plan {
    Plan {
        empty: table(EMPTY),
        default: Some(table(HOST)),
        streams: 4,
        mmu500: true,
    }
}

fn start(hw: &Model, plan: Plan) -> Result<Smmu, StartError> {
    let shape = Shape::read(hw).map_err(StartError::Unfit)?;
    let mut smmu = Smmu::new(shape, plan);
    smmu.start(hw)?;
    Ok(smmu)
}

fn started(plan: Plan) -> (Model, Smmu) {
    let hw = Model::new();
    let smmu = start(&hw, plan).unwrap();
    (hw, smmu)
}

/// Bank 0 is the host's, 1 a VM's with stream 0x21, 2 nobody's. The host has routed stream 0x10
/// to bank 0 by group 3.
fn scene() -> (Model, Smmu) {
    let (hw, mut smmu) = started(plan());
    smmu.assign(&hw, 0, Owner::Host, &table(root(0))).unwrap();
    smmu.assign(&hw, 1, Owner::Vm(7), &table(root(1))).unwrap();
    smmu.give(&hw, 0x21, 1).unwrap();
    assert_eq!(write(&mut smmu, &hw, s2cr(3), 4, 0), Answer::Done);
    assert_eq!(
        write(&mut smmu, &hw, smr(3), 4, 1 << 31 | 0x10),
        Answer::Done
    );
    assert_eq!(hw.effect(0x10), Effect::Table(root(0)));
    assert_eq!(hw.effect(0x21), Effect::Table(root(1)));
    (hw, smmu)
}

fn write(smmu: &mut Smmu, hw: &Model, offset: u64, bytes: u8, value: u64) -> Answer {
    let direction = Direction::Write(value);
    let access = Access {
        offset,
        bytes,
        direction,
    };
    smmu.access(hw, &access)
}

fn read(smmu: &mut Smmu, hw: &Model, offset: u64, bytes: u8) -> Answer {
    let direction = Direction::Read;
    let access = Access {
        offset,
        bytes,
        direction,
    };
    smmu.access(hw, &access)
}

fn reason(answer: Answer) -> Option<Reason> {
    match answer {
        Answer::Refused(reason) => Some(reason),
        _ => None,
    }
}

fn smr(group: u64) -> u64 {
    0x800 + group * 4
}

fn s2cr(group: u64) -> u64 {
    0xc00 + group * 4
}

fn cbar(bank: u64) -> u64 {
    0x1000 + bank * 4
}

fn cba2r(bank: u64) -> u64 {
    0x1800 + bank * 4
}

fn bank(n: u64, register: u64) -> u64 {
    (PAGES + n) * 0x1000 + register
}
