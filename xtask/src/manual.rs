//! Tests of the manual itself: what it names is there.
//!
//! Every relative link leads to a file and to a heading of it, every path of the repository exists,
//! and every test that a table names in a column `test` or `evidence` is a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::paths;

/// A test of this machine: a Rust function. A test of the EL1 test host: `suite::name-of-it`.
#[derive(Debug, PartialEq, Eq)]
enum TestName<'a> {
    Function(&'a str),
    Payload { suite: &'a str, name: &'a str },
}

impl<'a> TestName<'a> {
    /// The test that a word in code font is, `None` for other words: commands, types, paths.
    fn parse(word: &'a str) -> Option<Self> {
        let all = |word: &str, extra: char| {
            let fits =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == extra || c == '_';
            !word.is_empty() && word.chars().all(fits)
        };
        match word.split_once("::") {
            Some((suite, name)) if all(suite, '_') && all(name, '-') => {
                Some(TestName::Payload { suite, name })
            }
            None if all(word, '_') && word.contains('_') => Some(TestName::Function(word)),
            _ => None,
        }
    }

    fn exists(&self, sources: &[(PathBuf, String)]) -> bool {
        match self {
            TestName::Function(name) => {
                let function = format!("fn {name}(");
                sources.iter().any(|(_, text)| is_test(text, &function))
            }
            TestName::Payload { suite, name } => {
                let payload = Path::new("tests/payload/src");
                let parts = payload.join("host/suites").join(suite);
                let file = parts.with_extension("rs");
                // The guest reports the checks of its own files as `guest::name`.
                let guests = payload.join(suite);
                let here = |path: &Path| {
                    path == file || path.starts_with(&parts) || path.starts_with(&guests)
                };
                let name = format!("\"{name}\"");
                sources
                    .iter()
                    .any(|(path, text)| here(path) && text.contains(&name))
            }
        }
    }
}

/// Does `text` have this function with the attribute of a test on one of the three lines before?
fn is_test(text: &str, function: &str) -> bool {
    text.match_indices(function).any(|(at, _)| {
        let mut before = text[..at].lines().rev().take(4);
        before.any(|line| line.trim() == "#[test]")
    })
}

/// Files of the repository that end in `.extension`, by their path in it, with their text.
fn files(extension: &str) -> Vec<(PathBuf, String)> {
    let root = paths::root();
    let (mut found, mut dirs) = (Vec::new(), vec![root.clone()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" {
                    dirs.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&root).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// The text without its fenced blocks.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut out = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// What stands in code font.
fn code_words(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Targets of Markdown links.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|link| link.0)
}

/// The anchors of the headings of a page, as hosts of Markdown make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let slug = |line: &str| {
        let kept = |c: char| c.is_alphanumeric() || " -_".contains(c);
        let title = line.trim_start_matches('#').trim();
        let title: String = title.chars().filter(|&c| kept(c)).collect();
        title.to_lowercase().replace(' ', "-")
    };
    headings.map(slug).collect()
}

/// Cells of columns `test` and `evidence`, of all tables of a page.
fn evidence(text: &str) -> Vec<String> {
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim().trim_start_matches('|').trim_end_matches('|');
        line.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let (mut found, mut columns) = (Vec::new(), None);
    for line in text.lines() {
        if !line.starts_with('|') {
            columns = None;
            continue;
        }
        let row = cells(line);
        let columns: &Vec<usize> = columns.get_or_insert_with(|| {
            let wanted = |cell: &str| ["test", "evidence"].contains(&cell.to_lowercase().as_str());
            (0..row.len()).filter(|&n| wanted(&row[n])).collect()
        });
        found.extend(columns.iter().filter_map(|&n| row.get(n).cloned()));
    }
    found
}

#[test]
fn links_lead_somewhere() {
    let root = paths::root();
    let mut broken = Vec::new();
    for (page, text) in files("md") {
        for link in links(&prose(&text)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            let found = fs::read_to_string(root.join(&target));
            let is_there = root.join(&target).exists();
            let has_anchor = || found.is_ok_and(|text| anchors(&text).contains(anchor));
            if !is_there || !anchor.is_empty() && !has_anchor() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "links to nothing:\n  {}",
        broken.join("\n  ")
    );
}

#[test]
fn paths_of_the_repository_exist() {
    let root = paths::root();
    let top: BTreeSet<String> = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name != "target")
        .collect();
    let mut missing = Vec::new();
    for (page, text) in files("md") {
        for word in code_words(&prose(&text)) {
            let Some((first, _)) = word.split_once('/') else {
                continue;
            };
            if word.contains([' ', '*', '{', '<']) || !top.contains(first) {
                continue;
            }
            let path = word.split("::").next().unwrap_or(word);
            if !root.join(path).exists() {
                missing.push(format!("{}: {word}", page.display()));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "no such file:\n  {}",
        missing.join("\n  ")
    );
}

#[test]
fn tests_that_tables_name_are_there() {
    let sources = files("rs");
    let (mut missing, mut named) = (Vec::new(), 0);
    for (page, text) in files("md") {
        for cell in evidence(&text) {
            for test in code_words(&cell).filter_map(TestName::parse) {
                named += 1;
                if !test.exists(&sources) {
                    missing.push(format!("{}: {test:?}", page.display()));
                }
            }
        }
    }
    assert!(
        missing.is_empty(),
        "no such test:\n  {}",
        missing.join("\n  ")
    );
    assert!(
        named > 0,
        "no page names a test: is the column still called so?"
    );
}

#[test]
fn the_checks_see_what_they_should() {
    assert_eq!(
        TestName::parse("item_05_the_hole"),
        Some(TestName::Function("item_05_the_hole"))
    );
    let payload = TestName::Payload {
        suite: "smp",
        name: "two-cpus",
    };
    assert_eq!(TestName::parse("smp::two-cpus"), Some(payload));
    for word in [
        "cargo xtask test",
        "Ward::new",
        "hyp-core/src/lib.rs",
        "lockstep",
    ] {
        assert_eq!(TestName::parse(word), None, "{word}");
    }
    let page = "| a | Test |\n|---|---|\n| `no_test` | `some_test` |\n\n| a | b |\n|---|---|\n| x | `y_z` |\n";
    assert_eq!(evidence(page), ["Test", "---", "`some_test`"]);
    assert!(is_test("#[test]\nfn a_b() {}", "fn a_b("));
    assert!(!is_test("fn a_b() {}", "fn a_b("));
    assert_eq!(links("a [b](c.md#d) e").collect::<Vec<_>>(), ["c.md#d"]);
    assert!(anchors("## I1: one owner\n").contains("i1-one-owner"));
    assert_eq!(prose("a\n```\nb\n```\nc\n"), "a\nc\n");
}
