//! Where `println!` writes: to a PL011 for the host, to an emulated register for the guest.

use super::lock::Lock;
use super::memory;
use core::fmt::{self, Write};

/// Where characters go.
#[derive(Clone, Copy)]
pub(crate) enum Console {
    /// Nowhere yet.
    None,
    /// A PL011 UART (DDI 0183): data at 0, flags at 0x18.
    Pl011(u64),
    /// One 32-bit store for each byte, at this address.
    Register(u64),
}

static CONSOLE: Lock<Console> = Lock::new(Console::None);

/// Chooses where characters go.
pub(crate) fn set(console: Console) {
    *CONSOLE.lock() = console;
}

/// For the last words of a CPU that may have been interrupted while printing.
pub(crate) fn break_lock() {
    CONSOLE.break_open();
}

/// Prints the line as a whole.
pub(crate) fn print(args: fmt::Arguments<'_>) {
    let mut console = CONSOLE.lock();
    // Writing to a console cannot fail.
    let _ = console.write_fmt(args);
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            match *self {
                Console::None => {}
                Console::Pl011(base) => {
                    while memory::read_device32(base + 0x18) & 1 << 5 != 0 {}
                    memory::write_device32(base, u32::from(byte));
                }
                Console::Register(address) => memory::write_device32(address, u32::from(byte)),
            }
        }
        Ok(())
    }
}
