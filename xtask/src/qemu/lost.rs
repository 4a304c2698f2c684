//! A fault of QEMU 10.0's that a Linux host can die of while it boots.
//!
//! When a CPU turns a PCI device on, QEMU replaces the map of physical memory. Another CPU may still
//! look its device up in the old map, which is gone by then (issue 3040 of qemu-project): the access
//! to a register that was there a moment ago ends in an external abort. On a busy machine that may
//! be one boot in a thousand. An access that Ward refuses is told by bit 7 of the syndrome
//! (docs/debugging.md), so this one says nothing about Ward, and the boot is done again: once, so
//! that a fault that stays is seen.

use anyhow::Result;

use super::console::Console;
use crate::run::say;
use crate::test::report::MARK;

/// How Linux tells of an external abort that it does not survive, with the syndrome behind it.
const ABORT: &str = "Internal error: synchronous external abort: ";
/// Fields of `ESR_EL1` (DDI 0487 D24.2.39): the class, a data abort of the kernel's own.
const CLASS: u64 = 0x3f << 26;
const DATA_ABORT: u64 = 0x25 << 26;
/// The status, an external abort that is not on a walk.
const STATUS: u64 = 0x3f;
const EXTERNAL: u64 = 0x10;
/// What an abort of Ward's has beside.
const BY_WARD: u64 = 1 << 7;

/// Boots a machine, and once more if QEMU lost a device of the first one's.
pub(crate) fn again(mut boot: impl FnMut() -> Result<Console>) -> Result<Console> {
    let console = boot()?;
    if !lost(&console.lines) {
        return Ok(console);
    }
    let log = console.keep("lost-by-qemu")?;
    say(&format!(
        "QEMU lost a device while the kernel set it up (QEMU's issue 3040; console in {log}): once more"
    ));
    boot()
}

/// Whether the kernel died of an external abort that is not Ward's before its first program.
fn lost(lines: &[String]) -> bool {
    let boot = lines.iter().take_while(|line| !line.contains(MARK));
    boot.filter_map(|line| line.split_once(ABORT))
        .filter_map(|(_, rest)| u64::from_str_radix(rest.split(' ').next()?, 16).ok())
        .any(|esr| esr & (CLASS | STATUS | BY_WARD) == DATA_ABORT | EXTERNAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::console::watch;
    use std::process::Command;

    const LINE: &str =
        "[    1.625689] Internal error: synchronous external abort: 0000000096000010 [#1]  SMP";

    fn is_lost(text: &str) -> bool {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lost(&lines)
    }

    #[test]
    fn it_is_qemus_before_the_first_program_and_without_wards_mark() {
        assert!(is_lost(&format!("ward: Ward 0.1.0\n{LINE}\nx")));
        assert!(is_lost(&LINE.replace("0010", "0050")), "a store");
        for other in [
            format!("[    1.0] WARD-HOST plan a: x\n{LINE}"),
            LINE.replace("0010", "0090"),
            LINE.replace("0010", "0007"),
            LINE.replace("9600", "8600"),
            LINE.replace("0000000096000010", "?"),
            String::new(),
        ] {
            assert!(!is_lost(&other), "{other}");
        }
    }

    #[test]
    fn it_is_done_again_once() {
        let mut boots = 0;
        let mut boot = |text: &'static str| {
            boots = 0;
            let done = again(|| {
                boots += 1;
                watch(Command::new("echo").arg(text), None, false)
            });
            (done.unwrap().lines, boots)
        };
        assert_eq!(boot("well").1, 1);
        assert_eq!(boot(LINE), (vec![LINE.to_owned()], 2));
    }
}
