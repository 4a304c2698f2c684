//! `cargo xtask test --without NAME`: whether the tests of a protection see that it is missing.
//!
//! Each row builds an image of Ward without one protection (`hyp-core/src/without.rs`), boots the
//! Linux host of a run on it, and has the checks done that are about that protection. All of them
//! must fail; a check that passes proves nothing.

use super::report::Report;
use super::tally::Tally;
use crate::qemu::console::Console;

/// How much of a failure's reason is shown.
const WHY: usize = 160;

/// A protection, and who must miss it.
pub(super) struct Protection {
    /// As `hyp-core/src/without.rs` calls it.
    pub(super) name: &'static str,
    /// What it is, in that file's words.
    pub(super) what: &'static str,
    /// Runs of the tiers `linux` and `guest`, with the checks of each that must fail.
    pub(super) red: &'static [(&'static str, &'static [&'static str])],
}

const ATTACK: &str = "n1-2cpu-guest-attack";
const LIFE: &str = "n1-2cpu-guest-life";
const HOST: &str = "n1-4cpu-attack";

/// What is done in any case: the others need it.
pub(super) const FIRST: &[&str] = &["kvm", "swap", "attacks-named"];

/// All protections.
pub(super) const PROTECTIONS: &[Protection] = &[
    Protection {
        name: "unmapping",
        what: "what leaves the host is unmapped from it",
        red: &[
            (
                ATTACK,
                &[
                    "attack-mapping-load",
                    "attack-mapping-store",
                    "attack-syscall-buffer",
                    "attack-vmsplice",
                    "attack-fork",
                    "attack-proc-mem-read",
                    "attack-proc-mem-write",
                    "attack-process-vm-readv",
                    "attack-process-vm-writev",
                    "attack-ptrace",
                    "attack-dev-mem-mapped",
                    "attack-dev-mem-read",
                    "attack-module-read",
                    "attack-module-write",
                    "attack-module-search",
                    "attack-page-out",
                    "attack-move-pages",
                    "attack-compact",
                    "attack-same-page-merging",
                ],
            ),
            (LIFE, &["load-balloon"]),
        ],
    },
    Protection {
        name: "invalidation",
        what: "what is unmapped leaves the TLBs of all CPUs",
        red: &[(LIFE, &["load-balloon"])],
    },
    Protection {
        name: "zeroing",
        what: "what comes back to the host is zeroed",
        red: &[(ATTACK, &["attack-left-behind"]), (HOST, &["attack"])],
    },
    Protection {
        name: "return",
        what: "what was a VM's comes back to the host when it ends",
        red: &[(
            LIFE,
            &["all-back", "killed-at-each-stage", "killed-at-random"],
        )],
    },
    Protection {
        name: "stop",
        what: "memory is taken back from a VM only when nothing of it runs any more",
        red: &[(ATTACK, &["attack-discard", "race-processes"])],
    },
    Protection {
        name: "no-change",
        what: "the host changes no mapping of a protected VM",
        red: &[(ATTACK, &["attack-unmap"])],
    },
    Protection {
        name: "filter",
        what: "an exit shows the fields of its row and no others",
        red: &[(ATTACK, &["attack-module-search"])],
    },
    Protection {
        name: "registers-out",
        what: "a protected vCPU's registers are not shown",
        red: &[(
            ATTACK,
            &[
                "attack-module-search",
                "attack-get-one-reg",
                "attack-run-page",
            ],
        )],
    },
    Protection {
        name: "registers-in",
        what: "a protected vCPU's registers are not taken from the host",
        red: &[(ATTACK, &["attack-set-one-reg"]), (HOST, &["attack"])],
    },
    Protection {
        name: "host-fp",
        what: "the host gets its own FP registers back after a run",
        red: &[(ATTACK, &["attack-module-search"])],
    },
    Protection {
        name: "vmid",
        what: "each VM has a VMID of its own",
        red: &[(LIFE, &["load-many", "load-migrate"])],
    },
    Protection {
        name: "one-manifest",
        what: "a VM has one manifest, for good",
        red: &[(ATTACK, &["race-threads"])],
    },
    Protection {
        name: "signature",
        what: "a manifest is its owner's",
        red: &[(HOST, &["attack"])],
    },
    Protection {
        name: "digest",
        what: "an image is the one that was signed",
        red: &[(HOST, &["attack"])],
    },
    Protection {
        name: "write-protection",
        what: "a normal VM's page is write-protected when its host asks for that",
        red: &[(LIFE, &["load-normal"])],
    },
];

impl Protection {
    /// Each of these checks must have failed.
    pub(super) fn missed(
        &self,
        red: &[&str],
        console: &Console,
        report: &Report,
        tally: &mut Tally,
    ) {
        let name = self.name;
        let says = format!("built without the protection {name}");
        if !console.lines.iter().any(|line| line.contains(&says)) {
            tally.fail(name, "the image does not say on its console what it lacks");
        }
        let failed = |check: &str| format!("::{check}: ");
        for check in red {
            let wrong = report.wrong.iter().find_map(|wrong| {
                let (_, why) = wrong.split_once(&failed(check))?;
                Some(why.chars().take(WHY).collect::<String>())
            });
            if let Some(why) = wrong {
                println!("without {name}: {check} fails, as it must: {why}");
                tally.passed += 1;
            } else {
                let what = self.what;
                let why = format!("{check} does not see that this is missing: {what}");
                tally.fail(name, &why);
            }
        }
        for wrong in &report.wrong {
            if !red.iter().any(|check| wrong.contains(&failed(check))) {
                println!("without {name}: also {wrong}");
            }
        }
    }
}

/// Prints them all, with who must miss each.
pub(super) fn list() {
    for one in PROTECTIONS {
        println!("{:16} {}", one.name, one.what);
        for (run, checks) in one.red {
            println!("{:16} must fail in {run}: {}", "", checks.join(", "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switches_are_those_that_the_code_has() {
        let ours: Vec<(&str, &str)> = PROTECTIONS.iter().map(|one| (one.name, one.what)).collect();
        assert_eq!(ours, hyp_core::without::PROTECTIONS);
        let lints = include_str!("../../../Cargo.toml");
        for (name, _) in ours {
            assert!(lints.contains(&format!("\"{name}\"")), "{name}");
        }
    }

    #[test]
    fn each_is_missed_by_checks_that_there_are() {
        let scenario = include_str!("../../../tests/linux/src/scenario.rs");
        for one in PROTECTIONS {
            assert!(!one.red.is_empty(), "{}", one.name);
            for (_, checks) in one.red {
                for check in *checks {
                    assert!(scenario.contains(&format!("\"{check}\"")), "{check}");
                }
            }
        }
    }
}
