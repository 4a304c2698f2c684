//! Hashing a VM's images where they will run, in pieces that a host call can afford.

use super::Refusal;
use super::digest::Hash;
use crate::abi::manifest::{BadField, Image, Manifest};
use crate::addr::{Ipa, PAGE_SIZE, Pfn};
use crate::machine::Machine;

/// Frames that hold images. Every [`Machine`] is one; `ward verify` runs the same code over a file.
pub trait ImageMemory {
    /// [`Machine::read_frame`].
    fn read(&self, frame: Pfn, offset: usize, buffer: &mut [u8]);
    /// [`Machine::write_frame`]; only ever zeros, past the end of an image.
    fn write(&self, frame: Pfn, offset: usize, data: &[u8]);
    /// [`Machine::sha256_frame`].
    fn sha256(&self, state: &mut [u32; 8], frame: Pfn);
}

impl<M: Machine> ImageMemory for M {
    fn read(&self, frame: Pfn, offset: usize, buffer: &mut [u8]) {
        self.read_frame(frame, offset, buffer);
    }
    fn write(&self, frame: Pfn, offset: usize, data: &[u8]) {
        self.write_frame(frame, offset, data);
    }
    fn sha256(&self, state: &mut [u32; 8], frame: Pfn) {
        self.sha256_frame(state, frame);
    }
}

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The budget is used up.
    Again {
        /// Bytes of images still to hash.
        bytes_left: u64,
    },
    /// Every image is the signed one, and the rest of its last page is zero.
    Done,
}

/// How far the verification of a VM's images has come. One manifest has one `Progress`, made when
/// the manifest is set and kept beside it.
///
/// It only moves forward. A wrong digest is final: every later step refuses in the same way,
/// without hashing, so a VM cannot pass by starting again from the middle (the frames are the
/// VM's, so the host cannot repair them either: it destroys the VM).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The image at work; past the last one when all are verified.
    image: usize,
    /// Pages of that image already in `hash`.
    pages: u64,
    /// Meaningful when `pages` is not 0.
    hash: Hash,
    failed: bool,
}

impl Progress {
    /// Nothing hashed yet.
    pub const fn new() -> Self {
        Progress {
            image: 0,
            pages: 0,
            hash: Hash::Sha256([0; 8]),
            failed: false,
        }
    }

    /// Hashes up to `budget_frames` frames of the images of `manifest`, which has passed
    /// [`Manifest::check`]. `frame_of` gives the frame that the VM owns at an address.
    ///
    /// # Errors
    /// [`Refusal::MissingPage`]: this call does not count; it can be repeated when the page is
    /// there. [`Refusal::BadDigest`]: final.
    pub fn step<I: ImageMemory>(
        &mut self,
        memory: &I,
        manifest: &Manifest,
        frame_of: impl Fn(Ipa) -> Option<Pfn>,
        budget_frames: u64,
    ) -> Result<Step, Refusal> {
        let mut next = *self;
        for _ in 0..budget_frames {
            let Some(image) = next.image_at_work(manifest)? else {
                break;
            };
            let ipa = manifest
                .image_page(next.image, next.pages)
                .ok_or(BadField::at("images", next.image, "ipa", "unchecked"))?;
            let missing = Refusal::MissingPage {
                image: next.image,
                ipa,
            };
            next.hash_frame(memory, image, frame_of(ipa).ok_or(missing)?);
            if next.failed {
                break;
            }
        }
        *self = next;
        Ok(match self.image_at_work(manifest)? {
            Some(_) => Step::Again {
                bytes_left: self.bytes_left(manifest),
            },
            None => Step::Done,
        })
    }

    /// The image at work, or `None` after the last.
    fn image_at_work<'a>(&self, manifest: &'a Manifest) -> Result<Option<&'a Image>, Refusal> {
        if self.failed {
            return Err(Refusal::BadDigest { image: self.image });
        }
        Ok(manifest.images().get(self.image))
    }

    /// Takes the next frame of `image` in; after its last frame compares and goes on to the next
    /// image, or fails.
    fn hash_frame<I: ImageMemory>(&mut self, memory: &I, image: &Image, frame: Pfn) {
        if self.pages == 0 {
            self.hash = Hash::start(&image.digest);
        }
        let left = image.size - self.pages * PAGE_SIZE;
        if left >= PAGE_SIZE {
            self.hash.page(memory, frame);
        }
        self.pages += 1;
        if left > PAGE_SIZE {
            return;
        }
        let rest = (left % PAGE_SIZE) as usize;
        if rest != 0 {
            zero_from(memory, frame, rest);
        }
        let digest = self.hash.finish(memory, frame, rest, image.size);
        if digest == image.digest || cfg!(ward_without = "digest") {
            self.image += 1;
            self.pages = 0;
        } else {
            self.failed = true;
        }
    }

    fn bytes_left(&self, manifest: &Manifest) -> u64 {
        let rest = manifest.images().get(self.image..).unwrap_or_default();
        let all = rest.iter().fold(0_u64, |sum, i| sum.saturating_add(i.size));
        all.saturating_sub(self.pages * PAGE_SIZE)
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// Zeroes a frame from `offset` to its end: what follows an image in its last page came from the
/// host and is not signed.
fn zero_from<I: ImageMemory>(memory: &I, frame: Pfn, offset: usize) {
    const ZEROS: [u8; 256] = [0; 256];
    let mut at = offset;
    while at < PAGE_SIZE as usize {
        let bytes = (PAGE_SIZE as usize - at).min(ZEROS.len());
        memory.write(frame, at, &ZEROS[..bytes]);
        at += bytes;
    }
}
