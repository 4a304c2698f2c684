//! Contents of memory, as caches and as the point of coherency see them.

use hyp_core::addr::Pfn;
use std::collections::BTreeMap;

/// The words of one frame; `None` is all zeros, so that RAM is sparse.
pub type Page = Option<Box<[u64; 512]>>;

/// One frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// What a coherent observer reads.
    pub data: Page,
    /// What memory itself holds, where that differs: the newer data are still in a cache. An
    /// observer with caches off reads this.
    pub memory: Option<Page>,
}

/// All RAM, with a journal of what changed since the test last asked.
#[derive(Debug)]
pub struct Ram {
    banks: Vec<(u64, Vec<Frame>)>,
    journal: BTreeMap<u64, Page>,
}

fn word(page: &Page, index: usize) -> u64 {
    page.as_ref().map_or(0, |words| words[index])
}

fn set_word(page: &mut Page, index: usize, value: u64) {
    if page.is_some() || value != 0 {
        page.get_or_insert_with(|| Box::new([0; 512]))[index] = value;
    }
}

impl Ram {
    /// Zeroed banks.
    pub fn new(banks: &[(Pfn, u64)]) -> Self {
        let banks = banks
            .iter()
            .map(|(first, frames)| (first.0, vec![Frame::default(); *frames as usize]));
        Ram {
            banks: banks.collect(),
            journal: BTreeMap::new(),
        }
    }

    /// Is the frame RAM?
    pub fn contains(&self, pfn: u64) -> bool {
        self.banks
            .iter()
            .any(|(first, frames)| pfn >= *first && pfn - first < frames.len() as u64)
    }

    /// A frame's contents.
    ///
    /// # Panics
    /// When it is not RAM: on hardware, an external abort at EL2.
    pub fn frame(&self, pfn: u64) -> &Frame {
        let bank = self
            .banks
            .iter()
            .find(|(first, frames)| pfn >= *first && pfn - first < frames.len() as u64);
        let (first, frames) = bank.unwrap_or_else(|| panic!("frame {pfn:#x} is not RAM"));
        &frames[(pfn - first) as usize]
    }

    /// A frame about to change: its contents go to the journal if they are not there yet.
    fn change(&mut self, pfn: u64) -> &mut Frame {
        let bank = self
            .banks
            .iter_mut()
            .find(|(first, frames)| pfn >= *first && pfn - *first < frames.len() as u64);
        let (first, frames) = bank.unwrap_or_else(|| panic!("frame {pfn:#x} is not RAM"));
        let frame = &mut frames[(pfn - *first) as usize];
        self.journal
            .entry(pfn)
            .or_insert_with(|| frame.data.clone());
        frame
    }

    /// A word as a coherent observer reads it.
    pub fn word(&self, pfn: u64, index: usize) -> u64 {
        word(&self.frame(pfn).data, index)
    }

    /// A word as an observer with caches off reads it.
    pub fn memory_word(&self, pfn: u64, index: usize) -> u64 {
        let frame = self.frame(pfn);
        word(frame.memory.as_ref().unwrap_or(&frame.data), index)
    }

    /// A write through a cache: memory keeps the old contents until somebody cleans.
    pub fn write_cached(&mut self, pfn: u64, index: usize, value: u64) {
        let frame = self.change(pfn);
        if frame.memory.is_none() {
            frame.memory = Some(frame.data.clone());
        }
        set_word(&mut frame.data, index, value);
    }

    /// A write that reaches memory: through the cache and cleaned, or past it.
    pub fn write_through(&mut self, pfn: u64, index: usize, value: u64) {
        let frame = self.change(pfn);
        if let Some(memory) = &mut frame.memory {
            set_word(memory, index, value);
        }
        set_word(&mut frame.data, index, value);
    }

    /// Cleans the frame to the point of coherency.
    pub fn clean(&mut self, pfn: u64) {
        if self.frame(pfn).memory.is_some() {
            self.change(pfn).memory = None;
        }
    }

    /// Zeroes the frame, in caches and in memory.
    pub fn zero(&mut self, pfn: u64) {
        let frame = self.frame(pfn);
        if frame.data.is_some() || frame.memory.is_some() {
            *self.change(pfn) = Frame::default();
        }
    }

    /// Frames changed since the last call of this, with what they held then.
    pub fn take_journal(&mut self) -> BTreeMap<u64, Page> {
        std::mem::take(&mut self.journal)
    }

    /// Same contents, whether or not zeros are spelled out?
    pub fn same(a: &Page, b: &Page) -> bool {
        match (a, b) {
            (Some(a), Some(b)) => a == b,
            (Some(page), None) | (None, Some(page)) => page.iter().all(|word| *word == 0),
            (None, None) => true,
        }
    }
}
