//! Frames that the host's hardware uses past any SMMU.

use crate::lock::Order;
use crate::machine::Machine;
use crate::memory::Range;
use crate::ward::Ward;

impl<M: Machine> Ward<M> {
    /// Keeps frames of RAM the host's, and from being lent, until as many
    /// [`Ward::unpin_frames`]: a bus master that no SMMU stands before uses them. `false` if one
    /// of them is another's, is lent or cannot be counted; then none is pinned.
    pub fn pin_frames(&self, range: Range) -> bool {
        let mut order = Order::top();
        let (mut memory, _) = self.memory.lock(&mut order);
        let frames = || (0..range.frames).map(|n| range.first.add(n));
        let all = memory.check_ram(range).is_ok()
            && frames().all(|frame| memory.check_pin(frame).is_ok());
        if all {
            frames().for_each(|frame| memory.pin(frame));
        }
        all
    }

    /// Ends one [`Ward::pin_frames`] of the same range.
    pub fn unpin_frames(&self, range: Range) {
        let mut order = Order::top();
        let (mut memory, _) = self.memory.lock(&mut order);
        for n in 0..range.frames {
            memory.unpin(range.first.add(n));
        }
    }
}
