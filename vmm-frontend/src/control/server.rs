//! Answering on a guest's socket.

use super::Request;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::time::Duration;

/// How long somebody who connects may take to say what he wants.
const PATIENCE: Duration = Duration::from_millis(500);
/// Bytes of the longest request.
const LONGEST: u64 = 64;

/// Serves one connection that waits at `listener`; `reply` knows the answers.
///
/// # Errors
/// The system's; the next connection may do better.
pub fn answer(listener: &UnixListener, reply: impl FnOnce(Request) -> Value) -> io::Result<()> {
    let (stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    let mut reader = BufReader::new((&stream).take(LONGEST));
    // One that connects and says nothing only asks whether somebody is here.
    if reader.read_line(&mut line)? == 0 {
        return Ok(());
    }
    let answer = match Request::from_word(line.trim()) {
        Some(request) => reply(request),
        None => json!({ "error": "unknown request" }),
    };
    writeln!(&stream, "{answer}")
}
