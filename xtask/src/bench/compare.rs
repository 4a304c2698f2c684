//! KVM beside Ward against KVM by itself: what a guest's exits cost, in instructions.
//!
//! One kernel in four machines that differ in nothing else: KVM without VHE, with it, in its own
//! protected mode, and by Ward. The first guest is the test guest, which measures itself
//! (tests/payload/src/guest/compare.rs) under a VMM that does as little as it can
//! (tests/linux/src/bin/ward-vm-test); the second is that kernel again, by `ward run`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::host::{self, kernel};
use crate::image::Images;
use crate::initramfs;
use crate::payload::{owner_key, ward};
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
    exits: Vec<(String, u64)>,
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
    let named = |name: &str, file| (name.to_owned(), file);
    let inside = [
        named("bundle", images.payload.bundle().to_path_buf()),
        named("bin/ward", host::ward()?),
        named("guests/bench.ward", guest(&kernel.image)?),
    ];
    initramfs::only(&host::program("ward-vm-test")?, &inside, &initrd)?;
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

/// The same kernel as a guest: one CPU, no program but the first.
fn guest(kernel: &Path) -> Result<PathBuf> {
    let dir = host::dir("bench")?;
    let (initrd, out) = (dir.join("guest-initramfs"), dir.join("bench.ward"));
    initramfs::only(&host::program("ward-guest-init")?, &[], &initrd)?;
    let key = owner_key()?;
    let [kernel, initrd, key, file] =
        [kernel, &initrd, &key, &out].map(|path| path.to_string_lossy());
    ward(&[
        "bundle",
        "--kernel",
        &kernel,
        "--initrd",
        &initrd,
        "--append",
        "console=ttyAMA0 loglevel=3 ward.scenario=bench",
        "--cpus",
        "1",
        "--memory",
        "256M",
        "--image-version",
        "1",
        "--key",
        &key,
        "--out",
        &file,
    ])?;
    Ok(out)
}

/// Reads `KIND normal`, then lines `BENCH NAME COUNT instructions` and `EXITS NAME COUNT`.
fn read(start: &str, lines: &[String]) -> Result<Vec<Column>> {
    let mut columns = Vec::<Column>::new();
    for line in lines {
        if let Some(kind) = line.strip_prefix("KIND ") {
            columns.push(Column {
                name: format!("{start} {kind}"),
                counts: Vec::new(),
                exits: Vec::new(),
            });
        } else if line.starts_with("FAILED ") {
            bail!("{start}: {line}");
        } else if line.starts_with("BENCH ") || line.starts_with("EXITS ") {
            let words: Vec<&str> = line.split(' ').collect();
            let count = words.get(2).and_then(|count| count.parse().ok());
            let count = count.with_context(|| format!("the line `{line}` is torn"))?;
            let column = columns.last_mut().context("a count before its guest")?;
            let list = match words[0] {
                "BENCH" => &mut column.counts,
                _ => &mut column.exits,
            };
            list.push((words[1].to_owned(), count));
        }
    }
    Ok(columns)
}

/// By how many thousandths each row differs at most between two measurements, as a sentence.
pub(crate) fn spread(first: &[Column], second: &[Column]) -> String {
    let mut rows = Vec::<(&str, u64)>::new();
    for (one, two) in first.iter().zip(second) {
        for ((name, count), (_, again)) in one.counts.iter().zip(&two.counts) {
            let apart = count.abs_diff(*again) * 1000 / (*count).max(1);
            match rows.iter_mut().find(|(known, _)| known == name) {
                Some((_, most)) => *most = apart.max(*most),
                None => rows.push((name, apart)),
            }
        }
    }
    let rows: Vec<String> = rows
        .iter()
        .map(|(name, apart)| format!("`{name}` {apart}"))
        .collect();
    format!(
        "\nMeasured twice; the two differ, in thousandths, by at most: {}.\n",
        rows.join(", ")
    )
}

/// The tables in Markdown. What Ward does worse than KVM without VHE is marked; exits have no aim.
pub(crate) fn render(columns: &[Column]) -> String {
    let mut text = table("instructions", columns, |column| &column.counts, true);
    if columns.iter().any(|column| !column.exits.is_empty()) {
        text.push('\n');
        text.push_str(&table("exits", columns, |column| &column.exits, false));
    }
    text
}

fn table(
    title: &str,
    columns: &[Column],
    of: impl Fn(&Column) -> &Vec<(String, u64)>,
    aims: bool,
) -> String {
    let names: Vec<String> = columns.iter().map(|c| format!(" {} |", c.name)).collect();
    let mut text = format!("| {title} |{}", names.concat());
    text.push_str(if aims { " |" } else { "" });
    text.push_str(&format!("\n|---|{}", "---:|".repeat(columns.len())));
    text.push_str(if aims { "---|\n" } else { "\n" });
    for (name, aim) in columns.first().map_or(&[][..], |first| of(first)) {
        let mut missed = Vec::new();
        text.push_str(&format!("| {name} |"));
        for column in columns {
            let count = of(column).iter().find(|(known, _)| known == name);
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
        text.push_str(&match (aims, missed.is_empty()) {
            (false, _) => "\n".to_owned(),
            (true, true) => "  |\n".to_owned(),
            (true, false) => format!(" missed: {} |\n", missed.join(", ")),
        });
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
    fn exits_have_a_table_of_their_own_and_no_aim() {
        let mut all = columns("nVHE", "KIND normal\nBENCH a 1 instructions\nEXITS a 2\n");
        all.extend(columns(
            "Ward",
            "KIND normal\nBENCH a 1 instructions\nEXITS a 9\n",
        ));
        let text = render(&all);
        assert!(text.contains("| a | 1 | 1 |  |\n\n| exits |"), "{text}");
        assert!(text.ends_with("| a | 2 | 9 |\n"), "{text}");
    }

    #[test]
    fn the_spread_is_the_largest_of_a_row() {
        let all = |a, b| {
            let mut all = columns("x", &format!("KIND normal\nBENCH a {a} instructions\n"));
            all.extend(columns(
                "y",
                &format!("KIND normal\nBENCH a {b} instructions\n"),
            ));
            all
        };
        let said = spread(&all(1000, 1000), &all(1002, 990));
        assert!(said.contains("`a` 10."), "{said}");
    }

    #[test]
    fn a_torn_or_failed_line_is_an_error() {
        for text in ["BENCH a 1 x", "KIND normal\nBENCH a", "FAILED no"] {
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            assert!(read("x", &lines).is_err(), "{text}");
        }
    }
}
