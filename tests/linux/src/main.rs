//! The first and only program of a Linux host that runs beside Ward under test.
//!
//! `cargo xtask test --tier linux` puts it into an initramfs as `/init`. It reads its scenario from
//! the kernel's command line ([`args`]), does it in one or several boots ([`scenario`]), and says
//! what came of it through the kernel's log ([`report`]), because only whole lines of that log reach
//! the console unbroken. The checks themselves are in [`checks`]. It never returns: the last thing
//! that a scenario does is to power the machine off.
//!
//! Called with the word `child` it is a process that is expected to die: see [`checks::devmem`].

mod args;
mod checks;
mod disk;
mod proc;
mod report;
mod scenario;
mod system;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, child, what, address] = &words[..]
        && child == "child"
    {
        return checks::devmem::child(what, address);
    }
    if std::process::id() != 1 {
        eprintln!(
            "error: this is the first program of a test machine; see `cargo xtask test --tier linux`"
        );
        return ExitCode::from(2);
    }
    if let Err(error) = system::mount() {
        eprintln!("FAILED to mount what the tests look at: {error:#}");
    }
    let mut report = report::Report::open("WARD-HOST", false);
    if let Err(error) = scenario::run(&mut report) {
        report.failed("scenario", &format!("{error:#}"));
    }
    report.end();
    system::power_off()
}
