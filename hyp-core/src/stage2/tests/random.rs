//! Random operations, each compared with the model, over three shapes of table.

use super::model::Model;
use super::{DEVICE, Fixture, RO, RWX};
use crate::addr::{Ipa, Pfn, Size};
use crate::stage2::{Attrs, Change, Leaf, Lookup, MemoryKind, Note, Span};
use std::{println, vec::Vec};

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % n
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

struct Run {
    rng: Rng,
    bits: u8,
    pages: u64,
    real: Fixture,
    model: Model,
    /// The page numbers that operations name.
    places: Vec<u64>,
}

impl Run {
    fn new(seed: u64, bits: u8, pages: u64) -> Self {
        println!("seed {seed:#x}, {bits} bits, {pages} table pages");
        let last = (1u64 << (bits - 30)) - 1;
        let mut places = Vec::new();
        for region in [0, last / 2, last] {
            for block in [0, 1, 511] {
                for page in [0, 1, 256, 511] {
                    places.push(region << 18 | block << 9 | page);
                }
            }
        }
        let probes: Vec<u64> = places.iter().map(|page| page << 12).collect();
        let real = Fixture::new(bits, pages).probing(&probes);
        let model = Model::new(real.table.geometry());
        Run {
            rng: Rng(seed),
            bits,
            pages,
            real,
            model,
            places,
        }
    }

    fn operation(&mut self) {
        let mut page = self.rng.of(&self.places);
        let mut size = self.rng.of(&[Size::Page, Size::Block2M, Size::Block1G]);
        if self.rng.below(4) != 0 {
            // Not larger than the leaf or hole that is there.
            size = match self.model.lookup(page) {
                Lookup::Leaf { leaf, .. } => size.min(leaf.size),
                Lookup::Invalid { size: hole, .. } => size.min(hole),
            };
        }
        page &= !(size.frames() - 1);
        match self.rng.below(32) {
            0 => page += size.frames() / 2,
            1 => page += 1 << (self.bits - 12),
            _ => {}
        }
        let ipa = Ipa::page(page << 12).unwrap();
        let attrs = self.rng.of(&[RWX, RWX, RWX, RO, DEVICE]);
        let len = self.real.pool.len();
        let pool = if self.rng.below(4) == 0 {
            self.rng.below(3).min(len)
        } else {
            len
        };
        let writes = self.real.mem.live_writes.get();
        let most = match self.rng.below(16) {
            0..=5 => self.map(ipa, size, attrs, pool),
            6..=8 => self.unmap(ipa, size, pool),
            9..=10 => self.change(ipa, size, attrs, pool),
            11 => self.note(ipa, pool),
            12 => self.access(ipa),
            13 if self.rng.below(2) == 0 => self.take_accessed(ipa, size),
            13 => self.change(ipa, size, attrs, pool),
            14 => self.heal(ipa),
            _ => self.merge(ipa),
        };
        assert!(
            self.real.mem.live_writes.get() - writes <= most,
            "more live writes than needed"
        );
        self.real.mem.check();
    }

    fn map(&mut self, ipa: Ipa, size: Size, attrs: Attrs, pool: u64) -> u64 {
        let page = ipa.page_number();
        // Mostly the identity, so that tables fill with what can be merged.
        let frame = match self.rng.below(16) {
            0 => page ^ size.frames(),
            1 => page + size.frames() / 2,
            2 => page | 1 << (self.bits - 12),
            _ => page % (1 << (self.bits - 12)),
        };
        self.map_to(ipa, frame, size, attrs, pool)
    }

    fn map_to(&mut self, ipa: Ipa, frame: u64, size: Size, attrs: Attrs, pool: u64) -> u64 {
        let page = ipa.page_number();
        let Fixture {
            mem,
            pool: tables,
            table,
        } = &mut self.real;
        let expected = self.model.can_map(page, frame, size, pool);
        assert_eq!(table.can_map(mem, pool, ipa, Pfn(frame), size), expected);
        if expected.is_ok() {
            table.map(mem, tables, ipa, Pfn(frame), size, attrs);
            let leaf = Leaf {
                frame: Pfn(frame),
                size,
                attrs,
                accessed: true,
            };
            self.model.leaves.insert(page, leaf);
        }
        1
    }

    fn unmap(&mut self, ipa: Ipa, size: Size, pool: u64) -> u64 {
        let Fixture {
            mem,
            pool: tables,
            table,
        } = &mut self.real;
        let expected = self.model.can_unmap(ipa.page_number(), size, pool);
        assert_eq!(table.can_unmap(mem, pool, ipa, size), expected);
        if let Ok(leaf) = expected {
            assert_eq!(table.unmap(mem, tables, ipa, size), leaf);
            self.model.carve(ipa.page_number(), size);
        }
        4
    }

    /// A range: protected, aged or unmapped. Device memory is passed by in the first two.
    fn change(&mut self, ipa: Ipa, size: Size, attrs: Attrs, pool: u64) -> u64 {
        let count = match self.rng.below(4) {
            0 => 1,
            1 => 512,
            _ => 1 + self.rng.below(16),
        };
        let size = size.min(Size::Block2M);
        let span = Span { ipa, size, count };
        let kind = self.rng.below(3);
        let wanted = move |leaf: Leaf| match kind {
            0 => Some(Change::Unmap),
            _ if leaf.attrs.kind == MemoryKind::Device => None,
            1 => super::age(leaf),
            _ => super::to(Attrs {
                kind: MemoryKind::Normal,
                ..attrs
            })(leaf),
        };
        let Fixture {
            mem,
            pool: tables,
            table,
        } = &mut self.real;
        let expected = self.model.can_change(span, pool, wanted);
        assert_eq!(table.can_change(mem, pool, span, wanted), expected);
        if expected.is_err() {
            return 0;
        }
        let asked = core::cell::RefCell::new(Vec::new());
        let invalidations = mem.invalidations.borrow().len();
        let changed = table.change(mem, tables, span, |leaf| {
            asked.borrow_mut().push(leaf);
            wanted(leaf)
        });
        let invalidations = mem.invalidations.borrow().len() - invalidations;
        let (modelled, parts, splits) = self.model.change(span, wanted);
        assert_eq!(asked.into_inner(), parts);
        assert_eq!(changed, modelled);
        assert!(
            invalidations as u64 <= splits + 1,
            "one for all, and one a split"
        );
        4 * changed + 2 * splits
    }

    fn note(&mut self, ipa: Ipa, pool: u64) -> u64 {
        let note = self.rng.of(&[Note::NONE, Note::NONE, Note(1), Note(0xff)]);
        self.note_with(ipa, note, pool)
    }

    fn note_with(&mut self, ipa: Ipa, note: Note, pool: u64) -> u64 {
        let page = ipa.page_number();
        let Fixture {
            mem,
            pool: tables,
            table,
        } = &mut self.real;
        let expected = self.model.can_note(page, note, pool);
        assert_eq!(table.can_note(mem, pool, ipa, note), expected);
        if expected.is_ok() {
            table.set_note(mem, tables, ipa, note);
            self.model.notes.remove(&page);
            if note != Note::NONE {
                self.model.notes.insert(page, note);
            }
        }
        4
    }

    fn access(&mut self, ipa: Ipa) -> u64 {
        let around = self.model.around(ipa.page_number());
        assert_eq!(
            self.real.table.set_accessed(&self.real.mem, ipa),
            around.is_some()
        );
        if let Some((page, leaf)) = around {
            self.model.leaves.insert(
                page,
                Leaf {
                    accessed: true,
                    ..leaf
                },
            );
        }
        1
    }

    fn take_accessed(&mut self, ipa: Ipa, size: Size) -> u64 {
        let (mut page, end) = (ipa.page_number(), ipa.page_number() + size.frames());
        let mut expected = None;
        while let Some((first, leaf)) = self.model.next(page).filter(|(first, _)| *first < end) {
            expected = Some(expected == Some(true) || leaf.accessed);
            self.model.leaves.insert(
                first,
                Leaf {
                    accessed: false,
                    ..leaf
                },
            );
            page = first + leaf.size.frames();
        }
        assert_eq!(
            self.real.table.take_accessed(&self.real.mem, ipa, size),
            expected
        );
        size.frames()
    }

    fn merge(&mut self, ipa: Ipa) -> u64 {
        let Fixture { mem, pool, table } = &mut self.real;
        assert_eq!(
            table.merge(mem, pool, ipa),
            self.model.merge(ipa.page_number())
        );
        4
    }

    fn compare(&mut self) {
        let modelled: Vec<_> = self
            .model
            .leaves
            .iter()
            .map(|(&p, &leaf)| (p << 12, leaf))
            .collect();
        assert_eq!(self.real.leaves(), modelled);
        assert_eq!(
            self.pages - self.real.pool.len(),
            self.model.tables().len() as u64
        );
    }

    fn look(&mut self) {
        for _ in 0..4 {
            let page = self.rng.of(&self.places) + self.rng.below(2);
            let ipa = Ipa::page(page << 12).unwrap();
            assert_eq!(
                self.real.table.lookup(&self.real.mem, ipa),
                self.model.lookup(page)
            );
            let next = self.real.table.next_leaf(&self.real.mem, ipa);
            let next = next.map(|(first, leaf)| (first.page_number(), leaf));
            assert_eq!(next, self.model.next(page));
        }
    }

    /// Makes the identity of all the gibibyte, that much as there are tables for, and merges it.
    fn heal(&mut self, ipa: Ipa) -> u64 {
        let region = ipa.page_number() >> 18;
        let mut writes = 4;
        for n in 0..self.places.len() {
            let page = self.places[n];
            if page >> 18 != region {
                continue;
            }
            let at = Ipa::containing(page << 12);
            writes += self.note_with(at, Note::NONE, 0);
            if let Some((first, leaf)) = self.model.around(page)
                && (leaf.frame.0 != first || leaf.attrs != RWX)
            {
                writes += self.unmap(Ipa::containing(first << 12), leaf.size, 0);
            }
            for size in [Size::Page, Size::Block2M, Size::Block1G] {
                let at = Ipa::containing((page & !(size.frames() - 1)) << 12);
                let pool = self.real.pool.len();
                writes += self.map_to(at, at.page_number(), size, RWX, pool);
            }
        }
        self.merge(ipa) + writes
    }

    /// The end of a VM: every leaf, then every note's table, and the pool is whole again.
    fn finish(mut self) {
        while let Some((ipa, leaf)) = self
            .real
            .table
            .next_leaf(&self.real.mem, Ipa::containing(0))
        {
            assert_eq!(self.real.unmap(ipa.as_u64(), leaf.size), leaf);
        }
        let Fixture { mem, pool, table } = &mut self.real;
        let mut calls = 0;
        while table.free_tables(mem, pool) {
            mem.check();
            calls += 1;
        }
        assert!(calls <= self.model.notes.len());
        assert_eq!(pool.len(), self.pages);
        for _ in 0..self.pages {
            let frame = pool.pop(mem).unwrap();
            assert!(mem.is_zero(frame, 0));
        }
        assert_eq!(pool.pop(mem), None);
    }
}

fn run(seed: u64, bits: u8, pages: u64) {
    let mut run = Run::new(seed, bits, pages);
    for n in 0..if cfg!(miri) { 6 } else { 800 } {
        run.operation();
        run.look();
        if n % 4 == 0 {
            run.compare();
        }
    }
    run.finish();
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn one_root_page() {
    run(0x1234_5678_9abc_def1, 36, 16);
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn concatenated_root_pages() {
    run(0x0bad_cafe_0bad_cafe, 42, 20);
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn four_levels() {
    run(0xfeed_beef_1357_9bdf, 48, 24);
}

#[test]
fn scarce_tables() {
    run(0x2468_ace0_1122_3344, 44, 5);
}
