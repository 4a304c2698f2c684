//! The guest's plain devices: console, clock, power button, and a register to say that it died.

use crate::bus::{Line, MmioDevice};
use std::sync::Arc;
use vm_superio::Rtc;
use vm_superio::rtc_pl031::NoEvents;

mod pl011;
mod pl061;
mod power_button;
mod pvpanic;
#[cfg(test)]
mod tests;

pub use pl011::Pl011;
pub use pl061::Pl061;
pub use power_button::PowerButton;
pub use pvpanic::{GuestEvents, PvPanic};

/// The identification registers of a PrimeCell, by which Linux finds its driver: 8 words at the
/// page's end, the part's number first.
fn primecell(part: u32, offset: u64) -> u32 {
    let Some(word) = offset.checked_sub(0xfe0) else {
        return 0;
    };
    match word / 4 {
        byte @ 0..4 => part >> (8 * byte) & 0xff,
        byte => 0xb105_f00d_u32 >> (8 * (byte - 4)) & 0xff,
    }
}

/// A word of a register that the guest reads with any width.
fn give(value: u32, data: &mut [u8]) {
    for (to, from) in data.iter_mut().zip(value.to_le_bytes()) {
        *to = from;
    }
}

/// The value of a write of any width.
fn take(data: &[u8]) -> u32 {
    let mut word = [0; 4];
    for (to, from) in word.iter_mut().zip(data) {
        *to = *from;
    }
    u32::from_le_bytes(word)
}

/// A level interrupt that tells its line about changes only.
struct Level {
    line: Arc<dyn Line>,
    high: bool,
}

impl Level {
    fn new(line: Arc<dyn Line>) -> Self {
        Level { line, high: false }
    }

    fn set(&mut self, high: bool) {
        if high != self.high {
            self.high = high;
            if let Err(error) = self.line.set(high) {
                log::error!("a device's interrupt cannot be driven: {error}");
            }
        }
    }
}

/// A PL031 clock with the host's time. It can be set (for this guest); its alarm never rings.
pub struct Clock(Rtc<NoEvents>);

impl Clock {
    /// A clock that shows the host's time.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Clock(Rtc::new())
    }
}

impl MmioDevice for Clock {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        if let (Ok(word), Ok(offset)) = (<&mut [u8; 4]>::try_from(data), u16::try_from(offset)) {
            self.0.read(offset, word);
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if let (Ok(word), Ok(offset)) = (data.try_into(), u16::try_from(offset)) {
            self.0.write(offset, word);
        }
    }
}
