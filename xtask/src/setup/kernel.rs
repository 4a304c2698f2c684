//! What building the small kernel, taking Debian's own apart, and making guests' disks needs, beside
//! Rust and QEMU.

use std::env;
use std::path::{Path, PathBuf};

use super::distro::Distro;
use super::plan::{Fix, Missing, Step};
use crate::linux;

/// A program, and Debian's package of it.
struct Tool<'a> {
    program: &'a str,
    package: &'static str,
}

const fn tool(program: &'static str, package: &'static str) -> Tool<'static> {
    Tool { program, package }
}

/// All but the compiler, whose name depends on the machine.
const TOOLS: &[Tool<'static>] = &[
    tool("make", "make"),
    tool("gcc", "gcc"),
    tool("flex", "flex"),
    tool("bison", "bison"),
    tool("bc", "bc"),
    tool("perl", "perl"),
    tool("patch", "patch"),
    tool("tar", "tar"),
    tool("xz", "xz-utils"),
    tool("fakeroot", "fakeroot"),
    tool("mke2fs", "e2fsprogs"),
    tool("debugfs", "e2fsprogs"),
];

/// The C library's headers, for the programs that the kernel's build runs itself.
const HEADERS: (&str, &str) = ("/usr/include/stdio.h", "libc6-dev");

/// The command that installs all of it, for each distribution where setup does not run it.
const COMMANDS: &[(&str, &str)] = &[
    (
        "fedora",
        "sudo dnf install gcc-aarch64-linux-gnu gcc glibc-devel make flex bison bc perl patch tar xz e2fsprogs fakeroot",
    ),
    (
        "rhel",
        "sudo dnf install epel-release && sudo dnf install gcc-aarch64-linux-gnu gcc glibc-devel make flex bison bc perl patch tar xz e2fsprogs fakeroot",
    ),
    (
        "arch",
        "sudo pacman -S --needed aarch64-linux-gnu-gcc gcc make flex bison bc perl patch tar xz e2fsprogs fakeroot",
    ),
    (
        "suse",
        "sudo zypper install cross-aarch64-gcc13 gcc glibc-devel make flex bison bc perl patch tar xz e2fsprogs fakeroot && export WARD_CROSS_COMPILE=aarch64-suse-linux-",
    ),
    (
        "opensuse",
        "sudo zypper install cross-aarch64-gcc13 gcc glibc-devel make flex bison bc perl patch tar xz e2fsprogs fakeroot && export WARD_CROSS_COMPILE=aarch64-suse-linux-",
    ),
    (
        "gentoo",
        "sudo emerge sys-devel/crossdev && sudo crossdev -t aarch64-linux-gnu -S",
    ),
    (
        "nixos",
        "nix-shell -p pkgsCross.aarch64-multiplatform.buildPackages.gcc gcc gnumake flex bison bc perl && export WARD_CROSS_COMPILE=aarch64-unknown-linux-gnu-",
    ),
];

/// What is missing on this machine, if anything.
pub(super) fn missing() -> Option<Missing> {
    let compiler = format!("{}gcc", linux::cross_compile());
    find(
        &compiler,
        &Distro::here(),
        &in_path,
        Path::new(HEADERS.0).is_file(),
    )
}

fn in_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    // Where root's programs are that a user may run as well.
    let roots = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    program.contains('/') && Path::new(program).is_file()
        || env::split_paths(&path)
            .chain(roots)
            .any(|dir| dir.join(program).is_file())
}

fn find(
    compiler: &str,
    distro: &Distro,
    there: &dyn Fn(&str) -> bool,
    headers: bool,
) -> Option<Missing> {
    let cross = Tool {
        program: compiler,
        package: "gcc-aarch64-linux-gnu",
    };
    let lacking: Vec<&Tool<'_>> = [&cross]
        .into_iter()
        .chain(TOOLS)
        .filter(|tool| !there(tool.program))
        .collect();
    let mut names: Vec<&str> = lacking.iter().map(|tool| tool.program).collect();
    let mut packages: Vec<&str> = lacking.iter().map(|tool| tool.package).collect();
    packages.dedup();
    if !headers && distro.is("debian") {
        names.push("stdio.h");
        packages.push(HEADERS.1);
    }
    if names.is_empty() {
        return None;
    }
    let what = format!(
        "for building a Linux host kernel: no {} (only `cargo xtask linux`, `run` and the tier `linux` need it)",
        names.join(", ")
    );
    let fix = if distro.is("debian") || distro.is("ubuntu") {
        let install = ["apt-get", "install", "-y", "--no-install-recommends"];
        Fix::Steps(vec![
            Step::root(&["apt-get", "update"]),
            Step::root(&[&install[..], &packages].concat()),
        ])
    } else {
        let command = COMMANDS.iter().find(|(name, _)| distro.is(name));
        Fix::ByHand(match command {
            Some((_, command)) => format!("run: {command}"),
            None => format!(
                "install a C compiler for aarch64-linux-gnu (or name another's prefix in WARD_CROSS_COMPILE), and: {}",
                names.join(", ")
            ),
        })
    };
    Some(Missing { what, fix })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distro(id: &str) -> Distro {
        Distro {
            id: id.to_owned(),
            ..Distro::default()
        }
    }

    #[test]
    fn nothing_is_missing_where_all_is_there() {
        assert_eq!(find("gcc", &distro("debian"), &|_| true, true), None);
    }

    #[test]
    fn on_debian_only_the_missing_packages_are_installed() {
        let lacks = |program: &str| program != "flex" && program != "aarch64-linux-gnu-gcc";
        let missing = find("aarch64-linux-gnu-gcc", &distro("debian"), &lacks, false).unwrap();
        let Fix::Steps(steps) = &missing.fix else {
            panic!("{missing:?}")
        };
        let last = steps.last().unwrap().shell();
        assert!(
            last.ends_with(" gcc-aarch64-linux-gnu flex libc6-dev"),
            "{last}"
        );
    }

    #[test]
    fn elsewhere_there_is_an_exact_command() {
        for (id, word) in [
            ("fedora", "dnf install gcc-aarch64"),
            ("arch", "pacman"),
            ("x", "WARD_CROSS_COMPILE"),
        ] {
            let missing = find("gcc", &distro(id), &|_| false, true).unwrap();
            assert!(missing.report().contains(word), "{}", missing.report());
        }
    }
}
