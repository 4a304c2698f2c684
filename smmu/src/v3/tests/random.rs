//! Random sequences of calls with faults in between: after each, every stream reaches exactly what
//! a plain table of who may reach what says.

use super::super::{Shape, Smmu, Ste, StreamId, StreamTable, Vmid};
use super::model::{Blocked, Model, RIL};
use super::{PAGE, ROOT_A, ROOT_B, map, place, stage2};

const STREAMS: [u32; 4] = [0x0108, 0x0109, 0x0300, 0];
const PAGES: usize = 3;
const BASE: u64 = 0x4000_0000;
/// Roots, VMIDs, and what their page 0 translates to.
const DOMAINS: [(u64, Vmid, u64); 2] = [(ROOT_A, Vmid::HOST, BASE), (ROOT_B, Vmid(7), 0x9000_0000)];

#[derive(Clone, Copy)]
enum Rule {
    Domain(usize),
    Invalid,
    Silent,
}

struct World {
    hw: Model,
    smmu: Smmu,
    seed: u64,
    rules: [Rule; STREAMS.len()],
    mapped: [[bool; PAGES]; DOMAINS.len()],
}

impl World {
    fn new(seed: u64) -> Self {
        let hw = Model::new(seed);
        hw.set(0xc, if seed.is_multiple_of(2) { RIL } else { 0 });
        hw.0.borrow_mut().watched = STREAMS.map(|stream| (stream, BASE)).to_vec();
        let mut place = place();
        if seed.is_multiple_of(3) {
            place.streams = StreamTable::new(0x40_0000 << 4, 10, Shape::Linear);
        }
        let smmu = Smmu::start(&hw, &place, &stage2(Vmid::HOST, ROOT_A)).unwrap();
        World {
            hw,
            smmu,
            seed: seed + 1,
            rules: [Rule::Domain(0); STREAMS.len()],
            mapped: [[false; PAGES]; DOMAINS.len()],
        }
    }

    fn pick(&mut self, below: usize) -> usize {
        self.seed = self
            .seed
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(1);
        (self.seed >> 33) as usize % below
    }

    fn step(&mut self) {
        match self.pick(4) {
            0 => self.change_rule(),
            1 => self.inject(),
            _ => self.change_page(),
        }
    }

    fn change_rule(&mut self) {
        let n = self.pick(STREAMS.len());
        let rule = [
            Rule::Domain(0),
            Rule::Domain(1),
            Rule::Invalid,
            Rule::Silent,
        ][self.pick(4)];
        let entry = match rule {
            Rule::Domain(domain) => stage2(DOMAINS[domain].1, DOMAINS[domain].0),
            Rule::Invalid => Ste::Invalid,
            Rule::Silent => Ste::Silent,
        };
        let stream = StreamId(STREAMS[n]);
        if self.smmu.is_shared(&self.hw, stream) {
            let page = PAGE + u64::from(stream.0 >> 8) * StreamTable::PAGE_BYTES;
            self.smmu.separate(&self.hw, stream, page).unwrap();
        }
        self.smmu.set(&self.hw, stream, &entry).unwrap();
        self.rules[n] = rule;
    }

    fn change_page(&mut self) {
        let (domain, page) = (self.pick(DOMAINS.len()), self.pick(PAGES));
        let (root, vmid, first) = DOMAINS[domain];
        let offset = page as u64 * 0x1000;
        let add = !self.mapped[domain][page];
        self.mapped[domain][page] = add;
        map(
            &self.hw,
            root,
            BASE + offset,
            add.then_some(first + offset),
            true,
        );
        if !add {
            self.smmu.forget(&self.hw, vmid, BASE + offset, 1).unwrap();
            self.smmu.sync(&self.hw).unwrap();
        }
    }

    /// Faults that the driver gets over by itself.
    fn inject(&mut self) {
        let opcode = [0x03, 0x2a, 0x28][self.pick(3)];
        let aborts = self.pick(4) as u32;
        self.hw.faults(|faults| {
            faults.illegal = Some((opcode, 1));
            faults.fetch_aborts = aborts;
        });
    }

    fn check(&self, step: u32) {
        for (stream, rule) in STREAMS.iter().zip(self.rules) {
            for page in 0..PAGES {
                let offset = page as u64 * 0x1000;
                let expected = match rule {
                    Rule::Domain(n) if self.mapped[n][page] => Ok(DOMAINS[n].2 + offset),
                    Rule::Domain(_) => Err(Blocked(0x10)),
                    Rule::Invalid => Err(Blocked(4)),
                    Rule::Silent => Err(Blocked(0)),
                };
                let seen = self.hw.dma(*stream, BASE + offset, true);
                assert_eq!(
                    seen, expected,
                    "step {step}, stream {stream:#x}, page {page}"
                );
            }
        }
    }
}

#[test]
fn every_stream_reaches_exactly_what_it_may() {
    for seed in 0..40 {
        let mut world = World::new(seed);
        for step in 0..150 {
            world.step();
            world.check(step);
        }
        assert!(!world.smmu.is_lost(), "seed {seed}");
    }
}
