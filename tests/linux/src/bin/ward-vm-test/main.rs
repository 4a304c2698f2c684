//! Virtual machines for tests of a Linux host: small, driven word by word, and attacked.
//!
//! The guest is `testguest` of tests/payload from its signed bundle: it does what its one device
//! says, and the device is this program (`guest.rs`). So a test can have a guest hide a secret in its
//! memory, attack, and ask the guest whether the secret is still what it was. `vm.rs` builds a VM by
//! KVM's ioctls: beside Ward a verified one, under KVM's own protected mode or none what there is.
//!
//! Each subcommand is a process of its own, because some attacks end whoever makes them. It exits
//! with 0 when all is as it must be; else its last line says what was not.

#[cfg(target_arch = "aarch64")]
mod attack;
#[cfg(target_arch = "aarch64")]
mod bench;
#[cfg(target_arch = "aarch64")]
mod guest;
#[cfg(target_arch = "aarch64")]
mod life;
#[cfg(target_arch = "aarch64")]
mod load;
#[cfg(target_arch = "aarch64")]
mod memory;
#[cfg(target_arch = "aarch64")]
mod race;
#[cfg(target_arch = "aarch64")]
mod vm;

use std::process::ExitCode;

#[cfg(target_arch = "aarch64")]
const HELP: &str = "\
usage: ward-vm-test COMMAND

  attack list           names of the attacks
  attack NAME           start a protected guest, attack it so, and see that nothing came of it
  attack NAME PID       the same on the guest of a `ward run` that runs with this process number
  live STAGE|SEED       build a guest and work with it until killed; says each stage
  load NAME             many, pressure, balloon, migrate, normal, read-only, file, slots
  race NAME             threads, processes
  numbers               see that no VM's number is in use
  bench normal|protected  counts of the guest, for `cargo xtask bench --compare`; as a machine's
                        first program it does those that ward.bench= names, and powers off

The bundle is /bundle, or what WARD_BUNDLE names.";

#[cfg(target_arch = "aarch64")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if std::process::id() == 1 {
        bench::first();
    }
    let done = match words[..] {
        ["attack", "list"] => {
            attack::names().for_each(|name| println!("{name}"));
            Ok(())
        }
        ["attack", name] => attack::own(name),
        ["attack", name, pid] => attack::other(name, pid),
        ["live", how] => life::live(how),
        ["load", name] => load::run(name),
        ["race", name] => race::run(name),
        ["numbers"] => attack::calls::all_free(),
        ["bench", kind] => bench::run(kind),
        _ => {
            eprintln!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_arch = "aarch64"))]
fn main() -> ExitCode {
    eprintln!("error: ward-vm-test runs in an arm64 host; see `cargo xtask test --tier guest`");
    ExitCode::from(2)
}
