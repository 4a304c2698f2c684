//! The user's terminal as the guest's console: raw while the guest runs, as it was afterwards.
//!
//! In raw mode every key goes to the guest, Ctrl-C too, but for what follows [`ESCAPE`].

use std::io;
use std::os::fd::RawFd;
use std::sync::OnceLock;

#[cfg(test)]
mod tests;

/// Ctrl-A: the next key is for this program.
pub const ESCAPE: u8 = 1;

/// What the user is told when he asks, or when the guest starts.
pub const HELP: &str =
    "Ctrl-A X ends the guest at once, Ctrl-A P presses its power button, Ctrl-A A sends Ctrl-A";

/// The terminal as it was, for [`restore`].
static BEFORE: OnceLock<(RawFd, libc::termios)> = OnceLock::new();

/// Remembers how a terminal is, for [`make_raw`] and [`restore`] of this process and those that it
/// forks. `false` when the file is no terminal, or one that another job has in front now: it is
/// left alone.
pub fn remember(fd: RawFd) -> bool {
    // SAFETY: takes a number and touches no memory.
    let in_front = unsafe { libc::tcgetpgrp(fd) };
    // SAFETY: takes nothing and touches no memory.
    let ours = in_front == unsafe { libc::getpgrp() };
    let mut now = std::mem::MaybeUninit::<libc::termios>::uninit();
    // SAFETY: the pointer is to room for one `termios`. Fails for what is no terminal.
    if !ours || unsafe { libc::tcgetattr(fd, now.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the call that succeeded has filled it in.
    let now = unsafe { now.assume_init() };
    BEFORE.get_or_init(|| (fd, now)).0 == fd
}

/// Puts the terminal that was [remembered](remember) into raw mode, but for its output: lines of
/// this program still begin at the left.
///
/// # Errors
/// The system's.
pub fn make_raw() -> io::Result<()> {
    let Some((fd, before)) = BEFORE.get() else {
        return Ok(());
    };
    let mut raw = *before;
    // SAFETY: `raw` is a whole `termios` of this frame.
    unsafe { libc::cfmakeraw(&mut raw) };
    raw.c_oflag |= libc::OPOST;
    set(*fd, &raw)
}

/// Puts the terminal back as it was remembered. May be called at any time, as often as one likes,
/// and from a signal handler.
pub fn restore() {
    if let Some((fd, before)) = BEFORE.get() {
        // Nobody to tell, and nothing else to try.
        let _ = set(*fd, before);
    }
}

fn set(fd: RawFd, to: &libc::termios) -> io::Result<()> {
    // SAFETY: the pointer is to a whole `termios`, only read.
    match unsafe { libc::tcsetattr(fd, libc::TCSANOW, to) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What the user wants of this program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// End the guest at once.
    Quit,
    /// Press the power button.
    PowerButton,
    /// Say what can be wished.
    Help,
}

/// Finds wishes among the keys.
#[derive(Default, Debug)]
pub struct Keys {
    escaped: bool,
}

impl Keys {
    /// Takes keys that were typed: those for the guest are appended to `guest`, and the wishes are
    /// returned in their order.
    pub fn typed(&mut self, keys: &[u8], guest: &mut Vec<u8>) -> Vec<Wish> {
        let mut wishes = Vec::new();
        for &key in keys {
            if !std::mem::take(&mut self.escaped) {
                if key == ESCAPE {
                    self.escaped = true;
                } else {
                    guest.push(key);
                }
                continue;
            }
            match key.to_ascii_lowercase() {
                b'x' => wishes.push(Wish::Quit),
                b'p' => wishes.push(Wish::PowerButton),
                ESCAPE | b'a' => guest.push(ESCAPE),
                _ => wishes.push(Wish::Help),
            }
        }
        wishes
    }
}
