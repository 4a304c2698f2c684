//! What the tables mean: leaves and notes in maps, and which tables they need.

use crate::addr::{Ipa, Pfn, Size};
use crate::stage2::{Change, Geometry, Leaf, Lookup, MapError, Note, Span, UnmapError};
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

/// Keys are page numbers.
pub(super) struct Model {
    geometry: Geometry,
    pub(super) leaves: BTreeMap<u64, Leaf>,
    pub(super) notes: BTreeMap<u64, Note>,
}

const SIZES: [Size; 3] = [Size::Page, Size::Block2M, Size::Block1G];

impl Model {
    pub(super) fn new(geometry: Geometry) -> Self {
        Model {
            geometry,
            leaves: BTreeMap::new(),
            notes: BTreeMap::new(),
        }
    }

    /// Pages that a table of this level covers.
    fn reach(level: u8) -> u64 {
        1 << (9 * (4 - level))
    }

    /// The tables besides the root that there must be: level, number of the region.
    pub(super) fn tables(&self) -> BTreeSet<(u8, u64)> {
        let leaves = self
            .leaves
            .iter()
            .map(|(&page, leaf)| (page, leaf.size.level()));
        let notes = self.notes.keys().map(|&page| (page, 3));
        let below_root = self.geometry.start_level() + 1;
        leaves
            .chain(notes)
            .flat_map(|(page, last)| {
                (below_root..=last).map(move |level| (level, page / Self::reach(level)))
            })
            .collect()
    }

    /// Must there be a table of this level for the page? The first leaf or note in its reach
    /// says so, unless that is a leaf as large as the reach.
    fn has_table(&self, level: u8, page: u64) -> bool {
        let start = page / Self::reach(level) * Self::reach(level);
        let range = start..start + Self::reach(level);
        let leaf = self.leaves.range(range.clone()).next();
        leaf.is_some_and(|(_, leaf)| leaf.size.level() >= level)
            || self.notes.range(range).next().is_some()
    }

    fn missing(&self, page: u64, size: Size, pool: u64) -> u64 {
        let levels = self.geometry.start_level() + 1..=size.level();
        let needed = levels.filter(|&level| !self.has_table(level, page)).count();
        (needed as u64).saturating_sub(pool)
    }

    pub(super) fn around(&self, page: u64) -> Option<(u64, Leaf)> {
        let (&first, &leaf) = self.leaves.range(..=page).next_back()?;
        (page < first + leaf.size.frames()).then_some((first, leaf))
    }

    pub(super) fn next(&self, from: u64) -> Option<(u64, Leaf)> {
        let above = || {
            self.leaves
                .range(from..)
                .next()
                .map(|(&page, &leaf)| (page, leaf))
        };
        self.around(from).or_else(above)
    }

    pub(super) fn lookup(&self, page: u64) -> Lookup {
        if let Some((first, leaf)) = self.around(page) {
            return Lookup::Leaf {
                ipa: Ipa::containing(first << 12),
                leaf,
            };
        }
        let is_hole = |size: &Size| {
            size.level() <= self.geometry.start_level() || self.has_table(size.level(), page)
        };
        let size = SIZES.into_iter().find(is_hole).unwrap_or(Size::Block1G);
        Lookup::Invalid {
            size,
            note: self.notes.get(&page).copied().unwrap_or(Note::NONE),
        }
    }

    pub(super) fn can_map(
        &self,
        page: u64,
        frame: u64,
        size: Size,
        pool: u64,
    ) -> Result<(), MapError> {
        let pages = 1 << (self.geometry.ipa_bits() - 12);
        if !page.is_multiple_of(size.frames()) || !frame.is_multiple_of(size.frames()) {
            Err(MapError::Misaligned)
        } else if page >= pages || frame >= pages {
            Err(MapError::OutOfRange)
        } else if self
            .next(page)
            .is_some_and(|(first, _)| first < page + size.frames())
            || self
                .notes
                .range(page..page + size.frames())
                .next()
                .is_some()
        {
            Err(MapError::Occupied)
        } else {
            match self.missing(page, size, pool) {
                0 => Ok(()),
                n => Err(MapError::NoTables(n)),
            }
        }
    }

    pub(super) fn can_note(&self, page: u64, note: Note, pool: u64) -> Result<(), MapError> {
        if page >= 1 << (self.geometry.ipa_bits() - 12) {
            Err(MapError::OutOfRange)
        } else if self.around(page).is_some() {
            Err(MapError::Occupied)
        } else {
            match self.missing(page, Size::Page, pool) {
                n if n > 0 && note != Note::NONE => Err(MapError::NoTables(n)),
                _ => Ok(()),
            }
        }
    }

    /// The range as a part of one leaf.
    fn part(&self, page: u64, size: Size) -> Result<Leaf, UnmapError> {
        if !page.is_multiple_of(size.frames()) {
            return Err(UnmapError::Misaligned);
        }
        if page >= 1 << (self.geometry.ipa_bits() - 12) {
            return Err(UnmapError::OutOfRange);
        }
        match self.around(page) {
            Some((first, leaf)) if leaf.size >= size => Ok(Leaf {
                frame: leaf.frame.add(page - first),
                size,
                ..leaf
            }),
            Some(_) => Err(UnmapError::Mixed),
            None if size > Size::Page && self.has_table(size.level() + 1, page) => {
                Err(UnmapError::Mixed)
            }
            None => Err(UnmapError::NotMapped),
        }
    }

    pub(super) fn can_unmap(&self, page: u64, size: Size, pool: u64) -> Result<Leaf, UnmapError> {
        let part = self.part(page, size)?;
        match self.missing(page, size, pool) {
            0 => Ok(part),
            n => Err(UnmapError::NoTables(n)),
        }
    }

    /// The leaves that a span meets, with their first page, and whether it covers them.
    fn met(&self, span: Span) -> Vec<(u64, Leaf, bool)> {
        let first = span.ipa.page_number();
        let end = first + span.count * span.size.frames();
        let mut met = Vec::new();
        let mut at = first;
        while let Some((page, leaf)) = self.next(at).filter(|(page, _)| *page < end) {
            at = page + leaf.size.frames();
            met.push((page, leaf, page >= first && at <= end));
        }
        met
    }

    pub(super) fn can_change(
        &self,
        span: Span,
        pool: u64,
        wanted: impl Fn(Leaf) -> Option<Change>,
    ) -> Result<(), UnmapError> {
        let first = span.ipa.page_number();
        if !first.is_multiple_of(span.size.frames()) {
            return Err(UnmapError::Misaligned);
        }
        if first + span.count * span.size.frames() > 1 << (self.geometry.ipa_bits() - 12) {
            return Err(UnmapError::OutOfRange);
        }
        let met = self.met(span);
        let splits = |(_, leaf, covered): &&(u64, Leaf, bool)| {
            !covered && matches!(wanted(*leaf), Some(Change::Attrs(_) | Change::Unmap))
        };
        let huge = |it: &(u64, Leaf, bool)| it.1.size == Size::Block1G && splits(&it);
        if met.iter().any(|it| it.1.size < span.size || huge(it)) {
            return Err(UnmapError::Mixed);
        }
        if span.count == 1 && met.iter().all(|it| wanted(it.1).is_none()) {
            return Err(UnmapError::NotMapped);
        }
        match (met.iter().filter(splits).count() as u64).saturating_sub(pool) {
            0 => Ok(()),
            missing => Err(UnmapError::NoTables(missing)),
        }
    }

    /// Changes them: how many, all leaves and parts in order, and blocks split.
    pub(super) fn change(
        &mut self,
        span: Span,
        wanted: impl Fn(Leaf) -> Option<Change>,
    ) -> (u64, Vec<Leaf>, u64) {
        let first = span.ipa.page_number();
        let end = first + span.count * span.size.frames();
        let (mut changed, mut parts, mut splits) = (0, Vec::new(), 0);
        for (page, leaf, covered) in self.met(span) {
            let (from, to) = (page.max(first), (page + leaf.size.frames()).min(end));
            let part = |at: u64| Leaf {
                frame: leaf.frame.add(at - page),
                size: if covered { leaf.size } else { span.size },
                ..leaf
            };
            match wanted(leaf) {
                None | Some(Change::Keep) => parts.push(part(from)),
                Some(Change::Age) => {
                    parts.push(part(from));
                    changed += 1;
                    let accessed = false;
                    self.leaves.insert(page, Leaf { accessed, ..leaf });
                }
                Some(change) => {
                    splits += u64::from(!covered);
                    let step = part(from).size.frames() as usize;
                    for at in (from..to).step_by(step) {
                        parts.push(part(at));
                        changed += 1;
                        self.carve(at, part(at).size);
                        if let Change::Attrs(attrs) = change {
                            self.leaves.insert(at, Leaf { attrs, ..part(at) });
                        }
                    }
                }
            }
        }
        (changed, parts, splits)
    }

    /// Takes the part out of the leaf around it, whose rest breaks into the largest pieces.
    pub(super) fn carve(&mut self, page: u64, size: Size) {
        while let Some((first, leaf)) = self.around(page) {
            self.leaves.remove(&first);
            if leaf.size == size {
                return;
            }
            let piece = if leaf.size == Size::Block1G {
                Size::Block2M
            } else {
                Size::Page
            };
            for n in (0..leaf.size.frames()).step_by(piece.frames() as usize) {
                let part = Leaf {
                    frame: leaf.frame.add(n),
                    size: piece,
                    ..leaf
                };
                self.leaves.insert(first + n, part);
            }
        }
    }

    pub(super) fn merge(&mut self, page: u64) -> bool {
        let Some((_, leaf)) = self.around(page) else {
            return false;
        };
        let size = match leaf.size {
            Size::Page => Size::Block2M,
            Size::Block2M => Size::Block1G,
            Size::Block1G => return false,
        };
        let start = page / size.frames() * size.frames();
        let Some(&first) = self.leaves.get(&start) else {
            return false;
        };
        let step = leaf.size.frames() as usize;
        let alike = (0..size.frames()).step_by(step).all(|n| {
            let want = Leaf {
                frame: Pfn(first.frame.0 + n),
                accessed: true,
                ..first
            };
            self.leaves.get(&(start + n)).map(|l| Leaf {
                accessed: true,
                ..*l
            }) == Some(want)
        });
        if !alike || first.size != leaf.size || !first.frame.0.is_multiple_of(size.frames()) {
            return false;
        }
        let range = start..start + size.frames();
        let accessed = self
            .leaves
            .range(range.clone())
            .any(|(_, leaf)| leaf.accessed);
        self.leaves.retain(|page, _| !range.contains(page));
        self.leaves.insert(
            start,
            Leaf {
                size,
                accessed,
                ..first
            },
        );
        self.merge(page);
        true
    }
}
