//! Link arguments of the bare image, and the keys that go into it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo:rustc-check-cfg=cfg(ward_test)");
    println!("cargo:rerun-if-env-changed=WARD_TEST");
    if env::var_os("WARD_TEST").is_some_and(|value| value == "1") {
        println!("cargo:rustc-cfg=ward_test");
    }
    keys();
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let script = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("ward.ld");
        println!("cargo:rerun-if-changed={}", script.display());
        println!("cargo:rustc-link-arg-bins=-T{}", script.display());
        for arg in [
            "-pie",
            "--no-dynamic-linker",
            "-zmax-page-size=4096",
            "-znotext",
            "-zpack-relative-relocs",
        ] {
            println!("cargo:rustc-link-arg-bins={arg}");
        }
        // Unoptimised frames are several times as large.
        let optimised = env::var("OPT_LEVEL").is_ok_and(|level| level != "0");
        let stack = if optimised { 64 << 10 } else { 512 << 10 };
        println!("cargo:rustc-link-arg-bins=--defsym=ward_boot_stack_size={stack}");
    }
}

/// Writes `keys.rs`: the public keys of the file that `WARD_KEYS` names, one of 64 hexadecimal
/// digits a line; `#` begins a comment.
fn keys() {
    println!("cargo:rerun-if-env-changed=WARD_KEYS");
    let mut list = String::from("&[\n");
    if let Some(path) = env::var_os("WARD_KEYS") {
        let path = PathBuf::from(path);
        println!("cargo:rerun-if-changed={}", path.display());
        let text = fs::read_to_string(&path).unwrap_or_else(|error| {
            wrong(&format!("WARD_KEYS={}: {error}", path.display()));
            String::new()
        });
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or("").trim();
            if !line.is_empty() {
                let key = parse(line).unwrap_or_else(|| {
                    wrong(&format!(
                        "{}:{number}: not 64 hexadecimal digits",
                        path.display()
                    ));
                    [0; 32]
                });
                writeln!(list, "    {key:?},").unwrap();
            }
        }
    }
    list.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap()).join("keys.rs");
    fs::write(out, list).unwrap();
}

/// Fails the build, with a message in place of a panic's.
fn wrong(what: &str) {
    println!("cargo::error={what}");
}

fn parse(line: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if line.len() != 64 || !line.is_ascii() {
        return None;
    }
    for (n, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&line[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(key)
}
