//! QEMU's teaching device: copies between its buffer and any address, when it is told to and
//! some 100 ms later. It says that a transfer ended, never whether it arrived.

use super::memory::{read_device64, write_device64};
use super::pci::Function;
use super::time;

/// Vendor and device ID.
const ID: u32 = 0x11e8_1234;
/// Bytes of its registers.
const SIZE: u64 = 1 << 20;
const SOURCE: u64 = 0x80;
const DESTINATION: u64 = 0x88;
const COUNT: u64 = 0x90;
const COMMAND: u64 = 0x98;
/// Of [`COMMAND`]: go, or still going.
const START: u64 = 1;
/// Of [`COMMAND`]: from the buffer to memory.
const TO_MEMORY: u64 = 2;
/// The buffer, as the device names it.
const BUFFER: u64 = 0x4_0000;

/// One device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edu {
    registers: u64,
    /// The number of its stream.
    pub(crate) stream: u32,
}

impl Edu {
    /// All of them behind this host bridge, switched on, with their registers in `window`.
    pub(crate) fn all(ecam: u64, window: u64) -> impl Iterator<Item = Edu> {
        let registers = (window..).step_by(SIZE as usize);
        Function::all(ecam, ID)
            .zip(registers)
            .map(|(function, registers)| {
                function.enable(registers);
                Edu {
                    registers,
                    stream: function.requester,
                }
            })
    }

    /// Where its registers are: the first word says what it is.
    pub(crate) const fn registers(&self) -> u64 {
        self.registers
    }

    /// Begins to copy `bytes` (up to 4096) from an address into the buffer.
    pub(crate) fn start_read(&self, from: u64, bytes: u64) {
        self.start([from, BUFFER, bytes, START]);
    }

    /// Begins to copy `bytes` (up to 4096) from the buffer to an address.
    pub(crate) fn start_write(&self, to: u64, bytes: u64) {
        self.start([BUFFER, to, bytes, START | TO_MEMORY]);
    }

    fn start(&self, words: [u64; 4]) {
        for (at, word) in [SOURCE, DESTINATION, COUNT, COMMAND].into_iter().zip(words) {
            write_device64(self.registers + at, word);
        }
    }

    /// Waits for the end of the transfer. `false`: it did not come within seconds.
    pub(crate) fn wait(&self) -> bool {
        let limit = time::now() + 20 * time::frequency();
        while read_device64(self.registers + COMMAND) & START != 0 {
            if time::now() > limit {
                return false;
            }
            core::hint::spin_loop();
        }
        true
    }
}
