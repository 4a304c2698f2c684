//! The console: one PL011 (DDI 0183), one line at a time.
//!
//! The UART is the host's too: Ward writes to it only at boot, for log lines and in a crash, and
//! never reads or configures it. Lines of different CPUs do not mix; a crash does not wait for
//! the lock, for its holder may be the one that crashed.

use crate::lock::TicketLock;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Data register, DDI 0183 3.3.1.
const DR: usize = 0x00;
/// Flag register, DDI 0183 3.3.3.
const FR: usize = 0x18;
/// `FR`: the transmit FIFO is full.
const FR_TXFF: u32 = 1 << 5;

/// Where the UART is; 0 while it is not known.
static BASE: AtomicUsize = AtomicUsize::new(0);
static LINE: TicketLock<()> = TicketLock::new(());

/// Uses the PL011 whose registers are mapped at `base`.
///
/// # Safety
/// `base` is mapped as device memory for as long as Ward runs, and a PL011 answers there.
pub unsafe fn set_base(base: usize) {
    BASE.store(base, Ordering::Release);
}

struct Uart(usize);

impl Uart {
    fn put(&mut self, byte: u8) {
        // A UART that never drains (flow control of a dead line) must not stop Ward.
        let mut patience = 1_000_000u32;
        while self.flags() & FR_TXFF != 0 && patience > 0 {
            patience -= 1;
        }
        // SAFETY: `set_base` promised a PL011; 32-bit access to DR is always valid.
        unsafe { core::ptr::write_volatile((self.0 + DR) as *mut u32, u32::from(byte)) }
    }

    fn flags(&self) -> u32 {
        // SAFETY: `set_base` promised a PL011; reading FR has no side effect.
        unsafe { core::ptr::read_volatile((self.0 + FR) as *const u32) }
    }
}

impl Write for Uart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.put(b'\r');
            }
            self.put(byte);
        }
        Ok(())
    }
}

fn uart() -> Option<Uart> {
    match BASE.load(Ordering::Acquire) {
        0 => None,
        base => Some(Uart(base)),
    }
}

/// Prints one line, whole.
pub fn line(args: fmt::Arguments<'_>) {
    if let Some(mut uart) = uart() {
        let _line = LINE.lock();
        let _ = writeln!(uart, "ward: {args}");
    }
}

/// Prints one line of a crash, without waiting for a CPU that may have stopped within a line.
pub fn crash_line(args: fmt::Arguments<'_>) {
    if let Some(mut uart) = uart() {
        let _ = writeln!(uart, "ward! {args}");
    }
}
