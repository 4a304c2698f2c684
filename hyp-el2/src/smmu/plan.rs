//! How much memory the tables and queues of one SMMU take, and where in it they are.

use core::ops::Range;
use hyp_core::addr::{PAGE_SIZE, Pfn};
use smmu::v3::{Capabilities, CommandQueue, EventQueue, Placement, Shape, StreamTable};

/// log2 of the commands that fit, where the SMMU has so many: a page. A call of the host's asks for
/// far fewer before it waits.
const COMMANDS: u8 = 8;
/// log2 of the events that fit: a page.
const EVENTS: u8 = 7;
/// Streams, as bits, that have entries though the tree does not name them: 18 KiB with two levels.
const USUAL_TWO_LEVEL: u8 = 16;
const USUAL_LINEAR: u8 = 8;
/// The most, for a tree that names them: 512 KiB and 4 MiB.
const MOST_TWO_LEVEL: u8 = 24;
const MOST_LINEAR: u8 = 16;
/// Second-level pages kept for streams that will differ from the rest; each is for 256 of them.
const SPARE: u64 = 4;

/// The shape of one SMMU's tables and queues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Streams of as many bits have entries, all others abort.
    pub stream_bits: u8,
    two_level: bool,
    commands: u8,
    events: u8,
}

impl Plan {
    /// For an SMMU of which the device tree names streams below `streams`.
    pub fn new(caps: &Capabilities, streams: u64) -> Self {
        let named = 64 - streams.saturating_sub(1).leading_zeros() as u8;
        let (usual, most) = if caps.two_level {
            (USUAL_TWO_LEVEL, MOST_TWO_LEVEL)
        } else {
            (USUAL_LINEAR, MOST_LINEAR)
        };
        Plan {
            stream_bits: named.max(usual).min(most).min(caps.stream_bits),
            two_level: caps.two_level,
            commands: caps.command_order.min(COMMANDS),
            events: caps.event_order.min(EVENTS),
        }
    }

    /// Bytes of each part, and to how many it is aligned: the table, what its first level begins
    /// with, the spare pages, the queues.
    fn parts(&self) -> [(u64, u64); 5] {
        let page = StreamTable::PAGE_BYTES;
        let pages = if self.two_level { page } else { 0 };
        let own = |bytes| (bytes, bytes);
        [
            own(StreamTable::bytes(self.stream_bits, self.two_level)),
            (pages, page),
            (pages * SPARE, page),
            own(CommandQueue::bytes(self.commands)),
            own(EventQueue::bytes(self.events)),
        ]
    }

    /// The same in frames.
    fn frames_of(&self) -> [(u64, u64); 5] {
        let frames = |bytes: u64| bytes.div_ceil(PAGE_SIZE);
        self.parts()
            .map(|(bytes, align)| (frames(bytes), frames(align)))
    }

    /// Frames that [`Plan::place`] takes at most, wherever they begin.
    pub fn frames(&self) -> u64 {
        let each = self.frames_of();
        each.iter().map(|(frames, align)| frames + align - 1).sum()
    }

    /// Takes frames, so many and so aligned, for each part. The last is where spare pages are.
    pub fn place(&self, mut take: impl FnMut(u64, u64) -> Pfn) -> (Placement, Range<u64>) {
        let [streams, shared, spare, commands, events] = self
            .frames_of()
            .map(|(frames, align)| take(frames, align).pa());
        let shape = if self.two_level {
            Shape::TwoLevel { shared }
        } else {
            Shape::Linear
        };
        let placement = Placement {
            streams: StreamTable::new(streams, self.stream_bits, shape),
            commands,
            command_order: self.commands,
            events,
            event_order: self.events,
        };
        (placement, spare..spare + self.parts()[2].0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smmu::ident::{Identification, Idr0, Idr1, Idr3, Idr5};

    fn caps(two_level: bool, stream_bits: u8) -> Capabilities {
        // QEMU's, but for what is asked for.
        let ident = Identification::decode(
            Idr0(0x0d44_101b),
            Idr1(0x0273_0010),
            Idr3(0x1414),
            Idr5(0x74),
        );
        Capabilities {
            two_level,
            stream_bits,
            ..Capabilities::of(&ident.unwrap()).unwrap()
        }
    }

    #[test]
    fn streams_that_the_tree_names_have_entries_as_far_as_the_smmu_and_memory_have() {
        let bits = |two_level, has, streams| Plan::new(&caps(two_level, has), streams).stream_bits;
        assert_eq!(bits(true, 16, 0x1_0000), 16);
        assert_eq!(bits(true, 32, 0), 16);
        assert_eq!(bits(true, 32, 0x1_0001), 17);
        assert_eq!(bits(true, 32, 1 << 32), 24);
        assert_eq!(bits(true, 5, 1 << 32), 5);
        assert_eq!(bits(false, 16, 3), 8);
        assert_eq!(bits(false, 16, 0x1000), 12);
        assert_eq!(bits(false, 20, 1 << 20), 16);
    }

    /// Wherever the memory begins: parts are aligned, apart from each other, and within it.
    #[test]
    fn parts_are_aligned_and_apart() {
        for plan in [
            Plan::new(&caps(true, 16), 0x1_0000),
            Plan::new(&caps(true, 32), 1 << 32),
            Plan::new(&caps(false, 16), 0x1_0000),
            Plan::new(&caps(false, 2), 0),
        ] {
            for start in [0x4_0001, 0x4_0003, 0x4_0400, 0x4_07ff] {
                let mut next = start;
                let mut taken: Vec<(u64, u64)> = Vec::new();
                let (place, spare) = plan.place(|frames, align| {
                    let first = u64::next_multiple_of(next, align);
                    next = first + frames;
                    taken.push((first, frames));
                    Pfn(first)
                });
                assert!(next - start <= plan.frames(), "{plan:?}");
                let mut parts = taken.iter().zip(plan.parts());
                assert!(parts.all(|((_, frames), (bytes, _))| frames << 12 >= bytes));
                assert!(spare.start.is_multiple_of(StreamTable::PAGE_BYTES));
                assert!(
                    place
                        .commands
                        .is_multiple_of(CommandQueue::bytes(place.command_order))
                );
                assert!(
                    place
                        .events
                        .is_multiple_of(EventQueue::bytes(place.event_order))
                );
                let table = StreamTable::bytes(plan.stream_bits, plan.two_level);
                assert!((taken[0].0 << 12).is_multiple_of(table));
            }
        }
    }

    #[test]
    fn an_smmu_of_16_bits_takes_116_kib_at_most() {
        let plan = Plan::new(&caps(true, 16), 0x1_0000);
        assert_eq!(plan.frames(), 29);
    }
}
