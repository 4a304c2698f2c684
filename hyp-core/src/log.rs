//! Ward's log: a ring of bytes that the host reads by a call, one line each.
//!
//! Lines say who, what and why; they never hold a guest's data.

use core::fmt::{self, Write};

/// Bytes kept.
pub const LOG_BYTES: usize = 4096;
/// Bytes one [`Call::LogRead`](crate::abi::Call::LogRead) returns: five registers.
pub const READ_BYTES: usize = 40;

/// The last [`LOG_BYTES`] bytes written.
#[derive(Clone, Debug)]
pub struct Log {
    ring: [u8; LOG_BYTES],
    /// Bytes ever written: the cursor of the next byte.
    written: u64,
}

/// What a read found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Cursor of the byte after these.
    pub next: u64,
    /// How many of `bytes` count.
    pub len: usize,
    /// The bytes.
    pub bytes: [u8; READ_BYTES],
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

impl Log {
    /// An empty log.
    pub const fn new() -> Self {
        Log {
            ring: [0; LOG_BYTES],
            written: 0,
        }
    }

    /// Adds a line.
    pub fn line(&mut self, args: fmt::Arguments<'_>) {
        // Writing to the ring cannot fail; a formatter that does has said what it could.
        let _ = self.write_fmt(args);
        let _ = self.write_char('\n');
    }

    /// Reads from a cursor: from the oldest byte kept if the cursor's is gone, nothing if it is
    /// not yet written.
    pub fn read(&self, cursor: u64) -> Chunk {
        let oldest = self.written.saturating_sub(LOG_BYTES as u64);
        let from = cursor.clamp(oldest, self.written);
        let mut chunk = Chunk {
            next: from,
            len: 0,
            bytes: [0; READ_BYTES],
        };
        while chunk.len < READ_BYTES && chunk.next < self.written {
            chunk.bytes[chunk.len] = self.ring[(chunk.next % LOG_BYTES as u64) as usize];
            chunk.len += 1;
            chunk.next += 1;
        }
        chunk
    }
}

impl Write for Log {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.ring[(self.written % LOG_BYTES as u64) as usize] = byte;
            self.written += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
