//! Random sequences of the host's accesses and of Ward's changes: after each, every stream is
//! translated as a plain table of who set what says.

use super::*;
use std::collections::BTreeMap;
use std::vec::Vec;

const STREAMS: u32 = 32;

struct World {
    hw: Model,
    smmu: Smmu,
    seed: u64,
    /// What Ward set: bank to owner and table, stream to bank.
    banks: BTreeMap<u8, (Owner, u64)>,
    given: BTreeMap<u16, u8>,
    roots: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let default = seed.is_multiple_of(2).then(|| table(HOST));
        let (hw, smmu) = started(Plan { default, ..plan() });
        World {
            hw,
            smmu,
            seed: seed + 1,
            banks: BTreeMap::new(),
            given: BTreeMap::new(),
            roots: 0,
        }
    }

    fn pick(&mut self, below: u64) -> u64 {
        crate::random::pick(&mut self.seed, below)
    }

    /// An access that is likely to mean something, or any.
    fn access(&mut self) {
        let (group, n) = (self.pick(17), self.pick(9));
        let small = self.pick(u64::from(STREAMS));
        let (mask, kind) = (self.pick(8), self.pick(4));
        let any = self.pick(1 << 31) << 32 | self.pick(1 << 31) << 1 | self.pick(2);
        let (offset, value) = match self.pick(12) {
            0..=2 => (
                smr(group),
                (1 << 31 | mask << 16 | small) * self.pick(8).min(1),
            ),
            3..=5 => (s2cr(group), kind << 16 | n | (self.pick(64) / 63) << 10),
            6 => (cbar(n), any & if kind == 0 { u64::MAX } else { 0xff }),
            7 => (cba2r(n), any),
            8 => (bank(n, 0x20 + 4 * self.pick(2)), any),
            9 => (bank(n, [0, 0x30, 0x34, 0x58][kind as usize]), any),
            10 => ([0, 8, 0x400, 0x10][kind as usize], any),
            _ => (self.pick(0x2_0000), any),
        };
        let bytes = [4, 4, 4, 8, 8, 2, 1][self.pick(7) as usize];
        let groups = |smmu: &mut Smmu, hw: &Model| -> Vec<u64> {
            let shown = (0..16).flat_map(|n| [smr(n), s2cr(n)]);
            shown
                .map(|offset| read(smmu, hw, offset, 4).value())
                .collect()
        };
        let before = groups(&mut self.smmu, &self.hw);
        let answer = write(&mut self.smmu, &self.hw, offset, bytes, value);
        if let Answer::Refused(_) = answer {
            assert_eq!(
                before,
                groups(&mut self.smmu, &self.hw),
                "refused, and changed"
            );
        }
    }

    fn change(&mut self) {
        let bank = self.pick(9) as u8;
        let stream = self.pick(u64::from(STREAMS)) as u16;
        match self.pick(4) {
            0 => {
                let owner = [Owner::Host, Owner::Vm(1)][self.pick(2) as usize];
                self.roots += 1;
                let root = ROOTS + self.roots * 0x2000;
                if self
                    .smmu
                    .assign(&self.hw, bank, owner, &table(root))
                    .is_ok()
                {
                    self.banks.insert(bank, (owner, root));
                }
            }
            1 => {
                if self.smmu.release(&self.hw, bank).is_ok() {
                    self.banks.remove(&bank).unwrap();
                }
            }
            2 => {
                if self.smmu.give(&self.hw, stream, bank).is_ok() {
                    self.given.insert(stream, bank);
                }
            }
            _ => {
                if self.smmu.take(&self.hw, stream).is_ok() {
                    self.given.remove(&stream).unwrap();
                }
            }
        }
    }

    /// From what Ward set, and for the host's streams from what its registers read.
    fn expected(&mut self, stream: u32) -> Effect {
        if let Some(bank) = self.given.get(&(stream as u16)) {
            return Effect::Table(self.banks[bank].1);
        }
        let mut matched = Vec::new();
        for group in 0..16 {
            let value = read(&mut self.smmu, &self.hw, smr(group), 4).value() as u32;
            let (id, mask) = (value & 0x7fff, value >> 16 & 0x7fff);
            if value >> 31 == 1 && (id ^ stream) & !mask == 0 {
                matched.push((group, id, mask));
            }
        }
        let [(group, id, mask)] = matched[..] else {
            assert!(matched.is_empty(), "groups overlap");
            return Effect::Ended;
        };
        // A group that reaches a VM's stream is not in effect for its others either.
        if self
            .given
            .keys()
            .any(|given| (id ^ u32::from(*given)) & !mask == 0)
        {
            return Effect::Ended;
        }
        let route = read(&mut self.smmu, &self.hw, s2cr(group), 4).value();
        let bank = self.banks.get(&(route as u8));
        match (route >> 16 & 3, bank) {
            (0, Some((Owner::Host, root))) => Effect::Table(*root),
            (1, _) => Effect::Table(HOST),
            _ => Effect::Ended,
        }
    }

    fn check(&mut self) {
        for stream in 0..STREAMS {
            let expected = self.expected(stream);
            assert_eq!(self.hw.effect(stream), expected, "stream {stream:#x}");
            // Nor does a cache know better.
            assert_eq!(
                self.hw.dma(stream, 5),
                expected,
                "stream {stream:#x}, cached"
            );
        }
    }
}

#[test]
fn every_stream_is_translated_as_ward_set_it() {
    let mut routed = 0;
    for seed in 0..24 {
        let mut world = World::new(seed);
        for _ in 0..400 {
            if world.pick(4) == 0 {
                world.change();
            } else {
                world.access();
            }
            world.check();
            let at = |stream| matches!(world.hw.effect(stream), Effect::Table(_));
            routed += (0..STREAMS).filter(|stream| at(*stream)).count();
        }
    }
    assert!(routed > 10_000, "hardly anything was routed: {routed}");
}
