//! Finds instructions that touch FP or SIMD registers where none may be.
//!
//! A guest's vector registers stay in the CPU while Ward runs, so one such instruction in ordinary
//! code would corrupt or disclose them. Only routines whose symbol starts with a name in
//! [`MARKED`] may use them; those save and restore what they touch.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::run;
use crate::setup::rust::llvm_tool;

/// Symbol prefixes of the routines that may use FP and SIMD registers.
const MARKED: [&str; 2] = ["ward_fp_", "ward_crypto_"];
/// How many findings are printed in full.
const SHOWN: usize = 10;

/// Disassembles the program and returns what is wrong, one sentence each.
pub(super) fn check(elf: &Path) -> Result<Vec<String>> {
    let mut objdump = Command::new(llvm_tool("llvm-objdump")?);
    // Without `--mattr=+all` instructions of newer extensions print as <unknown>.
    objdump
        .args(["-d", "--no-show-raw-insn", "--mattr=+all"])
        .arg(elf);
    let listing = run::output(&mut objdump)?;
    let (instructions, stray) = scan(&listing);
    if instructions == 0 {
        bail!(
            "`{}` shows no instruction, so nothing was checked",
            run::shell_line(&objdump)
        );
    }
    let mut wrong: Vec<String> = stray.iter().take(SHOWN).map(Stray::message).collect();
    if stray.len() > SHOWN {
        wrong.push(format!(
            "… and {} more such instructions",
            stray.len() - SHOWN
        ));
    }
    Ok(wrong)
}

/// An instruction that may not be there.
#[derive(Debug, PartialEq, Eq)]
struct Stray<'a> {
    function: &'a str,
    address: &'a str,
    text: &'a str,
}

impl Stray<'_> {
    fn message(&self) -> String {
        let Stray {
            function,
            address,
            text,
        } = self;
        let text = text.replace('\t', " ");
        format!(
            "`{text}` at {address} in {function} uses (or may use) an FP/SIMD register outside {}*",
            MARKED.join("*, ")
        )
    }
}

/// Reads a listing: how many instructions there are, and which may not be there.
fn scan(listing: &str) -> (usize, Vec<Stray<'_>>) {
    let (mut instructions, mut stray, mut function) = (0, Vec::new(), "(no symbol)");
    for line in listing.lines() {
        if let Some(name) = function_start(line) {
            function = name;
        } else if let Some((address, text)) = instruction(line) {
            instructions += 1;
            if touches_fp(text) && !MARKED.iter().any(|prefix| function.starts_with(prefix)) {
                stray.push(Stray {
                    function,
                    address,
                    text,
                });
            }
        }
    }
    (instructions, stray)
}

/// `0000000000000040 <name>:` starts a function.
fn function_start(line: &str) -> Option<&str> {
    let (address, name) = line.split_once(" <")?;
    let hex = !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.strip_suffix(">:").filter(|_| hex)
}

/// `      40:      <tab>mov<tab>x0, x1` is an instruction at 0x40.
fn instruction(line: &str) -> Option<(&str, &str)> {
    let (address, text) = line.trim_start().split_once(':')?;
    let hex = !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit());
    let text = text.trim();
    // What the assembler marked as data prints as raw bytes and `.word`, `.short` or `.byte`.
    let data = text.split('\t').any(|part| part.starts_with('.'));
    Some((address, text)).filter(|(_, text)| hex && !text.is_empty() && !data)
}

/// Whether an operand is an FP, SIMD, SVE or SME register, or the instruction is not understood.
fn touches_fp(text: &str) -> bool {
    if text.starts_with("<unknown>") {
        return true;
    }
    let operands = text
        .split_once(['\t', ' '])
        .map_or("", |(_mnemonic, operands)| operands);
    // The target's name, `<symbol+0x10>`, and a remark, `// …`, are not operands.
    let operands = operands
        .split(['<', ';'])
        .next()
        .unwrap_or("")
        .split("//")
        .next()
        .unwrap_or("");
    let names = operands.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    names
        .map(str::to_ascii_lowercase)
        .any(|name| is_fp_register(&name))
}

fn is_fp_register(name: &str) -> bool {
    if name == "fpcr"
        || name == "fpsr"
        || name == "zt0"
        || (name.starts_with("za") && name.len() <= 4)
    {
        return true;
    }
    let Some((bank, number)) = name.split_at_checked(1) else {
        return false;
    };
    let digits = number.len() <= 2 && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse::<u32>().ok().filter(|_| digits);
    match bank {
        "v" | "q" | "d" | "s" | "h" | "b" | "z" => number.is_some_and(|number| number < 32),
        "p" => number.is_some_and(|number| number < 16),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
