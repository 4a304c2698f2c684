//! What the live tables translate, kept up with every descriptor written, and the rules of
//! changing a live descriptor (DDI 0487 D8.17.1, break-before-make).

use super::dma::is_dma;
use super::ram::Ram;
use std::collections::{BTreeMap, BTreeSet};

/// A translation regime's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Regime {
    /// First frame of the concatenated root.
    pub root: u64,
    /// Frames of the root.
    pub frames: u64,
    /// Level of the lookup in the root.
    pub level: u8,
}

/// What a leaf lets a guest do, besides reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Perms {
    /// S2AP bit 0.
    pub read: bool,
    /// S2AP bit 1.
    pub write: bool,
    /// XN clear.
    pub exec: bool,
    /// Normal memory that caches hold: RAM, not a device.
    pub normal: bool,
    /// Normal memory that they don't: a device with write-combining.
    pub combining: bool,
}

impl Perms {
    /// As descriptor bits say it (DDI 0487 D8.3.2): S2AP 7:6, MemAttr 5:2, XN 54:53.
    pub const fn of(entry: u64) -> Self {
        Perms {
            read: entry & 1 << 6 != 0,
            write: entry & 1 << 7 != 0,
            exec: entry & 1 << 54 == 0,
            normal: entry >> 2 & 15 == 0b1111,
            combining: entry >> 2 & 15 == 0b0101,
        }
    }

    /// Does `self` permit nothing that `other` does not?
    pub const fn within(self, other: Self) -> bool {
        (other.read || !self.read) && (other.write || !self.write) && (other.exec || !self.exec)
    }
}

/// A leaf of a live table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// First frame.
    pub pfn: u64,
    /// 3: 4 KiB, 2: 2 MiB, 1: 1 GiB.
    pub level: u8,
    /// The descriptor.
    pub entry: u64,
}

impl Leaf {
    /// Frames it translates.
    pub const fn frames(&self) -> u64 {
        frames_at(self.level)
    }

    /// Its permissions.
    pub const fn perms(&self) -> Perms {
        Perms::of(self.entry)
    }
}

/// A descriptor that was taken away or reduced and that TLBs may still hold.
#[derive(Clone, Debug)]
struct Broken {
    /// How many were broken before.
    serial: u64,
    /// What it said.
    old: u64,
    vm: u16,
    at: (u64, usize),
    ipa: u64,
    level: u8,
    /// A leaf's first frame, or `None` for a table.
    pfn: Option<u64>,
    /// Leaves that stood under a table and are not invalidated yet.
    below: BTreeSet<(u64, u8)>,
    /// No invalidation went by this walk yet.
    walk: bool,
}

/// The live tables of all regimes.
#[derive(Debug, Default)]
pub struct Tables {
    regimes: BTreeMap<u16, Regime>,
    live: BTreeMap<u64, (u16, u8, u64)>,
    /// Every leaf, by VM and IPA.
    pub leaves: BTreeMap<(u16, u64), Leaf>,
    reverse: BTreeMap<(u8, u64), BTreeSet<(u16, u64)>>,
    /// Invalid descriptors that are not zero, by VM, IPA and level.
    pub notes: BTreeMap<(u16, u64, u8), u64>,
    broken: Vec<Broken>,
    serial: u64,
    unpublished: BTreeSet<(u64, usize)>,
    /// VMs that mapped nothing when all their translations were invalidated.
    quiet: BTreeSet<u16>,
    /// Leaves that came or went since the test last asked.
    pub changed: BTreeSet<(u16, u64)>,
}

/// Frames a leaf of `level` translates; also pages below a descriptor of it.
pub(super) const fn frames_at(level: u8) -> u64 {
    1 << (9 * (3 - level))
}

/// Is the descriptor valid?
pub(super) const fn valid(entry: u64) -> bool {
    entry & 1 != 0
}

/// Is a valid descriptor of `level` a table?
pub(super) const fn is_table(entry: u64, level: u8) -> bool {
    level < 3 && entry & 3 == 3
}

/// The frame a valid descriptor names (4 KiB granule, 48-bit output addresses).
pub(super) const fn output(entry: u64) -> u64 {
    (entry & 0x0000_ffff_ffff_f000) >> 12
}

/// Bits in which a live leaf may change without being broken first: permissions, access flag,
/// software's bits 58:55.
const SOFT: u64 = 0b11 << 6 | 1 << 10 | 0b11 << 53 | 0xf << 55;

impl Tables {
    /// See [`super::Fake::add_regime`].
    pub fn add_regime(&mut self, ram: &Ram, vm: u16, regime: Regime) {
        self.regimes.insert(vm, regime);
        for n in 0..regime.frames {
            self.link(
                ram,
                vm,
                regime.root + n,
                regime.level,
                (n * 512 * frames_at(regime.level)) << 12,
            );
        }
    }

    /// A VM's regime.
    pub fn regime(&self, vm: u16) -> Option<Regime> {
        self.regimes.get(&vm).copied()
    }

    /// The VM is gone, and Ward has returned its frames: nothing is left that could be walked.
    pub fn retire(&mut self, vm: u16) {
        self.regimes.remove(&vm);
        self.live.retain(|_, place| place.0 != vm);
        self.notes.retain(|key, _| key.0 != vm);
    }

    /// No SMMU walks a regime any more, nor has anything of it.
    pub fn end(&mut self, regime: u16) {
        let gone: Vec<(u16, u64)> = self
            .leaves
            .range((regime, 0)..=(regime, u64::MAX))
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            if let Some(leaf) = self.leaves.remove(&key) {
                let place = (leaf.level, leaf.pfn);
                if let Some(users) = self.reverse.get_mut(&place) {
                    users.remove(&key);
                    if users.is_empty() {
                        self.reverse.remove(&place);
                    }
                }
            }
            self.changed.insert(key);
        }
        self.broken.retain(|b| b.vm != regime);
        self.retire(regime);
    }

    /// A live table is about to be zeroed. This is right only for the root of a VM that maps
    /// nothing and whose VMID was invalidated since it did: the VM is over.
    pub fn zeroing_ends(&mut self, table: u64) -> bool {
        let Some((vm, ..)) = self.live_table(table) else {
            return true;
        };
        let over = self.quiet.contains(&vm)
            && self
                .regimes
                .get(&vm)
                .is_some_and(|r| table - r.root < r.frames);
        if over {
            self.retire(vm);
        }
        over
    }

    /// Which regime, level and IPA a live table page serves.
    pub fn live_table(&self, pfn: u64) -> Option<(u16, u8, u64)> {
        self.live.get(&pfn).copied()
    }

    /// All live table pages of a VM below and including its root.
    pub fn tables_of(&self, vm: u16) -> Vec<u64> {
        self.live
            .iter()
            .filter(|(_, place)| place.0 == vm)
            .map(|(pfn, _)| *pfn)
            .collect()
    }

    /// The leaf that translates a page.
    pub fn leaf_at(&self, vm: u16, ipa: u64) -> Option<Leaf> {
        let ((_, base), leaf) = self.leaves.range((vm, 0)..=(vm, ipa)).next_back()?;
        ((ipa - base) >> 12 < leaf.frames()).then_some(*leaf)
    }

    /// Who maps a frame: VM and the IPA at which.
    pub fn mappers(&self, pfn: u64) -> Vec<(u16, u64)> {
        let mut found = Vec::new();
        for level in 1..=3 {
            let first = pfn & !(frames_at(level) - 1);
            if let Some(users) = self.reverse.get(&(level, first)) {
                found.extend(
                    users
                        .iter()
                        .map(|(vm, ipa)| (*vm, ipa + ((pfn - first) << 12))),
                );
            }
        }
        found
    }

    /// Who may still reach a frame through a TLB although no table maps it.
    pub fn lingering(&self, pfn: u64) -> Option<(u16, u64)> {
        self.broken.iter().find_map(|b| {
            let first = b.pfn?;
            (pfn >= first && pfn - first < frames_at(b.level)).then_some((b.vm, b.ipa))
        })
    }

    /// Is the table page broken off but possibly still walked?
    pub fn still_walked(&self, pfn: u64) -> bool {
        self.broken
            .iter()
            .any(|b| b.pfn.is_none() && b.below.contains(&(pfn << 12, 0)))
    }

    /// What was broken or reduced and not yet invalidated, and what was written and not
    /// published, in words: nothing of what an SMMU that is `lost` may have. Both must be nothing when Ward lets go of its locks (I6).
    pub fn unfinished(&self, lost: bool) -> Vec<String> {
        let broken = self
            .broken
            .iter()
            .filter(|b| !(lost && is_dma(b.vm)))
            .map(|b| format!("vm {} {:#x} level {} not invalidated", b.vm, b.ipa, b.level));
        let new = self
            .unpublished
            .iter()
            .map(|(table, n)| format!("entry {n} of {table:#x} not published"));
        broken.chain(new).collect()
    }

    fn link(&mut self, ram: &Ram, vm: u16, table: u64, level: u8, base: u64) {
        self.live.insert(table, (vm, level, base));
        for index in 0..512 {
            self.insert(ram, (vm, level, base), index, ram.word(table, index));
        }
    }

    fn insert(&mut self, ram: &Ram, (vm, level, base): (u16, u8, u64), index: usize, entry: u64) {
        let ipa = base + ((index as u64 * frames_at(level)) << 12);
        if !valid(entry) {
            if entry != 0 {
                self.notes.insert((vm, ipa, level), entry);
            }
        } else if is_table(entry, level) {
            self.link(ram, vm, output(entry), level + 1, ipa);
        } else {
            let leaf = Leaf {
                pfn: output(entry),
                level,
                entry,
            };
            self.leaves.insert((vm, ipa), leaf);
            self.changed.insert((vm, ipa));
            self.reverse
                .entry((level, leaf.pfn))
                .or_default()
                .insert((vm, ipa));
        }
    }

    /// Forgets a table and what is under it; collects its leaves and (as level 0) its tables.
    fn unlink(&mut self, ram: &Ram, table: u64, below: &mut BTreeSet<(u64, u8)>) {
        let Some((vm, level, base)) = self.live.remove(&table) else {
            return;
        };
        below.insert((table << 12, 0));
        for index in 0..512 {
            let ipa = base + ((index as u64 * frames_at(level)) << 12);
            self.remove(ram, (vm, level), ipa, ram.word(table, index), below);
        }
    }

    fn remove(
        &mut self,
        ram: &Ram,
        (vm, level): (u16, u8),
        ipa: u64,
        entry: u64,
        below: &mut BTreeSet<(u64, u8)>,
    ) {
        if !valid(entry) {
            self.notes.remove(&(vm, ipa, level));
        } else if is_table(entry, level) {
            self.unlink(ram, output(entry), below);
        } else {
            self.leaves.remove(&(vm, ipa));
            self.changed.insert((vm, ipa));
            let key = (level, output(entry));
            if let Some(users) = self.reverse.get_mut(&key) {
                users.remove(&(vm, ipa));
                if users.is_empty() {
                    self.reverse.remove(&key);
                }
            }
            below.insert((ipa, level));
        }
    }

    /// A descriptor is about to be written. Returns the rule this breaks, if one.
    pub fn write(&mut self, ram: &Ram, table: u64, index: usize, new: u64) -> Option<String> {
        let (vm, level, base) = self.live.get(&table).copied()?;
        let old = ram.word(table, index);
        if old == new {
            return None;
        }
        let ipa = base + ((index as u64 * frames_at(level)) << 12);
        self.quiet.remove(&vm);
        let mut wrong = None;
        let say = |what: &str| {
            Some(format!(
                "vm {vm} ipa {ipa:#x} level {level}: {what} ({old:#x} -> {new:#x})"
            ))
        };
        let waiting = self.broken.iter().any(|b| b.at == (table, index));
        // The same again is no change for whoever still has it. Only where an SMMU is lost it has to
        // be done: in the CPUs' tables nothing is put back.
        let again = self
            .broken
            .iter()
            .position(|b| is_dma(b.vm) && b.at == (table, index) && b.old == new && !valid(old));
        if let Some(again) = again {
            self.broken.remove(again);
        } else if valid(new) && !valid(old) && waiting {
            wrong = say("made valid again before the TLBs forgot the old one");
        }
        if valid(old) && valid(new) && ((old ^ new) & !SOFT != 0 || is_table(old, level)) {
            wrong = say("changed without break-before-make");
        }
        let mut below = BTreeSet::new();
        self.remove(ram, (vm, level), ipa, old, &mut below);
        self.insert(ram, (vm, level, base), index, new);
        if again.is_some() {
            self.changed.remove(&(vm, ipa));
        }
        let reduced = valid(new) && !Perms::of(old).within(Perms::of(new));
        if valid(old) && (!valid(new) || reduced) {
            let pfn = (!is_table(old, level)).then_some(output(old));
            if pfn.is_some() {
                below.clear();
            }
            self.serial += 1;
            self.broken.push(Broken {
                serial: self.serial - 1,
                old,
                vm,
                at: (table, index),
                ipa,
                level,
                pfn,
                below,
                walk: true,
            });
        }
        if valid(new) && !valid(old) {
            self.unpublished.insert((table, index));
        }
        wrong
    }

    /// All writes are visible to the walkers of CPUs.
    pub fn publish(&mut self) {
        let live = &self.live;
        self.unpublished
            .retain(|(table, _)| live.get(table).is_some_and(|(regime, ..)| is_dma(*regime)));
    }

    /// All writes are visible to the walkers of SMMUs.
    pub fn dma_publish(&mut self) {
        let live = &self.live;
        self.unpublished
            .retain(|(table, _)| !live.get(table).is_some_and(|(regime, ..)| is_dma(*regime)));
    }

    /// Descriptors that were broken so far.
    pub fn broken_so_far(&self) -> u64 {
        self.serial
    }

    /// SMMUs have forgotten a range of a regime, as far as it was broken before they were asked.
    pub fn forgotten(&mut self, regime: u16, first: u64, pages: u64, before: u64) {
        let range = first..first + (pages << 12);
        self.broken
            .retain(|b| b.vm != regime || b.serial >= before || !range.contains(&b.ipa));
    }

    /// Frames that SMMUs may still reach although no table says so, and where.
    pub fn lingering_dma(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let of_dma = self.broken.iter().filter(|b| is_dma(b.vm));
        of_dma.filter_map(|b| Some((b.pfn?, b.ipa)))
    }

    /// One VMID's TLB entries are gone: all of them, or of one leaf and the walk to it.
    pub fn invalidated(&mut self, vm: u16, leaf: Option<(u64, u8)>) {
        if leaf.is_none() && self.leaves.range((vm, 0)..=(vm, u64::MAX)).next().is_none() {
            self.quiet.insert(vm);
        }
        self.broken.retain_mut(|b| {
            let Some((ipa, level)) = leaf else {
                return b.vm != vm;
            };
            if b.vm != vm {
                return true;
            }
            if b.pfn.is_some() {
                return (b.ipa, b.level) != (ipa, level);
            }
            let inside = ipa >= b.ipa && (ipa - b.ipa) >> 12 < frames_at(b.level);
            b.below.remove(&(ipa, level));
            b.walk &= !(inside && level > b.level);
            b.walk || b.below.iter().any(|(_, level)| *level != 0)
        });
    }
}
