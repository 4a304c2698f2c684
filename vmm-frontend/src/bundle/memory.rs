//! A bundle's file as the memory of a guest, so that Ward's own code can hash it.

use hyp_core::abi::bundle::Bundle;
use hyp_core::addr::{Ipa, PAGE_SIZE, Pfn};
use hyp_core::verify::{ImageMemory, soft_sha256_frame};

/// Frame n is page n of the file.
pub(super) struct FileMemory<'a> {
    file: &'a [u8],
    bundle: &'a Bundle<'a>,
}

impl<'a> FileMemory<'a> {
    pub(super) fn new(file: &'a [u8], bundle: &'a Bundle<'a>) -> Self {
        FileMemory { file, bundle }
    }

    /// The frame that a host would put at `ipa`.
    pub(super) fn frame_of(&self, ipa: Ipa) -> Option<Pfn> {
        self.bundle.images().iter().find_map(|image| {
            let offset = ipa.as_u64().checked_sub(image.ipa)?;
            (offset < image.size).then(|| Pfn((image.offset + offset) / PAGE_SIZE))
        })
    }

    fn at(&self, frame: Pfn, offset: usize) -> &[u8] {
        // The bundle's parser has seen that whole pages are inside the file.
        &self.file[frame.pa() as usize + offset..]
    }
}

impl ImageMemory for FileMemory<'_> {
    fn read(&self, frame: Pfn, offset: usize, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.at(frame, offset)[..buffer.len()]);
    }

    fn write(&self, _: Pfn, _: usize, _: &[u8]) {
        // Ward zeroes what follows an image in memory; a file stays as it is.
    }

    fn sha256(&self, state: &mut [u32; 8], frame: Pfn) {
        if let Some(page) = self.at(frame, 0).first_chunk() {
            soft_sha256_frame(state, page);
        }
    }
}
