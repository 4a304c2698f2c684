//! `cargo xtask demo --bare`: Ward, the EL1 test host and a signed guest, without any Linux.

use std::fs;
use std::time::Duration;

use super::DemoArgs;
use crate::image::{self, ImageArgs, Images};
use crate::payload::Guest;
use crate::qemu::{Boot, console};
use crate::run::{say, shell_line};
use crate::{paths, setup};
use anyhow::{Context, Result, bail};

/// The line that the host prints when the guest itself said that it is well.
const GUEST_WELL: &str = "WARD-DEMO: guest reported success";
/// The line that the host prints before it powers off.
const DONE: &str = "WARD-DEMO: done";

/// Does it.
pub(super) fn run(args: &DemoArgs) -> Result<()> {
    setup::ensure(setup::Scope::Boot)?;
    let images = image::build(&ImageArgs {
        debug_build: args.debug,
        ..ImageArgs::default()
    })?;
    boot(args, &images)
}

/// Boots the finished images and judges what the console showed.
pub(crate) fn boot(args: &DemoArgs, images: &Images) -> Result<()> {
    let machine = args.machine();
    let mut qemu = Boot {
        machine,
        images,
        bootargs: "demo",
        guest: Guest::Bundle,
        wait_for_gdb: args.debug,
    }
    .command();
    let limit = (!args.debug).then(|| Duration::from_secs(args.timeout.unwrap_or(60)));
    say(&format!(
        "booting {} x {}, {} MiB: {}",
        machine.cpus,
        machine.cpu,
        machine.memory,
        shell_line(&qemu)
    ));
    if args.debug {
        eprint!("{}", gdb_help(images)?);
    }
    judge(&console::watch(&mut qemu, limit, true)?)?;
    println!("demo: the guest reported success and the machine powered off");
    Ok(())
}

/// Success needs the guest's word, the host's word, and a power-off.
fn judge(console: &console::Console) -> Result<()> {
    let missing = [GUEST_WELL, DONE]
        .into_iter()
        .filter(|line| !console.has(line));
    let mut wrong: Vec<String> = missing
        .map(|line| format!("the console did not show the line `{line}`"))
        .collect();
    wrong.extend(console.bad_end());
    if !wrong.is_empty() {
        bail!(
            "the demo failed:\n  * {}\nThe console is above; `cargo xtask demo --bare --debug` steps through it",
            wrong.join("\n  * ")
        );
    }
    Ok(())
}

/// How to attach a debugger.
pub(crate) fn gdb_help(images: &Images) -> Result<String> {
    let flat =
        fs::read(&images.ward).with_context(|| format!("cannot read {}", images.ward.display()))?;
    let load = image::load_address(&flat);
    Ok(format!(
        "==> QEMU waits for gdb on port 1234; in another terminal (aarch64-*-gdb will do too):\n    \
         gdb-multiarch -ex 'set architecture aarch64' -ex 'target remote :1234' -ex 'add-symbol-file {} -o {load:#x}'\n",
        paths::display(&images.elf)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn verdict(script: &str) -> Result<()> {
        judge(&console::watch(
            Command::new("sh").args(["-c", script]),
            Some(Duration::from_secs(10)),
            false,
        )?)
    }

    #[test]
    fn only_both_lines_and_a_power_off_are_a_success() {
        let both = format!("echo '{GUEST_WELL}'; echo '{DONE}'");
        verdict(&both).unwrap();
        verdict(&format!("{both}; exit 1")).unwrap_err();
        verdict(&format!("echo '{DONE}'")).unwrap_err();
        verdict(&format!("echo '{GUEST_WELL}'")).unwrap_err();
        verdict(&format!("echo 'x {GUEST_WELL}'; echo '{DONE}'")).unwrap_err();
    }
}
