//! The first program of a Linux guest under test: says what the guest sees of its machine.
//!
//! Its kernel's command line says what to do (`ward.scenario=`): `check` does the checks of
//! [`checks`] and powers off, after a restart if `ward.reboot=1`; `hold` hides secrets, says twice
//! a second whether they are intact, and powers off when the power button is pressed; `boot` powers
//! off at once; `bench` reads the disk for a host that counts; `shell` is for people. Lines are
//! those of [`report`], with the mark `WARD-GUEST`.

#[expect(dead_code, reason = "the host's tests use the rest")]
#[path = "../../args.rs"]
mod args;
mod bench;
mod checks;
mod hold;
mod machine;
#[expect(dead_code, reason = "the host's tests use the rest")]
#[path = "../../proc.rs"]
mod proc;
#[path = "../../report.rs"]
mod report;
#[path = "../../system.rs"]
mod system;

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use args::Args;
use report::Report;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!(
            "error: this is the first program of a guest; see `cargo xtask test --tier guest`"
        );
        return ExitCode::from(2);
    }
    if let Err(error) = system::mount() {
        eprintln!("FAILED to mount what the checks look at: {error:#}");
    }
    let mut report = Report::open("WARD-GUEST", true);
    if let Err(error) = run(&mut report) {
        report.failed("scenario", &format!("{error:#}"));
    }
    report.end();
    system::power_off()
}

/// A shell, until it ends.
fn shell() -> Result<()> {
    let busybox = "/bin/busybox";
    Command::new(busybox)
        .args(["--install", "-s", "/bin"])
        .status()?;
    println!("A protected guest: its host cannot see what is in here. Leave with `exit`.");
    Command::new(busybox)
        .args(["setsid", "cttyhack", "sh"])
        .env("PATH", "/bin")
        .env("PS1", "guest:\\w\\$ ")
        .status()?;
    Ok(())
}

fn run(report: &mut Report) -> Result<()> {
    let args = Args::read()?;
    if std::fs::metadata("/modules/list").is_ok() {
        system::load_modules()?;
    }
    match args.text("scenario") {
        Some("check") => checks::run(&args, report),
        Some("hold") => hold::run(report),
        Some("shell") => shell(),
        Some("bench") => bench::run(),
        Some("boot") => {
            report.plan("boot", &["boot"]);
            report.ok("boot");
            Ok(())
        }
        other => bail!("there is no scenario {other:?}"),
    }
}
