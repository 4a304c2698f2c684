//! The wiring against the model of an MMU-500's registers: from the syndrome of a trap, and from
//! what hyp-core asks, to what becomes of each stream.

mod attack;
mod seam;
mod start;
mod trap;

use super::*;
use hyp_core::stage2::Geometry;
use hyp_core::vcpu::esr::Esr;
use smmu::v2::model::{Effect, Model};
use std::vec::Vec;

const BASE: u64 = 0x500_0000;
/// All registers of the model.
const BYTES: u64 = 2 * 16 * 0x1000;
const WINDOW: Closed = Closed {
    base: BASE,
    bytes: BYTES,
};
const HOST: u64 = 0x2_0000_0000;
const EMPTY: u64 = 0x1_2345_6000;
/// Roots of tables of the host's own, by the domain.
const OWN: u64 = 0x3_0000_0000;
/// A table of the host's making, which must never be walked.
const EVIL: u64 = 0x4_4444_4000;
const EL1H: u64 = 5;

fn host_table() -> DmaTable {
    DmaTable {
        domain: Domain::Host,
        root: Pfn(HOST >> 12),
        geometry: Geometry::new(40).unwrap(),
    }
}

fn own_root(n: u8) -> u64 {
    OWN + u64::from(n) * 0x1000
}

fn own_table(n: u8) -> DmaTable {
    DmaTable {
        domain: Domain::Own(n),
        root: Pfn(own_root(n) >> 12),
        geometry: Geometry::new(39).unwrap(),
    }
}

fn setup() -> Setup {
    Setup {
        table: host_table(),
        empty: Pfn(EMPTY >> 12),
        coherent: true,
        mmu500: true,
    }
}

fn limiter() -> Limiter {
    Limiter::new(4, 100)
}

fn started(hw: &Model, setup: &Setup) -> Result<Driver, Off> {
    let shape = Shape::read(hw).unwrap();
    let mut driver = Driver::new(shape, setup.plan(&shape)?, setup.coherent, limiter());
    driver.start(hw)?;
    Ok(driver)
}

fn unit() -> Unit<Model> {
    let hw = Model::new();
    begin(&hw, BYTES).unwrap();
    let driver = started(&hw, &setup()).unwrap();
    Unit::new(hw, WINDOW, driver)
}

/// One load or store as the CPU describes it.
#[derive(Clone, Copy, Debug)]
struct Insn {
    offset: u64,
    /// log2 of its bytes.
    size: u64,
    write: bool,
    rt: u64,
    signed: bool,
    wide: bool,
}

impl Insn {
    fn esr(&self) -> u64 {
        let flag = |flag, at: u32| u64::from(flag) << at;
        // A data abort of EL1, valid, a translation fault of level 3.
        0x24 << 26
            | 1 << 25
            | 1 << 24
            | self.size << 22
            | flag(self.signed, 21)
            | self.rt << 16
            | flag(self.wide, 15)
            | flag(self.write, 6)
            | 7
    }

    fn trap(&self) -> Trap {
        Trap {
            esr: Esr::new(self.esr()),
            ipa: BASE + self.offset,
            pstate: EL1H,
            sctlr: 0,
        }
    }
}

fn log2(bytes: u64) -> u64 {
    bytes.trailing_zeros().into()
}

/// `STR` of x9, as wide as its bytes say.
fn store(unit: &Unit<Model>, offset: u64, bytes: u64, value: u64) -> Outcome {
    let insn = Insn {
        offset,
        size: log2(bytes),
        write: true,
        rt: 9,
        signed: false,
        wide: bytes == 8,
    };
    let mut x = [0; 31];
    x[9] = value;
    let before = x;
    let outcome = unit.access(&insn.trap(), &mut x);
    assert_eq!(x, before, "a store changes no register");
    outcome
}

/// `LDR` to x9.
fn load(unit: &Unit<Model>, offset: u64, bytes: u64) -> (Outcome, u64) {
    let insn = Insn {
        offset,
        size: log2(bytes),
        write: false,
        rt: 9,
        signed: false,
        wide: bytes == 8,
    };
    let mut x = [0x5555; 31];
    let outcome = unit.access(&insn.trap(), &mut x);
    (outcome, x[9])
}

fn why(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Refused(refused) => refused.why,
        _ => panic!("{outcome:?}"),
    }
}

fn smr(group: u64) -> u64 {
    0x800 + group * 4
}

fn s2cr(group: u64) -> u64 {
    0xc00 + group * 4
}

fn bank(n: u64, register: u64) -> u64 {
    (16 + n) * 0x1000 + register
}

/// The host leads a stream to bypass (`None`) or to a bank.
fn lead(unit: &Unit<Model>, group: u64, stream: u64, to: Option<u64>) {
    let route = to.unwrap_or(1 << 16);
    assert_eq!(store(unit, s2cr(group), 4, route), Outcome::Done);
    assert_eq!(store(unit, smr(group), 4, 1 << 31 | stream), Outcome::Done);
}
