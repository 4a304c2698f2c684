//! Lines of code and `unsafe` blocks of the trusted crates; tests, comments and blank lines apart.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::table::Row;
use crate::paths;

/// The crates that run at EL2.
const TRUSTED: [&str; 4] = ["hyp-core", "smmu", "hyp-el2", "firmware"];

/// The counts of each trusted crate and of all together.
pub(crate) fn trusted_crates() -> Result<Vec<Row>> {
    let (mut rows, mut total) = (Vec::new(), Count::default());
    for name in TRUSTED {
        let count = directory(&paths::root().join(name).join("src"))?;
        rows.push(Row::new(&format!("{name} lines"), count.lines, "lines"));
        rows.push(Row::new(
            &format!("{name} unsafe blocks"),
            count.unsafe_blocks,
            "blocks",
        ));
        total.add(count);
    }
    rows.push(Row::new("trusted lines, together", total.lines, "lines"));
    rows.push(Row::new(
        "trusted unsafe blocks, together",
        total.unsafe_blocks,
        "blocks",
    ));
    Ok(rows)
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    lines: u64,
    unsafe_blocks: u64,
}

impl Count {
    fn add(&mut self, other: Count) {
        self.lines += other.lines;
        self.unsafe_blocks += other.unsafe_blocks;
    }

    fn of(source: &str) -> Self {
        let code = strip(source);
        let code = without_tests(&code);
        let words: Vec<&str> = code.split_whitespace().collect();
        let opens = |next: &str| next.starts_with('{') || next == "extern";
        let separate = words
            .windows(2)
            .filter(|pair| ends_with_unsafe(pair[0]) && opens(pair[1]))
            .count();
        let joined = words.iter().filter(|word| word.contains("unsafe{")).count();
        let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
        Count {
            lines: lines as u64,
            unsafe_blocks: (separate + joined) as u64,
        }
    }
}

fn ends_with_unsafe(word: &str) -> bool {
    let before = word.strip_suffix("unsafe");
    before.is_some_and(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

fn directory(dir: &Path) -> Result<Count> {
    let mut total = Count::default();
    let reading = || format!("cannot read {}", dir.display());
    for entry in fs::read_dir(dir).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        let stem = path.file_stem().unwrap_or_default();
        // A model is for the tests of several crates.
        if stem == "tests" || stem == "model" {
            continue;
        }
        if path.is_dir() {
            total.add(directory(&path)?);
        } else if path
            .extension()
            .is_some_and(|kind| kind == "rs" || kind == "S" || kind == "s")
        {
            let source = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            total.add(Count::of(&source));
        }
    }
    Ok(total)
}

/// The source without comments, and with the contents of strings and characters blanked.
fn strip(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = skip(rest);
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (token, after) = rest.split_at(skipped);
        // A string's lines are code (assembly, say); a comment's are not.
        let comment = token.starts_with("//") || token.starts_with("/*");
        for line in token.split_inclusive('\n') {
            if !comment && !line.trim().is_empty() {
                code.push('"');
            }
            if line.ends_with('\n') {
                code.push('\n');
            }
        }
        rest = after;
    }
    code
}

/// Length of the comment, string or character that `text` starts with; 0 when it is code.
fn skip(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    if let Some(raw) = text.strip_prefix('r') {
        let hashes = raw.bytes().take_while(|&byte| byte == b'#').count();
        if raw[hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let start = 1 + hashes + 1;
            return text[start..]
                .find(&close)
                .map_or(text.len(), |at| start + at + close.len());
        }
    }
    if text.starts_with('"') {
        return quoted(text, '"');
    }
    // A lifetime has no closing quote where a character has one.
    let character = text.starts_with("'\\")
        || text
            .strip_prefix('\'')
            .is_some_and(|rest| rest.chars().nth(1) == Some('\''));
    if character { quoted(text, '\'') } else { 0 }
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The code without the items behind `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some((before, item)) = rest.split_once("#[cfg(test)]") {
        kept.push_str(before);
        let end = item.find([';', '{']).map_or(item.len(), |at| {
            if item.as_bytes()[at] == b';' {
                at + 1
            } else {
                braces(item, at)
            }
        });
        rest = &item[end..];
    }
    kept + rest
}

/// The end of the braces that open at `start`.
fn braces(text: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate().skip(start) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests;
