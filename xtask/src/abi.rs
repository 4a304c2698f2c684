//! `cargo xtask abi`: prints the manual's chapter on calls, the C header, and the tables of other
//! chapters from the constants of hyp-core. The printing itself is `examples/abi`, which alone
//! needs hyp-core.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::run::{self, cargo, say};
use crate::{markers, paths};

/// The files that are generated as a whole, and what `examples/abi` calls each one.
const FILES: [(&str, &str); 2] = [
    ("docs/calls.md", "manual"),
    ("linux/include/ward_abi.h", "header"),
];

/// The chapters that have generated tables, and the names of these: a table stands between the
/// lines `<!-- generated:NAME:begin -->` and `<!-- generated:NAME:end -->`.
const CHAPTERS: [(&str, &[&str]); 4] = [
    ("docs/ownership.md", &["ownership-matrix"]),
    ("docs/exits.md", &["disclosure", "run-page"]),
    (
        "docs/guest.md",
        &["id-registers", "system-registers", "hidden-registers"],
    ),
    ("docs/vm-life.md", &["limits"]),
];

/// Write what is generated from hyp-core: docs/calls.md, tables of other chapters, the C header.
#[derive(Args, Default)]
#[command(after_help = "\
Examples:
  cargo xtask abi             write all of it
  cargo xtask abi --check     only compare; exit status 1 when something is out of date

The sources are the constants of hyp-core: the table of calls, the ownership matrix, what an
exit shows, the registers a guest sees. Change them there, run this, and commit all together.
In a chapter, only what stands between `<!-- generated:NAME:begin -->` and the line that ends
it is written.")]
pub(crate) struct AbiArgs {
    /// Only compare
    #[arg(long)]
    pub(crate) check: bool,
}

/// Does `cargo xtask abi`.
pub(crate) fn run(args: &AbiArgs) -> Result<()> {
    let mut stale = Vec::new();
    say("printing what is generated from hyp-core (builds it)");
    for (name, part) in FILES {
        let text = print(part)?;
        bring_up_to_date(name, &text, args.check, &mut stale)?;
    }
    let tables = print("tables")?;
    check_names(&tables)?;
    for (name, parts) in CHAPTERS {
        let file = paths::root().join(name);
        let page = fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
        let page = fill(&page, parts, &tables).with_context(|| format!("in {name}"))?;
        bring_up_to_date(name, &page, args.check, &mut stale)?;
    }
    if !stale.is_empty() {
        bail!(
            "out of date with hyp-core: {}; run `cargo xtask abi` and commit the result",
            stale.join(", ")
        );
    }
    Ok(())
}

/// What `examples/abi` prints of one part.
fn print(part: &str) -> Result<String> {
    let mut command = cargo(&["run", "--quiet", "-p", "xtask", "--example", "abi", part]);
    run::output(&mut command)
}

/// `page` with each of its tables as `tables` has it.
fn fill(page: &str, names: &[&str], tables: &str) -> Result<String> {
    let mut page = page.to_owned();
    for name in names {
        let name = format!("generated:{name}");
        page = markers::replace(&page, &name, markers::part(tables, &name)?)?;
    }
    Ok(page)
}

/// A table that no chapter has is as wrong as a chapter without its table.
fn check_names(tables: &str) -> Result<()> {
    for name in markers::names(tables) {
        let wanted = |part: &&str| name == format!("generated:{part}");
        if !CHAPTERS.iter().any(|(_, parts)| parts.iter().any(wanted)) {
            bail!("no chapter has the table {name}: name it in CHAPTERS in xtask/src/abi.rs");
        }
    }
    Ok(())
}

fn bring_up_to_date(
    name: &'static str,
    text: &str,
    only_check: bool,
    stale: &mut Vec<&'static str>,
) -> Result<()> {
    let file = paths::root().join(name);
    if fs::read_to_string(&file).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if only_check {
        stale.push(name);
        return Ok(());
    }
    if let Some(dir) = file.parent().filter(|dir| *dir != Path::new("")) {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    println!("abi: wrote {name}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &str = "<!-- generated:a:begin -->\nnew a\n<!-- generated:a:end -->\n\
                          <!-- generated:b:begin -->\nnew b\n<!-- generated:b:end -->\n";

    #[test]
    fn a_chapter_gets_its_tables_and_keeps_the_rest() {
        let page = "# X\n<!-- generated:b:begin -->\nold\n<!-- generated:b:end -->\nmore\n";
        assert_eq!(
            fill(page, &["b"], TABLES).unwrap(),
            page.replace("old", "new b")
        );
        assert!(fill("no markers", &["b"], TABLES).is_err());
        assert!(fill(page, &["c"], TABLES).is_err());
    }

    #[test]
    fn a_table_without_a_chapter_is_refused() {
        assert!(check_names(TABLES).is_err());
        let known = "<!-- generated:run-page:begin -->\n<!-- generated:run-page:end -->\n";
        check_names(known).unwrap();
    }

    #[test]
    fn every_chapter_has_its_markers_and_no_others() {
        for (name, parts) in CHAPTERS {
            let page = fs::read_to_string(paths::root().join(name)).unwrap();
            let wanted: Vec<String> = parts
                .iter()
                .map(|part| format!("generated:{part}"))
                .collect();
            assert_eq!(markers::names(&page), wanted, "{name}");
        }
    }
}
