//! The table of counts: reading it from a console, comparing, printing, and keeping it in the manual.

use anyhow::{Context, Result};

use crate::markers;

/// The table stands in the manual between the markers of this name.
const MARKERS: &str = "bench";

/// What is aimed at, by name of the count; a count above its aim is marked.
const AIMS: &[(&str, u64)] = &[
    ("guest-call", 250),
    ("null-exit", 1_500),
    ("trusted lines, together", 10_000),
    ("image code and read-only data", 128 * 1024),
];

/// One count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    name: String,
    value: u64,
    unit: String,
}

impl Row {
    /// A count with its unit.
    pub(crate) fn new(name: &str, value: u64, unit: &str) -> Self {
        Row {
            name: name.to_owned(),
            value,
            unit: unit.to_owned(),
        }
    }

    fn aim(&self) -> Option<u64> {
        AIMS.iter()
            .find(|(name, _)| *name == self.name)
            .map(|(_, aim)| *aim)
    }
}

/// Reads the lines `BENCH name value unit`; the unit may have several words.
pub(crate) fn read(lines: &[String]) -> Result<Vec<Row>> {
    let rest = lines.iter().filter_map(|line| line.strip_prefix("BENCH "));
    rest.map(|rest| {
        let mut words = rest.splitn(3, ' ');
        let (name, value, unit) = (words.next(), words.next(), words.next());
        let value = value.and_then(|value| value.parse().ok());
        Option::zip(name, value)
            .zip(unit)
            .map(|((name, value), unit)| Row::new(name, value, unit))
            .with_context(|| format!("the line `BENCH {rest}` is not `BENCH name value unit`"))
    })
    .collect()
}

/// Counts of one machine beside those of another that has an SMMU, where they differ, in Markdown.
pub(crate) fn render_both(rows: &[Row], smmu: &[Row]) -> String {
    let mut table =
        "| what | without an SMMU | with one | unit |\n|---|---:|---:|---|\n".to_owned();
    for row in smmu {
        let without = rows.iter().find(|other| other.name == row.name);
        if without == Some(row) {
            continue;
        }
        let without = without.map_or("-".to_owned(), |row| row.value.to_string());
        table.push_str(&format!(
            "| {} | {without} | {} | {} |\n",
            row.name, row.value, row.unit
        ));
    }
    table
}

/// What differs between two runs, one sentence each.
pub(crate) fn differences(first: &[Row], second: &[Row]) -> Vec<String> {
    let mut different = Vec::new();
    if first.len() != second.len() {
        different.push(format!("{} counts, then {}", first.len(), second.len()));
    }
    for (one, two) in first.iter().zip(second).filter(|(one, two)| one != two) {
        different.push(format!(
            "{} {} {}, then {} {} {}",
            one.name, one.value, one.unit, two.name, two.value, two.unit
        ));
    }
    different
}

/// The table in Markdown.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut table = "| what | count | unit | aim | |\n|---|---:|---|---:|---|\n".to_owned();
    for row in rows {
        let aim = row.aim().map_or(String::new(), |aim| format!("{aim}"));
        let missed = if row.aim().is_some_and(|aim| row.value > aim) {
            "missed"
        } else {
            ""
        };
        table.push_str(&format!(
            "| {} | {} | {} | {aim} | {missed} |\n",
            row.name, row.value, row.unit
        ));
    }
    table
}

/// `page` with `table` between the markers.
pub(crate) fn replace(page: &str, table: &str) -> Result<String> {
    markers::replace(page, MARKERS, table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Row>> {
        read(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn bench_lines_are_read_and_broken_ones_refused() {
        let rows = read_text(
            "boot\nBENCH null-exit 1400 instructions\nBENCH verify 9 instructions per MiB\n",
        )
        .unwrap();
        assert_eq!(rows[1], Row::new("verify", 9, "instructions per MiB"));
        for broken in ["BENCH x", "BENCH x y z", "BENCH x 1", "BENCH x -1 u"] {
            assert!(read_text(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_changed_a_lost_and_a_renamed_count_are_differences() {
        let row = |name, value| Row::new(name, value, "instructions");
        let first = [row("a", 1), row("b", 2)];
        assert!(differences(&first, &first).is_empty());
        for second in [
            vec![row("a", 1), row("b", 3)],
            vec![row("a", 1)],
            vec![row("a", 1), row("c", 2)],
        ] {
            assert_eq!(differences(&first, &second).len(), 1, "{second:?}");
        }
    }

    #[test]
    fn what_an_smmu_changes_is_shown_and_the_rest_is_not() {
        let row = |name, value| Row::new(name, value, "instructions");
        let smmu = [row("a", 1), row("b", 3), row("c", 4)];
        let table = render_both(&[row("a", 1), row("b", 2)], &smmu);
        assert!(!table.contains("| a |"), "{table}");
        assert!(table.contains("| b | 2 | 3 | instructions |"), "{table}");
        assert!(table.contains("| c | - | 4 | instructions |"), "{table}");
    }

    #[test]
    fn missed_aims_are_marked() {
        let table = render(&[
            Row::new("null-exit", 1_501, "instructions"),
            Row::new("guest-call", 250, "instructions"),
        ]);
        assert!(
            table.contains("| null-exit | 1501 | instructions | 1500 | missed |"),
            "{table}"
        );
        assert!(
            table.contains("| guest-call | 250 | instructions | 250 |  |"),
            "{table}"
        );
    }

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let page = "a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nb\n";
        assert_eq!(replace(page, "new\n").unwrap(), page.replace("old", "new"));
        assert!(replace("no markers", "x").is_err());
    }
}
