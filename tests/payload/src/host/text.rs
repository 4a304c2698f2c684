//! Text of bounded length, and why a test failed.

use crate::rt::lock::Lock;
use core::fmt::{self, Write};

/// Up to 200 bytes of text; what is too long is cut.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    bytes: [u8; 200],
    len: usize,
}

impl Text {
    /// No text.
    pub(crate) const EMPTY: Text = Text {
        bytes: [0; 200],
        len: 0,
    };

    /// The text.
    pub(crate) fn get(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or("(not UTF-8)")
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = (self.len + text.len()).min(self.bytes.len());
        self.bytes[self.len..end].copy_from_slice(&text.as_bytes()[..end - self.len]);
        self.len = end;
        Ok(())
    }
}

/// Texts of the last failures: a result that carries one is small.
static TEXTS: Lock<([Text; 32], usize)> = Lock::new(([Text::EMPTY; 32], 0));

/// Why a test failed.
pub(crate) struct Fail(usize);

impl Fail {
    /// A reason.
    pub(crate) fn new(args: fmt::Arguments<'_>) -> Self {
        let mut text = Text::EMPTY;
        // Text takes anything.
        let _ = text.write_fmt(args);
        let mut texts = TEXTS.lock();
        let number = texts.1;
        texts.0[number % 32] = text;
        texts.1 += 1;
        Fail(number)
    }

    /// The reason.
    pub(crate) fn text(&self) -> Text {
        TEXTS.lock().0[self.0 % 32]
    }
}

/// What a test returns.
pub(crate) type Outcome<T = ()> = Result<T, Fail>;

/// Ends a test.
macro_rules! fail {
    ($($arg:tt)*) => { return Err($crate::host::text::Fail::new(format_args!($($arg)*))) };
}

/// Ends a test unless it is so.
macro_rules! ensure {
    ($it:expr, $($arg:tt)*) => { if !$it { fail!($($arg)*) } };
}

/// Ends a test unless both are equal.
macro_rules! same {
    ($found:expr, $expected:expr, $what:expr) => {{
        let (found, expected) = ($found, $expected);
        if found != expected {
            fail!("{}: found {found:x?}, expected {expected:x?}", $what)
        }
    }};
}
