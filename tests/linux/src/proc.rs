//! Files of /proc and /sys, as data.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::{Context, Result};

/// Reads a file, without the line end.
pub(crate) fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim_end().to_owned())
}

/// Writes to a file that is there.
pub(crate) fn write(path: impl AsRef<Path>, text: &str) -> Result<()> {
    let path = path.as_ref();
    fs::write(path, text).with_context(|| format!("cannot write {text:?} to {}", path.display()))
}

/// A list such as `0-3,5` (CPUs that are online).
pub(crate) fn list(text: &str) -> Option<Vec<usize>> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        all.extend(first.parse().ok()?..=last.parse::<usize>().ok()?);
    }
    Some(all)
}

/// One interrupt of /proc/interrupts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interrupt {
    /// How often it came, for each CPU that is online.
    pub(crate) counts: Vec<u64>,
    /// Controller, number, kind and user.
    pub(crate) what: String,
}

impl Interrupt {
    /// How often it came to any CPU.
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// The lines of /proc/interrupts whose description has all these words in it.
pub(crate) fn interrupts(words: &[&str]) -> Result<Vec<Interrupt>> {
    Ok(interrupts_in(&read("/proc/interrupts")?)
        .into_iter()
        .filter(|line| words.iter().all(|word| line.what.contains(word)))
        .collect())
}

fn interrupts_in(text: &str) -> Vec<Interrupt> {
    let mut lines = text.lines();
    let cpus = lines.next().unwrap_or_default().split_whitespace().count();
    lines
        .filter_map(|line| {
            let (_number, rest) = line.split_once(':')?;
            let words: Vec<&str> = rest.split_whitespace().collect();
            let counts: Vec<u64> = words
                .iter()
                .take(cpus)
                .map_while(|word| word.parse().ok())
                .collect();
            let what = words.get(counts.len()..)?.join(" ");
            (counts.len() == cpus).then_some(Interrupt { counts, what })
        })
        .collect()
}

/// The ranges of /proc/iomem, in the outermost level, of that name.
pub(crate) fn iomem(name: &str) -> Result<Vec<RangeInclusive<u64>>> {
    Ok(iomem_in(&read("/proc/iomem")?, "", name))
}

/// The same of the level within.
pub(crate) fn iomem_within(name: &str) -> Result<Vec<RangeInclusive<u64>>> {
    Ok(iomem_in(&read("/proc/iomem")?, "  ", name))
}

fn iomem_in(text: &str, indent: &str, name: &str) -> Vec<RangeInclusive<u64>> {
    text.lines()
        .filter_map(|line| line.strip_prefix(indent))
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| {
            let (range, what) = line.split_once(" : ")?;
            let (first, last) = range.split_once('-')?;
            let number = |text| u64::from_str_radix(text, 16).ok();
            (what == name).then_some(number(first)?..=number(last)?)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(list("0"), Some(vec![0]));
        assert_eq!(list("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(list("x"), None);
        assert_eq!(list(""), None);
    }

    #[test]
    fn interrupts_are_read() {
        let text = "           CPU0       CPU1\n 11:        100          7     GICv3  27 Level     arch_timer\n\
                    42:  3  4  ITS-PCI-MSIX-0000:00:01.0   0 Edge      nvme0q0\nErr:          0\n\
                    IPI0:  1  2  Rescheduling interrupts\n";
        let found = interrupts_in(text);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].what, "GICv3 27 Level arch_timer");
        assert_eq!(found[0].counts, [100, 7]);
        assert_eq!(found[1].total(), 7);
    }

    #[test]
    fn ranges_of_memory_are_read() {
        let text = "09000000-09000fff : pl011\n40000000-401fffff : System RAM\n  40010000-4001ffff : System RAM\n\
                    40271000-bf9fffff : System RAM\n";
        assert_eq!(
            iomem_in(text, "", "System RAM"),
            [0x4000_0000..=0x401f_ffff, 0x4027_1000..=0xbf9f_ffff]
        );
        assert_eq!(
            iomem_in(text, "  ", "System RAM"),
            [0x4001_0000..=0x4001_ffff]
        );
    }
}
