//! Random sequences, with SMMUs that stop answering at any moment: no stream ever reaches a frame
//! that the host has given away.

use super::*;
use std::collections::BTreeMap;

const KEYS: [Key; 4] = [
    HOST,
    OTHER,
    Key { smmu: 0, stream: 1 },
    Key { smmu: 1, stream: 2 },
];

struct World {
    b: Fake,
    all: All,
    seed: u64,
    ever_lost: bool,
}

impl World {
    fn pick(&mut self, below: u64) -> u64 {
        crate::random::pick(&mut self.seed, below)
    }

    fn step(&mut self) -> Result<(), Error> {
        let key = KEYS[self.pick(4) as usize];
        let order = [0, 0, 0, 9][self.pick(4) as usize];
        let iova = if order == 9 {
            self.pick(2) << 21
        } else {
            self.pick(2) << 21 | self.pick(4) << 12
        };
        let frame = if order == 9 {
            0x40200
        } else {
            0x40200 + self.pick(5)
        };
        let when = if self.pick(2) == 0 {
            When::Now
        } else {
            When::Later
        };
        match self.pick(10) {
            0 => self.all.alloc(&mut self.b, key, None),
            1 => self.all.free(&mut self.b, key).map(|_| ()),
            2..=4 => self.all.map(&mut self.b, key, iova, frame << 12, order, RW),
            5..=6 => self.all.clear(&mut self.b, key, iova, order, when),
            7 => {
                self.b.dma(key, iova);
                Ok(())
            }
            8 => self.all.flush(&mut self.b),
            _ => {
                // The host gives a frame away, or gets it back.
                let frame = 0x40200 + self.pick(5);
                if self.b.frames.remove(&frame).is_none() && self.b.pins_of(frame) == 0 {
                    self.b.frames.insert(frame, Frame::Other);
                }
                Ok(())
            }
        }
    }

    fn check(&mut self) {
        let mut reached = BTreeMap::new();
        for ((_, _), leaf) in &self.b.leaves {
            for frame in leaf.frame..leaf.frame + leaf.order.pages() {
                *reached.entry(frame).or_insert(0u16) += 1;
            }
        }
        for (frame, count) in &reached {
            assert!(self.b.pins_of(*frame) >= *count, "fewer pins than leaves");
        }
        for (_, _, frame) in &self.b.tlb {
            assert!(self.b.pins_of(*frame) > 0, "a TLB has a frame without pins");
        }
        for frame in self.b.frames.keys() {
            assert!(!reached.contains_key(frame), "given away and mapped");
            assert_eq!(self.b.pins_of(*frame), 0);
        }
    }
}

#[test]
fn no_stream_reaches_a_frame_that_was_given_away() {
    let mut mapped = 0;
    for seed in 0..60 {
        let mut world = World {
            b: Fake::new(),
            all: All::new(),
            seed,
            ever_lost: false,
        };
        for step in 0..400 {
            if step == 200 && seed % 3 == 0 {
                world.b.patience = Some(seed as u32 % 7);
            }
            let before = (world.b.leaves.clone(), world.b.pins.clone());
            let refused = world.step();
            world.ever_lost |= !world.b.lost.is_empty();
            if let Err(error) = refused
                && error != Error::Lost
            {
                assert!(
                    before.0 == world.b.leaves,
                    "refused with {error:?}, and changed"
                );
            }
            mapped += world.b.leaves.len();
            world.check();
        }
        if !world.ever_lost {
            world.all.flush(&mut world.b).unwrap();
            let leaves = world.b.leaves.values();
            let pages: u64 = leaves.map(|leaf| leaf.order.pages()).sum();
            let pins: u64 = world.b.pins.values().map(|pins| u64::from(*pins)).sum();
            assert_eq!(pins, pages, "a pin is left over");
        }
    }
    assert!(mapped > 10_000, "hardly anything was mapped: {mapped}");
}
