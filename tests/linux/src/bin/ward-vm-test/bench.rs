//! Counts of a guest's, where QEMU counts instructions instead of time.

#[path = "../ward-host-bench/counter.rs"]
mod counter;
mod linux;

use anyhow::{Context, Result, bail, ensure};
use counter::instructions;

use crate::guest::Guest;
use crate::guest::protocol::mode;
use crate::memory::Kind;
use crate::vm::{self, Config, Vm};

/// As a machine's first program: counts what the kernel's command line names, and powers off.
pub(crate) fn first() -> ! {
    if let Err(error) = all() {
        println!("FAILED {error:#}");
    }
    let _ = rustix::system::reboot(rustix::system::RebootCommand::PowerOff);
    std::process::exit(1)
}

fn all() -> Result<()> {
    let flags = rustix::mount::MountFlags::empty();
    for (kind, at) in [
        ("devtmpfs", "/dev"),
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("tmpfs", "/tmp"),
        ("debugfs", "/sys/kernel/debug"),
    ] {
        rustix::mount::mount(kind, at, kind, flags, None)
            .with_context(|| format!("cannot mount {kind}"))?;
    }
    let line = std::fs::read_to_string("/proc/cmdline")?;
    let kinds = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix("ward.bench="))
        .context("the command line has no ward.bench=")?;
    kinds.split(',').try_for_each(|kind| {
        println!("KIND {kind}");
        run(kind)
    })
}

/// Prints a line `BENCH NAME COUNT instructions` for each row.
pub(crate) fn run(kind: &str) -> Result<()> {
    let protected = match kind {
        "normal" => false,
        "protected" => true,
        _ => bail!("a guest is normal or protected, not {kind}"),
    };
    let config = Config {
        protected,
        cpus: 2,
        memory: Kind::Pages,
    };
    let bundle = vm::bundle()?;
    // Once unmeasured: what is loaded, cached and allocated the first time.
    Guest::start(config)?.end()?;
    let start = instructions();
    let guest = Guest::run(Vm::build(&bundle, config, &|_| ())?)?;
    guest.tell(0, mode::COMPARE, 0)?;
    let mut empty = 0;
    while let Some(value) = guest.measured(0)? {
        let (number, rounds, ticks) = (value >> 48, value >> 32 & 0xffff, value & 0xffff_ffff);
        if number == 15 {
            break;
        }
        if number == 9 {
            // The guest's counter is the host's, or an offset of it: protected ones have none.
            let first = guest.measured(0)?.context("the guest said half of it")?;
            // A normal guest's counter begins with its VM.
            let passed = if protected {
                first.wrapping_sub(start)
            } else {
                first
            };
            println!("BENCH create-to-first-instruction {passed} instructions");
            continue;
        }
        ensure!(rounds > 0, "the guest measured nothing");
        let each = ticks / rounds;
        let name = match number {
            0 => {
                empty = each;
                continue;
            }
            1 => "hypercall",
            2 => "mmio-kernel",
            3 => "mmio-user",
            4 => "ipi",
            5 => "fault-4k",
            other => bail!("the guest measured {other}"),
        };
        println!("BENCH {name} {} instructions", each.saturating_sub(empty));
    }
    guest.end()?;
    if linux::is_there() {
        linux::run(protected)?;
    }
    Ok(())
}
