//! `ward log`: what Ward wrote.

use super::Done;
use super::running::why_not;
use crate::args::Output;
use crate::report::Report;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;
use vmm_frontend::Error;

const LOG: &str = "/sys/kernel/debug/ward/log";
/// How often to look for more.
const AGAIN: Duration = Duration::from_millis(200);

struct Lines(String);

pub fn run(follow: bool, output: Output) -> Done {
    let path = Path::new(LOG);
    let failed = |source: io::Error| {
        let (why, remedy) = why_not(path, &source);
        let what = "Ward's log";
        Error::Hidden { what, why, remedy }
    };
    let mut file = File::open(path).map_err(failed)?;
    if follow {
        return follow_on(&mut file, output).map_err(failed);
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(Box::new(Lines(
        String::from_utf8_lossy(&bytes).into_owned(),
    )))
}

/// Until Ctrl-C, or until nobody reads.
fn follow_on(file: &mut File, output: Output) -> io::Result<Box<dyn Report>> {
    let mut piece = [0; 4096];
    let mut rest = Vec::new();
    let mut out = io::stdout();
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            std::thread::sleep(AGAIN);
            continue;
        }
        rest.extend_from_slice(&piece[..read]);
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let written = match output {
                Output::Text => write!(out, "{line}"),
                Output::Json => writeln!(out, "{}", json!({ "line": line.trim_end() })),
            };
            if written.and_then(|()| out.flush()).is_err() {
                return Ok(Box::new(Lines(String::new())));
            }
        }
    }
}

impl Report for Lines {
    fn text(&self) -> String {
        self.0.clone()
    }

    fn json(&self) -> Value {
        json!({ "lines": self.0.lines().collect::<Vec<_>>() })
    }
}
