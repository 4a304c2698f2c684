//! DMA by two devices that copy what they are told, to where they are told. Nothing here believes
//! the device: what it read it must write to a page of the host, what it wrote is looked at.

use super::env::Env;
use super::log::Log;
use super::text::{Outcome, Text};
use crate::rt::edu::Edu;
use crate::rt::{memory, pages};
use core::fmt::{self, Write};

/// What the device's buffer holds before it reads.
const MARK: u64 = 0x6d61_726b_6d61_726b;
/// What must arrive for the rest to count.
const PROOF: u64 = 0x7072_6f6f_6670_726f;
/// What attacks write.
pub(crate) const ATTACK: u64 = 0x6174_7461_636b_6564;

/// A device, and a page of the host for its results.
pub(crate) struct Dma {
    edu: Edu,
    page: u64,
}

/// The devices, two at least, each with a stream of its own.
pub(crate) fn devices(env: &Env) -> Outcome<[Dma; 2]> {
    let (ecam, window) = (env.board.ecam, env.board.pci_window);
    ensure!(
        ecam != 0 && window != 0,
        "no PCI host bridge in the device tree"
    );
    let mut all = Edu::all(ecam, window);
    let (Some(one), Some(two)) = (all.next(), all.next()) else {
        fail!("two `edu` devices are wanted on PCI bus 0 (QEMU: -device edu, twice)")
    };
    Ok([one, two].map(|edu| Dma {
        edu,
        page: pages::take_one(),
    }))
}

/// Gives the pages of [`devices`] back.
pub(crate) fn done(devices: [Dma; 2]) -> Outcome {
    devices.iter().for_each(|dma| pages::give(dma.page, 1));
    Ok(())
}

impl Dma {
    /// The device.
    pub(crate) const fn edu(&self) -> &Edu {
        &self.edu
    }

    /// The page for its results.
    pub(crate) const fn page(&self) -> u64 {
        self.page
    }

    fn ended(&self) -> Outcome {
        ensure!(
            self.edu.wait(),
            "a transfer of the device {:#x} did not end",
            self.edu.stream
        );
        Ok(())
    }

    /// The first `bytes` (4 or 8) at `target`, by DMA; `None` where nothing, or zero, was read.
    pub(crate) fn peek(&self, target: u64, bytes: u64) -> Outcome<Option<u64>> {
        memory::poke(self.page, MARK);
        memory::poke(self.page + 8, PROOF);
        self.edu.start_read(self.page, 16);
        self.ended()?;
        self.edu.start_read(target, bytes);
        self.ended()?;
        memory::fill(self.page, 16, 0);
        self.edu.start_write(self.page, 16);
        self.ended()?;
        same!(
            memory::peek(self.page + 8),
            PROOF,
            "DMA to and from the host's own page"
        );
        let mask = u64::MAX >> (64 - 8 * bytes);
        let word = memory::peek(self.page) & mask;
        Ok((word != 0 && word != MARK & mask).then_some(word))
    }

    /// Writes the first `bytes` (4 or 8) of a word to `target`, by DMA.
    pub(crate) fn poke(&self, target: u64, word: u64, bytes: u64) -> Outcome {
        memory::poke(self.page, word);
        memory::poke(self.page + 8, 0);
        self.edu.start_read(self.page, 8);
        self.ended()?;
        self.edu.start_write(target, bytes);
        self.ended()?;
        self.edu.start_write(self.page + 8, 8);
        self.ended()?;
        same!(
            memory::peek(self.page + 8),
            word,
            "DMA to and from the host's own page"
        );
        Ok(())
    }

    /// Reading the word at `target` must be refused, and Ward's log must say so.
    pub(crate) fn must_not_read(&self, target: u64, bytes: u64, what: &str) -> Outcome {
        let log = Log::end();
        if let Some(word) = self.peek(target, bytes)? {
            fail!("{what} at {target:#x} is readable by DMA: {word:#x}")
        }
        self.must_be_told(log, "a read", target, what)
    }

    /// Writing the word at `target` must be refused, and Ward's log must say so. Whether memory
    /// is what it was is for the caller to see as well, where reading is refused too.
    pub(crate) fn must_not_write(&self, target: u64, bytes: u64, what: &str) -> Outcome {
        let log = Log::end();
        self.poke(target, ATTACK, bytes)?;
        if let Some(word) = self.peek(target, bytes)? {
            let how = if word == ATTACK & u64::MAX >> (64 - 8 * bytes) {
                "was changed"
            } else {
                "is readable"
            };
            fail!("{what} at {target:#x} {how} by DMA: {word:#x}")
        }
        self.must_be_told(log, "a write", target, what)
    }

    /// Neither can be done.
    pub(crate) fn must_not_reach(&self, target: u64, bytes: u64, what: &str) -> Outcome {
        self.must_not_read(target, bytes, what)?;
        self.must_not_write(target, bytes, what)
    }

    /// The log has a line of this device, page and direction, with a reason:
    /// `stream 0x0010 was refused a write at 0x4123000: nothing is mapped there`.
    pub(crate) fn must_be_told(
        &self,
        mut log: Log,
        access: &str,
        target: u64,
        what: &str,
    ) -> Outcome {
        let stream = text(format_args!("stream {:#06x} ", self.edu.stream));
        // The device's words are sent in halves: the page is what counts.
        let address = text(format_args!(" at {:#x}", target >> 12));
        let words = [stream.get(), "was refused", access, address.get()];
        let reasons = ["mapped", "too large"];
        let found = log.has(|line| {
            words.iter().all(|word| line.contains(word))
                && reasons.iter().any(|reason| line.contains(reason))
        });
        ensure!(
            found,
            "Ward's log does not say that {}was refused {access} at {target:#x}: {what}",
            stream.get()
        );
        Ok(())
    }
}

fn text(words: fmt::Arguments<'_>) -> Text {
    let mut text = Text::EMPTY;
    // Text takes anything.
    let _ = text.write_fmt(words);
    text
}
