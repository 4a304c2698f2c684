//! The table in the manual is this one.

use super::super::table::{Each, Read, Row, Space, TABLE, View, Write};
use std::format;
use std::path::Path;
use std::string::{String, ToString};

const BEGIN: &str = "<!-- the table of registers, from smmu/src/v2/table.rs -->\n";
const END: &str = "<!-- end of the table -->\n";

fn offset(row: &Row) -> String {
    let base = match row.space {
        Space::Global0 => "",
        Space::Global1 => "GR1 + ",
        Space::Bank => "CB + ",
    };
    let last = row.at + row.bytes() - if row.wide { 8 } else { 4 };
    let range = if last > row.at {
        format!(" to `{last:#05x}`")
    } else {
        String::new()
    };
    format!("{base}`{:#05x}`{range}", row.at)
}

fn name(row: &Row) -> String {
    let each = match row.each {
        Each::Group => ", each group",
        Each::Bank => ", each bank",
        Each::One | Each::Words(_) => "",
    };
    let wide = if row.wide { ", 64 bits" } else { "" };
    format!("{}{each}{wide}", row.text.name)
}

fn line(row: &Row) -> String {
    let read = match row.read {
        Read::Hardware => "the register",
        Read::Identity => "what is shown",
        Read::Seen(View::Control) => "the register",
        Read::Seen(_) => "what was granted",
        Read::Zero => "0",
        Read::Refused(reason) => &format!("refused: {}", reason.text()),
    };
    let write = match row.write {
        Write::Clear(faults) => format!("clears, of `{:#x}`", faults.bits()),
        Write::Filter(_) => "filtered".to_string(),
        Write::Nothing => "nothing to do".to_string(),
        Write::Refused(reason) => format!("refused: {}", reason.text()),
    };
    format!(
        "| {} | {} | {read} | {write} | {} |\n",
        offset(row),
        name(row),
        row.text.rule
    )
}

fn printed() -> String {
    let mut all =
        String::from("| offset | register | read | write | rule |\n|---|---|---|---|---|\n");
    all.extend(TABLE.iter().map(line));
    all
}

/// With `WARD_PRINT` in the environment it writes the table instead.
#[test]
fn the_manual_has_the_table_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/smmu.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let expected = printed();
    if std::env::var_os("WARD_PRINT").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    assert!(
        table == expected,
        "docs/smmu.md: WARD_PRINT=1 cargo test -p smmu the_manual"
    );
}
