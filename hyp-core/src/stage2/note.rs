//! Notes on pages that are not mapped.
//!
//! An invalid descriptor is ignored by walkers but for bit 0 (DDI 0487 D8.3), and never cached,
//! so setting and clearing a note needs no invalidation; unlinking the emptied table does.

use super::descriptor::Note;
use super::map::{MapError, install};
use super::{Pool, Stage2};
use crate::addr::{Ipa, Size};
use crate::machine::TableMemory;

impl Stage2 {
    /// Can the page at `ipa` get this note, with a pool of `pool_len` pages? Removing one
    /// ([`Note::NONE`]) never needs any.
    ///
    /// # Errors
    /// [`MapError`]; nothing changed. [`MapError::Occupied`] when the page is mapped.
    pub fn can_note(
        &self,
        mem: &impl TableMemory,
        pool_len: u64,
        ipa: Ipa,
        note: Note,
    ) -> Result<(), MapError> {
        let pool_len = if note == Note::NONE {
            u64::MAX
        } else {
            pool_len
        };
        self.plan_hole(mem, pool_len, ipa, Size::Page).map(drop)
    }

    /// Gives the page that note instead of the one it has.
    ///
    /// # Panics
    /// If [`Stage2::can_note`] would have refused: a bug of the caller's.
    pub fn set_note(&mut self, mem: &impl TableMemory, pool: &mut Pool, ipa: Ipa, note: Note) {
        self.can_note(mem, pool.len(), ipa, note)
            .expect("set_note without can_note");
        let walk = self.walk(mem, ipa, Size::Page);
        if note != Note::NONE {
            install(mem, pool, walk.end, ipa, Size::Page, note.encode());
        } else if walk.end.size() == Size::Page {
            walk.end.write(mem, 0);
            self.release_empty(mem, pool, ipa, &walk);
        }
    }
}
