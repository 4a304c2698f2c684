//! KVM beside Ward against KVM by itself: what a guest's exits cost, in instructions.
//!
//! One kernel in four machines that differ in nothing else: KVM without VHE, with it, in its own
//! protected mode, and by Ward. The guest is the test guest, which measures itself
//! (tests/payload/src/guest/compare.rs) under a VMM that does as little as it can
//! (tests/linux/src/bin/ward-vm-test).

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::host::{self, kernel};
use crate::image::Images;
use crate::initramfs;
use crate::qemu::host::Files;
use crate::qemu::{BARE, Machine, console};
use crate::run::{say, shell_line};

/// The name of the table in the manual.
pub(crate) const MARKERS: &str = "bench-compare";

/// A machine, and the guests that are counted there.
#[derive(Clone, Copy)]
struct Start {
    name: &'static str,
    ward: bool,
    words: &'static str,
    guests: &'static [&'static str],
}

const fn start(name: &'static str, words: &'static str, guests: &'static [&'static str]) -> Start {
    Start {
        name,
        ward: false,
        words,
        guests,
    }
}

const STARTS: &[Start] = &[
    start("nVHE", "kvm-arm.mode=nvhe", &["normal"]),
    start("VHE", "", &["normal"]),
    start("pKVM", "kvm-arm.mode=protected", &["normal", "protected"]),
    Start {
        ward: true,
        ..start("Ward", "", &["normal", "protected"])
    },
];

/// The counts of one guest.
#[derive(Debug)]
pub(crate) struct Column {
    name: String,
    counts: Vec<(String, u64)>,
}

impl Start {
    fn command(&self, files: &Files<'_>) -> Command {
        let bootargs = format!(
            "console=ttyAMA0 quiet panic=-1 {} ward.bench={}",
            self.words,
            self.guests.join(",")
        );
        let machine = Machine {
            cpu: "max",
            cpus: 2,
            memory: 1024,
            count_instructions: true,
        };
        let mut qemu = machine.command();
        qemu.args(BARE);
        files.load(&mut qemu, self.ward, &bootargs);
        qemu
    }
}

/// Everything measured once.
pub(crate) fn measure(images: &Images, limit: Duration) -> Result<Vec<Column>> {
    let kernel = kernel::prepare(&kernel::Choice::Small)?;
    let initrd = host::dir("bench")?.join("compare-initramfs");
    let bundle = ("bundle".to_owned(), images.payload.bundle().to_path_buf());
    initramfs::only(&host::program("ward-vm-test")?, &[bundle], &initrd)?;
    let files = Files {
        ward: &images.ward,
        kernel: &kernel.image,
        initrd: &initrd,
    };
    let mut columns = Vec::new();
    for start in STARTS {
        let mut qemu = start.command(&files);
        say(&format!("counting {}: {}", start.name, shell_line(&qemu)));
        let console = console::watch(&mut qemu, Some(limit), false)?;
        if let Some(wrong) = console.bad_end() {
            bail!("{} did not finish: {wrong}", start.name);
        }
        let found = read(start.name, &console.lines)?;
        if found.len() != start.guests.len() || found.iter().any(|one| one.counts.is_empty()) {
            bail!(
                "{} did not say all counts:\n  {}",
                start.name,
                console.lines[console.lines.len().saturating_sub(12)..].join("\n  ")
            );
        }
        columns.extend(found);
    }
    Ok(columns)
}

/// Reads `KIND normal`, then lines `BENCH NAME COUNT instructions`.
fn read(start: &str, lines: &[String]) -> Result<Vec<Column>> {
    let mut columns = Vec::<Column>::new();
    for line in lines {
        if let Some(kind) = line.strip_prefix("KIND ") {
            columns.push(Column {
                name: format!("{start} {kind}"),
                counts: Vec::new(),
            });
        } else if let Some(rest) = line.strip_prefix("BENCH ") {
            let words: Vec<&str> = rest.split(' ').collect();
            let count = words.get(1).and_then(|count| count.parse().ok());
            let count = count.with_context(|| format!("the line `{line}` is torn"))?;
            let column = columns.last_mut().context("a count before its guest")?;
            column.counts.push((words[0].to_owned(), count));
        } else if line.starts_with("FAILED ") {
            bail!("{start}: {line}");
        }
    }
    Ok(columns)
}

/// The table in Markdown. What Ward does worse than KVM without VHE is marked.
pub(crate) fn render(columns: &[Column]) -> String {
    let mut text = "| instructions |".to_owned();
    for column in columns {
        text.push_str(&format!(" {} |", column.name));
    }
    text.push_str(" |\n|---|");
    text.push_str(&"---:|".repeat(columns.len()));
    text.push_str("---|\n");
    let Some(first) = columns.first() else {
        return text;
    };
    for (name, aim) in &first.counts {
        let mut missed = Vec::new();
        text.push_str(&format!("| {name} |"));
        for column in columns {
            let count = column.counts.iter().find(|(known, _)| known == name);
            match count {
                Some((_, count)) => {
                    text.push_str(&format!(" {count} |"));
                    if let Some(kind) = column.name.strip_prefix("Ward ")
                        && count > aim
                    {
                        missed.push(kind);
                    }
                }
                None => text.push_str(" - |"),
            }
        }
        if missed.is_empty() {
            text.push_str("  |\n");
        } else {
            text.push_str(&format!(" missed: {} |\n", missed.join(", ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(start: &str, text: &str) -> Vec<Column> {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        read(start, &lines).unwrap()
    }

    #[test]
    fn a_row_above_the_first_column_is_marked_for_ward_alone() {
        let mut all = columns(
            "nVHE",
            "KIND normal\nBENCH a 10 instructions\nBENCH b 10 instructions\n",
        );
        all.extend(columns(
            "pKVM",
            "KIND normal\nBENCH a 90 instructions\nBENCH b 9 instructions\n",
        ));
        all.extend(columns(
            "Ward",
            "KIND normal\nBENCH a 10 instructions\nBENCH b 11 instructions\n",
        ));
        let table = render(&all);
        assert!(table.contains("| a | 10 | 90 | 10 |  |\n"), "{table}");
        assert!(
            table.contains("| b | 10 | 9 | 11 | missed: normal |\n"),
            "{table}"
        );
    }

    #[test]
    fn a_torn_or_failed_line_is_an_error() {
        for text in ["BENCH a 1 x", "KIND normal\nBENCH a", "FAILED no"] {
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            assert!(read("x", &lines).is_err(), "{text}");
        }
    }
}
