//! `cargo xtask demo`: boots Ward, the test host and a signed guest, and watches for success.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::image::{self, ImageArgs, Images};
use crate::payload::Guest;
use crate::qemu::{Boot, Machine, console};
use crate::run::{say, shell_line};
use crate::{paths, setup};

/// The line that the host prints when the guest itself said that it is well.
const GUEST_WELL: &str = "WARD-DEMO: guest reported success";
/// The line that the host prints before it powers off.
const DONE: &str = "WARD-DEMO: done";

/// Boot Ward, a host and a signed guest in QEMU, and show attacks being refused.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask demo                                   2 CPUs, 1 GiB, Cortex-A76
  cargo xtask demo --cpus 8 --memory 4096 --cpu neoverse-n1
  cargo xtask demo --debug                           wait for gdb, and print how to attach

The exit status is 0 only when the guest itself reported success and the machine then
powered off by itself.")]
pub(crate) struct DemoArgs {
    /// Number of CPUs
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8))]
    cpus: u32,
    /// RAM in MiB
    #[arg(long, default_value_t = 1024, value_name = "MIB", value_parser = clap::value_parser!(u32).range(512..=16384))]
    memory: u32,
    /// CPU model, as QEMU names it: cortex-a53, cortex-a76, neoverse-n1, max
    #[arg(long, default_value = "cortex-a76", value_name = "MODEL")]
    cpu: String,
    /// Give up after this many seconds
    #[arg(
        long,
        default_value_t = 60,
        value_name = "SECONDS",
        conflicts_with = "debug"
    )]
    timeout: u64,
    /// Build without optimisation, stop before the first instruction, and wait for gdb
    #[arg(long)]
    debug: bool,
}

impl DemoArgs {
    /// What `cargo xtask demo` does without arguments.
    pub(crate) fn usual() -> Self {
        DemoArgs {
            cpus: 2,
            memory: 1024,
            cpu: "cortex-a76".to_owned(),
            timeout: 60,
            debug: false,
        }
    }
}

/// Does `cargo xtask demo`.
pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    setup::ensure(setup::Scope::Boot)?;
    let images = image::build(&ImageArgs {
        debug_build: args.debug,
        ..ImageArgs::default()
    })?;
    boot(args, &images)
}

/// Boots the finished images and judges what the console showed.
pub(crate) fn boot(args: &DemoArgs, images: &Images) -> Result<()> {
    let machine = Machine {
        cpu: &args.cpu,
        cpus: args.cpus,
        memory: args.memory,
        count_instructions: false,
    };
    let mut qemu = Boot {
        machine,
        images,
        bootargs: "demo",
        guest: Guest::Bundle,
        wait_for_gdb: args.debug,
    }
    .command();
    let limit = (!args.debug).then(|| Duration::from_secs(args.timeout));
    say(&format!(
        "booting {} x {}, {} MiB: {}",
        args.cpus,
        args.cpu,
        args.memory,
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
            "the demo failed:\n  * {}\nThe console is above; `cargo xtask demo --debug` steps through it",
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
