use super::super::{Backend, Frame, Key, Leaf, Lost, Order, Target, VmState};
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

/// Two SMMUs with 16 streams each. Frames are the host's unless said otherwise.
pub(crate) struct Fake {
    pub(crate) vms: BTreeMap<u16, VmState>,
    pub(crate) frames: BTreeMap<u64, Frame>,
    pub(crate) pins: BTreeMap<u64, u16>,
    pub(crate) leaves: BTreeMap<(Key, u64), Leaf>,
    pub(crate) targets: BTreeMap<Key, Target>,
    /// What a TLB holds: stream, page of the address, frame.
    pub(crate) tlb: BTreeSet<(Key, u64, u64)>,
    asked: Vec<(Key, u64, u64)>,
    pub(crate) lost: BTreeSet<u8>,
    /// So many more things that the SMMUs are asked to do succeed.
    pub(crate) patience: Option<u32>,
    pub(crate) rooms: u32,
    pub(crate) syncs: u32,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Fake {
            vms: [(1, VmState::Ready)].into(),
            frames: BTreeMap::new(),
            pins: BTreeMap::new(),
            leaves: BTreeMap::new(),
            targets: BTreeMap::new(),
            tlb: BTreeSet::new(),
            asked: Vec::new(),
            lost: BTreeSet::new(),
            patience: None,
            rooms: u32::MAX,
            syncs: 0,
        }
    }

    /// A device's access: the frame, from the table or from before.
    pub(crate) fn dma(&mut self, key: Key, iova: u64) -> Option<u64> {
        if self.targets.get(&key) != Some(&Target::Own) {
            return None;
        }
        let page = iova >> 12;
        let kept = self
            .tlb
            .iter()
            .find(|entry| (entry.0, entry.1) == (key, page));
        if let Some(kept) = kept {
            return Some(kept.2);
        }
        let leaf = self.leaf(key, iova)?;
        let frame = leaf.frame + (page - (leaf.iova >> 12));
        self.tlb.insert((key, page, frame));
        Some(frame)
    }

    pub(crate) fn pins_of(&self, frame: u64) -> u16 {
        self.pins.get(&frame).copied().unwrap_or(0)
    }

    fn answers(&mut self, smmu: u8) -> Result<(), Lost> {
        if let Some(left) = &mut self.patience {
            match left.checked_sub(1) {
                Some(less) => *left = less,
                None => {
                    self.lost.insert(smmu);
                    self.patience = None;
                }
            }
        }
        if self.lost.contains(&smmu) {
            Err(Lost)
        } else {
            Ok(())
        }
    }
}

impl Backend for Fake {
    fn has(&self, key: Key) -> bool {
        key.smmu < 2 && key.stream < 16
    }

    fn is_lost(&self, smmu: u8) -> bool {
        self.lost.contains(&smmu)
    }

    fn vm(&self, vm: u16) -> Option<VmState> {
        self.vms.get(&vm).copied()
    }

    fn frame(&self, frame: u64) -> Frame {
        let pins = self.pins_of(frame);
        self.frames
            .get(&frame)
            .copied()
            .unwrap_or(Frame::Host { pins })
    }

    fn pin(&mut self, first: u64, count: u64) {
        for frame in first..first + count {
            assert!(
                matches!(self.frame(frame), Frame::Host { .. }),
                "pinned for another"
            );
            let pins = self.pins.entry(frame).or_default();
            *pins = pins.checked_add(1).expect("a full counter");
        }
    }

    fn unpin(&mut self, first: u64, count: u64) {
        for frame in first..first + count {
            let pins = self.pins.get_mut(&frame).unwrap();
            *pins = pins.checked_sub(1).expect("no pin");
        }
    }

    fn bits(&self, _: Key) -> u8 {
        40
    }

    fn leaf(&self, key: Key, iova: u64) -> Option<Leaf> {
        let (_, leaf) = self.leaves.range((key, 0)..=(key, iova)).next_back()?;
        (iova < leaf.iova + leaf.order.bytes()).then_some(*leaf)
    }

    fn first_leaf(&self, key: Key) -> Option<Leaf> {
        self.leaves
            .range((key, 0)..=(key, u64::MAX))
            .next()
            .map(|(_, leaf)| *leaf)
    }

    fn is_free(&self, key: Key, iova: u64, order: Order) -> bool {
        (0..order.pages()).all(|n| self.leaf(key, iova + (n << 12)).is_none())
    }

    fn has_room(&self, _: Key, _: u64, _: Order) -> bool {
        self.rooms > 0
    }

    fn map(&mut self, key: Key, leaf: Leaf) {
        self.rooms -= 1;
        assert!(self.leaves.insert((key, leaf.iova), leaf).is_none());
    }

    fn unmap(&mut self, key: Key, leaf: Leaf) {
        assert_eq!(self.leaves.remove(&(key, leaf.iova)), Some(leaf));
    }

    fn lead(&mut self, key: Key, target: Target) -> Result<(), Lost> {
        self.answers(key.smmu)?;
        self.targets.insert(key, target);
        self.tlb.retain(|entry| entry.0 != key);
        Ok(())
    }

    fn forget(&mut self, key: Key, iova: u64, pages: u64) -> Result<(), Lost> {
        self.answers(key.smmu)?;
        self.asked.push((key, iova >> 12, pages));
        Ok(())
    }

    fn sync(&mut self, smmu: u8) -> Result<(), Lost> {
        self.answers(smmu)?;
        self.syncs += 1;
        for (key, first, pages) in core::mem::take(&mut self.asked) {
            if key.smmu == smmu {
                let within = first..first + pages;
                self.tlb
                    .retain(|entry| entry.0 != key || !within.contains(&entry.1));
            } else {
                self.asked.push((key, first, pages));
            }
        }
        Ok(())
    }
}
