//! Debian and Ubuntu: where a new enough QEMU comes from.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::distro::Distro;
use super::plan::{Fix, Step};
use super::qemu::{OLDEST, Version};
use crate::run;

const PACKAGE: &str = "qemu-system-arm";
const BACKPORTS: &str = "bookworm-backports";
const BACKPORTS_FILE: &str = "/etc/apt/sources.list.d/bookworm-backports.sources";

/// What the package sources of this machine already say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// Debian's backports are configured.
    backports: bool,
    /// The keyring that the existing Debian source names.
    keyring: Option<String>,
}

impl Sources {
    /// Reads `/etc/apt`.
    pub(super) fn here() -> Self {
        let mut files = vec![Path::new("/etc/apt/sources.list").to_path_buf()];
        if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
            files.extend(entries.flatten().map(|entry| entry.path()));
        }
        files.retain(|file| {
            file.extension()
                .is_some_and(|kind| kind == "list" || kind == "sources")
        });
        let texts: Vec<String> = files
            .iter()
            .filter_map(|file| fs::read_to_string(file).ok())
            .collect();
        Self::parse(texts.iter().map(String::as_str))
    }

    /// Both formats of source files are paragraphs or lines of words, which is all that is looked at.
    fn parse<'a>(files: impl Iterator<Item = &'a str>) -> Self {
        let mut sources = Sources::default();
        for file in files {
            let text: Vec<&str> = file
                .lines()
                .filter(|line| !line.trim_start().starts_with('#'))
                .collect();
            for paragraph in text
                .join("\n")
                .split("\n\n")
                .filter(|paragraph| !paragraph.contains("Enabled: no"))
            {
                let mut words = paragraph.split([' ', '\n', '\t', '[', ']']);
                sources.backports |=
                    paragraph.contains("deb") && words.clone().any(|word| word == BACKPORTS);
                if paragraph.contains("debian.org") && sources.keyring.is_none() {
                    let one_line = words
                        .clone()
                        .find_map(|word| word.strip_prefix("signed-by="));
                    let deb822 = words
                        .by_ref()
                        .skip_while(|&word| word != "Signed-By:")
                        .nth(1);
                    let keyring = one_line.or(deb822).filter(|name| name.starts_with('/'));
                    sources.keyring = keyring.map(str::to_owned);
                }
            }
        }
        sources
    }
}

/// The version of the package that apt would install now.
pub(super) fn candidate() -> Option<Version> {
    let policy = run::output(
        Command::new("apt-cache")
            .args(["policy", PACKAGE])
            .env("LC_ALL", "C"),
    )
    .ok()?;
    policy
        .lines()
        .find_map(|line| Version::parse(line.trim().strip_prefix("Candidate: ")?))
}

/// How to get QEMU here. A plan that only refreshes apt's lists is followed by another look.
pub(super) fn plan(distro: &Distro, sources: &Sources, candidate: Option<Version>) -> Fix {
    let update = Step::root(&["apt-get", "update"]);
    if distro.id == "debian" && distro.version == "12" {
        let mut steps = Vec::new();
        if !sources.backports {
            steps.push(Step::RootFile {
                path: BACKPORTS_FILE.to_owned(),
                content: backports(sources),
            });
        }
        let install = [
            "apt-get",
            "install",
            "-y",
            "--no-install-recommends",
            "-t",
            BACKPORTS,
            PACKAGE,
        ];
        steps.extend([update, Step::root(&install)]);
        return Fix::Steps(steps);
    }
    match candidate {
        Some(version) if version >= OLDEST => Fix::Steps(vec![Step::root(&[
            "apt-get",
            "install",
            "-y",
            "--no-install-recommends",
            PACKAGE,
        ])]),
        Some(version) => Fix::ByHand(format!(
            "{} {} offers {PACKAGE} {version}; use Debian 12 or newer, or Ubuntu 25.04 or newer,\n\
             or build QEMU {OLDEST} or newer from source with --target-list=aarch64-softmmu",
            distro.id, distro.version
        )),
        None => Fix::Steps(vec![update]),
    }
}

fn backports(sources: &Sources) -> String {
    let mut text = format!(
        "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: {BACKPORTS}\nComponents: main\n"
    );
    if let Some(keyring) = &sources.keyring {
        text.push_str(&format!("Signed-By: {keyring}\n"));
    }
    text
}

#[cfg(test)]
mod tests;
