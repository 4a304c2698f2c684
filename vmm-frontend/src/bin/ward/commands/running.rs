//! `ward list`, `stats` and `stop`: talking to running guests.

use super::Done;
use crate::report::Report;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};
use vmm_frontend::control::{ControlError, Guest, Request, ask, guests};
use vmm_frontend::{Error, exit};

#[cfg(test)]
mod tests;

/// The kernel's directory of Ward's counters.
const WARD: &str = "/sys/kernel/debug/ward/stats";
/// The kernel's directory of VMs.
const KVM: &str = "/sys/kernel/debug/kvm";

/// How often `stop` looks whether the guest has ended, and asks it again.
const LOOK: Duration = Duration::from_millis(50);
const AGAIN: Duration = Duration::from_secs(5);

struct List(Vec<Value>);

pub fn list() -> Done {
    // One that ends at this moment is not listed.
    let infos = guests()
        .iter()
        .filter_map(|guest| ask(guest, Request::Info).ok())
        .collect();
    Ok(Box::new(List(infos)))
}

impl Report for List {
    fn text(&self) -> String {
        let mut rows =
            vec![["NAME", "PID", "PROTECTION", "CPUS", "MEMORY", "UP", "FROM"].map(String::from)];
        rows.extend(self.0.iter().map(|info| {
            let memory = info["memory"].as_u64().unwrap_or(0) >> 20;
            [
                word(&info["name"]),
                word(&info["pid"]),
                word(&info["protection"]),
                word(&info["cpus"]),
                format!("{memory} MiB"),
                duration(info["uptime"].as_u64().unwrap_or(0)),
                word(&info["from"]),
            ]
        }));
        table(&rows)
    }

    fn json(&self) -> Value {
        json!({ "guests": self.0 })
    }
}

struct Stats {
    guests: Vec<Value>,
    ward: Result<Value, String>,
}

pub fn stats(name: Option<&str>) -> Done {
    let found = match name {
        Some(name) => vec![find(name)?],
        None => guests(),
    };
    let mut all = Vec::new();
    for guest in &found {
        let mut stats = match ask(guest, Request::Stats) {
            // It was there a moment ago; among all, one that ended is no error.
            Err(_) if name.is_none() => continue,
            other => other?,
        };
        let path = Path::new(KVM).join(word(&stats["kvm"])).join("ward");
        if let Ok(ward) = counters(&path) {
            stats["ward"] = ward;
        }
        all.push(stats);
    }
    Ok(Box::new(Stats {
        guests: all,
        ward: counters(Path::new(WARD)),
    }))
}

impl Report for Stats {
    fn text(&self) -> String {
        let mut text = String::new();
        for stats in &self.guests {
            let _ = writeln!(
                text,
                "{} ({}, up {})",
                word(&stats["name"]),
                word(&stats["protection"]),
                duration(stats["uptime"].as_u64().unwrap_or(0))
            );
            for key in ["memory", "resident", "locked"] {
                if let Some(bytes) = stats[key].as_u64() {
                    let _ = writeln!(text, "  {key:<22}{} MiB", bytes >> 20);
                }
            }
            for (cpu, exits) in stats["exits"].as_array().into_iter().flatten().enumerate() {
                lines(&mut text, &format!("cpu{cpu}"), exits);
            }
            for (device, counts) in stats["devices"].as_object().into_iter().flatten() {
                lines(&mut text, device, counts);
            }
            lines(&mut text, "ward", &stats["ward"]);
        }
        match &self.ward {
            Ok(ward) => {
                text.push_str("Ward\n");
                lines(&mut text, "", ward);
            }
            Err(why) => {
                let _ = writeln!(text, "Ward: {why}");
            }
        }
        text
    }

    fn json(&self) -> Value {
        json!({ "guests": self.guests, "ward": self.ward.as_ref().ok() })
    }
}

struct Stopped {
    name: String,
    ended: bool,
    wait: u64,
    force: bool,
}

pub fn stop(name: &str, force: bool, wait: u64) -> Done {
    let guest = find(name)?;
    let request = if force { Request::Kill } else { Request::Power };
    ask(&guest, request)?;
    let mut asked = Instant::now();
    let until = asked + Duration::from_secs(wait.min(1 << 30));
    let mut ended = false;
    while !ended && Instant::now() < until {
        std::thread::sleep(LOOK);
        ended = !guests().contains(&guest);
        if !ended && asked.elapsed() > AGAIN {
            // One that was starting did not look at its button yet. Its end may come between.
            let _ = ask(&guest, request);
            asked = Instant::now();
        }
    }
    let name = name.into();
    Ok(Box::new(Stopped {
        name,
        ended,
        wait,
        force,
    }))
}

impl Report for Stopped {
    fn text(&self) -> String {
        match self.ended {
            true => format!("{} has ended\n", self.name),
            false => format!("{} still runs after {} s\n", self.name, self.wait),
        }
    }

    fn json(&self) -> Value {
        json!({ "name": self.name, "ended": self.ended })
    }

    fn exit(&self) -> u8 {
        if self.ended {
            exit::DONE
        } else {
            exit::REFUSED
        }
    }

    fn warnings(&self) -> Vec<String> {
        match (self.ended, self.force) {
            (true, _) => vec![],
            (false, false) => vec![
                "the guest does not answer its power button: it may lack gpio-keys, or be busy; --force ends it".into(),
            ],
            (false, true) => vec!["its VMM does not end: `kill -9` its PID (`ward list`)".into()],
        }
    }
}

fn find(name: &str) -> Result<Guest, Error> {
    let all = guests();
    if let Some(guest) = all.iter().find(|guest| guest.name == name) {
        return Ok(guest.clone());
    }
    let name = name.into();
    let among = all.into_iter().map(|guest| guest.name).collect();
    Err(ControlError::NoGuest { name, among }.into())
}

/// A file of `name value` lines. Unknown names are shown as they are.
fn counters(path: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let (why, remedy) = why_not(path, &error);
        format!("{why}: {remedy}")
    })?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Value {
    let pairs = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), json!(value.trim().parse::<u64>().ok()?)))
    });
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// Why something of Ward's in debugfs cannot be read, and what to do.
pub fn why_not(path: &Path, error: &std::io::Error) -> (String, &'static str) {
    use std::io::ErrorKind::{NotFound, PermissionDenied};
    let debugfs = Path::new("/sys/kernel/debug");
    match error.kind() {
        PermissionDenied => ("only root may look at it".into(), "do this as root"),
        NotFound if !debugfs.join("kvm").exists() => (
            "debugfs is not there".into(),
            "as root: mount -t debugfs none /sys/kernel/debug",
        ),
        NotFound => (
            "Ward is not below this kernel, or the kernel does not know it".into(),
            "boot the machine with Ward (docs/boot.md) and the project's kernel",
        ),
        _ => (
            format!("{}: {error}", path.display()),
            "Ward also writes its log to the machine's serial port, if it was built to",
        ),
    }
}

fn lines(text: &mut String, group: &str, counts: &Value) {
    for (key, value) in counts.as_object().into_iter().flatten() {
        let name = format!("{group} {}", key.replace('_', " "));
        let _ = writeln!(text, "  {:<22}{}", name.trim_start(), word(value));
    }
}

/// A string without its quotes, anything else as it is.
fn word(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), String::from)
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Columns as wide as what is in them; the last is not filled up.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
