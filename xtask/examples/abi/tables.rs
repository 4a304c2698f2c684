//! Tables of the manual's chapters, each between its markers (see `xtask/src/abi.rs`).

use std::fmt::Write;

use hyp_core::abi::run::{FP_OFFSET, Gic, IN_OFFSET, OUT_OFFSET, REGS_OFFSET, RunIn, RunOut};
use hyp_core::memory::matrix::{MATRIX, Operation, Outcome, STATES};
use hyp_core::vcpu::exit::DISCLOSURE;
use hyp_core::vcpu::idregs::{self, FIELDS, REGISTERS};
use hyp_core::vcpu::sysreg;

use super::comment::comment;
use super::constants::{FP, LIMITS, SYS_REGISTERS, WINDOW_HEAD};
use super::header::upper_snake;

const RUN: &str = include_str!("../../../hyp-core/src/abi/run.rs");

/// All of them.
pub(super) fn render() -> String {
    let tables = [
        ("ownership-matrix", matrix()),
        ("disclosure", disclosure()),
        ("run-page", run_page()),
        ("id-registers", id_registers()),
        ("system-registers", system_registers()),
        ("hidden-registers", hidden_registers()),
        ("limits", limits()),
    ];
    let mut text = String::new();
    for (name, table) in tables {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "<!-- generated:{name}:begin -->\n{table}<!-- generated:{name}:end -->\n"
        );
    }
    text
}

/// A table with this head; cells of a row are joined by the caller.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

fn matrix() -> String {
    let name = |operation: &Operation| format!("{operation:?}");
    let operations: Vec<String> = MATRIX.iter().map(|row| name(&row.0)).collect();
    let mut head = vec![""];
    head.extend(operations.iter().map(String::as_str));
    let rows = STATES.iter().enumerate().map(|(n, state)| {
        let outcomes = MATRIX.iter().map(|row| outcome(row.1[n]));
        std::iter::once(format!("**{state:?}**"))
            .chain(outcomes)
            .collect()
    });
    table(&head, rows)
}

fn outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::To(state) => format!("→ {state:?}"),
        Outcome::Allowed => "allowed".to_owned(),
        Outcome::Refused(error) => format!("`{error:?}`"),
        Outcome::Abort => "abort".to_owned(),
        Outcome::Passed => "passed by".to_owned(),
        Outcome::NoName => "–".to_owned(),
    }
}

fn disclosure() -> String {
    let rows = DISCLOSURE.iter().map(|row| {
        let fields: Vec<String> = row.fields().map(|field| format!("`{field}`")).collect();
        let shown = if fields.is_empty() {
            "nothing".to_owned()
        } else {
            fields.join(", ")
        };
        vec![
            row.reason.to_string(),
            format!("`{}`", row.name),
            shown,
            row.what.to_owned(),
        ]
    });
    table(
        &[
            "reason",
            "exit",
            "shows of a protected vCPU",
            "when, and what the host does",
        ],
        rows,
    )
}

fn run_page() -> String {
    let word = |base: u64, n: usize| format!("{:#05x}", base + 8 * n as u64);
    let mut rows = Vec::new();
    let parts = [
        (IN_OFFSET, "in", "    Request {", RunIn::FIELDS, RunIn::TAIL),
        (
            OUT_OFFSET,
            "exit",
            "    Exit {",
            RunOut::FIELDS,
            RunOut::TAIL,
        ),
    ];
    for (base, name, scope, fields, tail) in parts {
        for (n, field) in fields.iter().enumerate() {
            let item = format!("{field},");
            let what = comment(RUN, scope, &item);
            rows.push(vec![
                word(base, n),
                format!("`{name}.{field}`"),
                "1".to_owned(),
                what,
            ]);
        }
        for (at, field, words) in gic_fields() {
            let what = comment(RUN, "pub struct Gic", &format!("pub {field}:"));
            let name = format!("`{name}.gic.{field}`");
            rows.push(vec![
                word(base, fields.len() + at),
                name,
                words.to_string(),
                what,
            ]);
        }
        rows.push(vec![
            word(base, fields.len() + Gic::WORDS),
            format!("`{name}.{tail}`"),
            "1".to_owned(),
            comment(RUN, scope, tail),
        ]);
    }
    let mut at = 0;
    for (name, words, what) in WINDOW_HEAD {
        let row = [
            word(REGS_OFFSET, at),
            format!("`regs.{name}`"),
            words.to_string(),
            (*what).to_owned(),
        ];
        rows.push(row.to_vec());
        at += words;
    }
    for reg in SYS_REGISTERS {
        let name = upper_snake(&format!("{reg:?}"));
        let what = format!("`{name}`");
        let field = format!("`regs.sys[{}]`", *reg as usize);
        rows.push(vec![
            word(REGS_OFFSET, at + *reg as usize),
            field,
            "1".to_owned(),
            what,
        ]);
    }
    at = 0;
    for (name, words, what) in FP {
        let row = [
            word(FP_OFFSET, at),
            format!("`fp.{name}`"),
            words.to_string(),
            what.to_owned(),
        ];
        rows.push(row.to_vec());
        at += words;
    }
    table(&["offset", "field", "words", "meaning"], rows)
}

/// Place, name and words of each field of [`Gic`].
pub(super) fn gic_fields() -> [(usize, &'static str, usize); 6] {
    let lists = hyp_core::abi::MAX_LIST_REGISTERS;
    let fields = [
        (0, "hcr", 1),
        (1, "vmcr", 1),
        (2, "used", 1),
        (3, "ap0r", 4),
        (7, "ap1r", 4),
        (11, "lr", lists),
    ];
    assert_eq!(11 + lists, Gic::WORDS);
    fields
}

fn id_registers() -> String {
    let rows = REGISTERS.iter().map(|&(crm, op2, name)| {
        let fields = || {
            FIELDS
                .iter()
                .filter(|field| (field.crm, field.op2) == (crm, op2))
        };
        let list = |show: &dyn Fn(&idregs::Field) -> Option<String>| -> String {
            let shown: Vec<String> = fields().filter_map(show).collect();
            if shown.is_empty() {
                "–".to_owned()
            } else {
                shown.join(", ")
            }
        };
        use idregs::Rule::{AddressRange, AtMost, AtMostSigned, Fixed, Hidden, Pass};
        let named = |field: &idregs::Field| field.name.to_owned();
        vec![
            format!("`{name}`"),
            list(&|field| matches!(field.rule, Pass).then(|| named(field))),
            list(&|field| match field.rule {
                AtMost(limit) | AtMostSigned(limit) => Some(format!("{} {limit}", field.name)),
                AddressRange => Some(format!("{} the VM's IPA bits", field.name)),
                _ => None,
            }),
            list(&|field| match field.rule {
                Fixed(value) => Some(format!("{} {value}", field.name)),
                _ => None,
            }),
            list(&|field| matches!(field.rule, Hidden).then(|| named(field))),
        ]
    });
    table(
        &[
            "register",
            "as the CPU has it",
            "the CPU's, at most",
            "always",
            "hidden (0)",
        ],
        rows,
    )
}

fn system_registers() -> String {
    let rule = |rule: sysreg::Rule, write: bool| match rule {
        sysreg::Rule::Undefined => "UNDEF".to_owned(),
        sysreg::Rule::Constant(_) if write => "ignored".to_owned(),
        sysreg::Rule::Constant(value) => format!("{value:#x}"),
        sysreg::Rule::Id => "ID register".to_owned(),
        sysreg::Rule::Own(_, u64::MAX) => "the vCPU's own".to_owned(),
        sysreg::Rule::Own(_, mask) => format!("the vCPU's own, bits {mask:#x}"),
        sysreg::Rule::Host => "exit `sysreg`".to_owned(),
    };
    let rows = sysreg::REGISTERS.iter().map(|row| {
        let (read, write) = (rule(row.read, false), rule(row.write, true));
        vec![
            format!("`{}`", row.name),
            format!("`{}`", row.reg),
            read,
            write,
        ]
    });
    table(&["register", "encoding", "read", "write"], rows)
}

fn hidden_registers() -> String {
    let rows = sysreg::HIDDEN.iter().map(|(first, last, feature)| {
        let range = if first == last {
            format!("`{first}`")
        } else {
            format!("`{first}` to `{last}`")
        };
        vec![range, (*feature).to_owned()]
    });
    table(&["encodings", "feature"], rows)
}

fn limits() -> String {
    let source = include_str!("../../../hyp-core/src/abi.rs");
    let rows = LIMITS.iter().map(|(name, value)| {
        let what = comment(source, "pub use", &format!("pub const {name}:"));
        vec![format!("`WARD_{name}`"), value.to_string(), what]
    });
    table(&["limit", "value", "meaning"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyp_core::vcpu::context::{SYS_REGS, WINDOW_WORDS};

    #[test]
    fn tables_are_whole() {
        let text = render();
        assert!(
            text.lines().all(|line| !line.ends_with(' ')),
            "trailing blanks"
        );
        for row in DISCLOSURE {
            assert!(text.contains(&format!("| {} | `{}` |", row.reason, row.name)));
        }
        assert!(text.contains("| `ID_AA64MMFR0_EL1` |"));
        assert!(
            text.contains("| **HostIdle** | → Hyp | → OwnPrivate |"),
            "{text}"
        );
        for field in FIELDS {
            assert!(text.contains(field.name), "{}", field.name);
        }
    }

    #[test]
    fn every_row_of_a_table_has_as_many_cells_as_its_head() {
        let mut cells = None;
        for line in render().lines() {
            if !line.starts_with('|') {
                cells = None;
                continue;
            }
            let here = line.replace("\\|", "").matches('|').count();
            assert_eq!(here, *cells.get_or_insert(here), "{line}");
        }
    }

    #[test]
    fn the_run_page_is_described_in_full() {
        let head: usize = WINDOW_HEAD.iter().map(|row| row.1).sum();
        assert_eq!(head + SYS_REGISTERS.len(), WINDOW_WORDS);
        assert_eq!(SYS_REGISTERS.len(), SYS_REGS);
        for (n, reg) in SYS_REGISTERS.iter().enumerate() {
            assert_eq!(*reg as usize, n, "{reg:?}");
        }
        let gic = gic_fields();
        for pair in gic.windows(2) {
            assert_eq!(pair[0].0 + pair[0].2, pair[1].0);
        }
        assert!(
            run_page().contains("| 0x800 | `regs.x` | 31 |"),
            "{}",
            run_page()
        );
    }
}
