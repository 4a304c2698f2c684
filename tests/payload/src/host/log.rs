//! Ward's log, as a host reads it.

use super::calls::host_call;
use super::text::Text;
use crate::rt::time;
use core::fmt::Write;
use hyp_core::abi::Call;

/// A place in the log, from which lines are read.
pub(crate) struct Log {
    cursor: u64,
    line: Text,
}

impl Log {
    /// The end of the log.
    pub(crate) fn end() -> Self {
        let mut log = Log {
            cursor: 0,
            line: Text::EMPTY,
        };
        while log.chunk(|_| ()) {}
        log
    }

    /// Reads lines until one is as wanted. `false`: none came within two seconds.
    pub(crate) fn has(&mut self, wanted: impl Fn(&str) -> bool) -> bool {
        let limit = time::now() + 2 * time::frequency();
        let mut found = false;
        while !found && time::now() < limit {
            self.chunk(|line| found |= wanted(line));
        }
        found
    }

    /// Reads some bytes; `false`: there are none.
    fn chunk(&mut self, mut each: impl FnMut(&str)) -> bool {
        let Ok(reply) = host_call(Call::LogRead, &[self.cursor]) else {
            return false;
        };
        self.cursor = reply.x1;
        let [len, words @ ..] = reply.more;
        let bytes = words.iter().flat_map(|word| word.to_le_bytes());
        for byte in bytes.take(len as usize) {
            if byte == b'\n' {
                each(self.line.get());
                self.line = Text::EMPTY;
            } else {
                // Text takes anything.
                let _ = self.line.write_char(char::from(byte));
            }
        }
        len != 0
    }
}
