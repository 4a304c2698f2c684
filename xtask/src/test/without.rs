//! `cargo xtask test --without NAME`: whether the tests of a protection see that it is missing.
//!
//! Each row builds an image of Ward without one protection (`hyp-core/src/without.rs`), boots the
//! Linux host of a run on it, and has the checks done that are about that protection. All of them
//! must fail; a check that passes proves nothing.

use anyhow::{Result, bail};

use super::linux::Lacking;
use super::tally::Tally;
use super::{dma, machines, suite};
use crate::image::{self, ImageArgs, Images};
use crate::paths;
use crate::run::{cargo, say};

/// How much of a failure's reason is shown.
const WHY: usize = 160;

/// A protection, and who must miss it.
pub(super) struct Protection {
    /// As `hyp-core/src/without.rs` calls it.
    pub(super) name: &'static str,
    /// What it is, in that file's words.
    pub(super) what: &'static str,
    /// Who must miss it.
    red: &'static [Red],
}

const ATTACK: &str = "n1-2cpu-guest-attack";
const LIFE: &str = "n1-2cpu-guest-life";
const HOST: &str = "n1-4cpu-attack";

/// Ward is missing as a whole: the same kernel with KVM's own protected mode.
const WARD: &str = "ward";

/// What is done in any case: the others need it.
const FIRST: &[&str] = &["kvm", "swap", "attacks-named"];

/// All protections.
pub(super) const PROTECTIONS: &[Protection] = &[
    Protection {
        name: WARD,
        what: "Ward, in place of KVM's own protected mode",
        red: &[Red::Alone(
            ATTACK,
            &["attack-get-one-reg", "attack-set-one-reg"],
        )],
    },
    Protection {
        name: "unmapping",
        what: "what leaves the host is unmapped from it",
        red: &[
            Red::Host(
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
            Red::Host(LIFE, &["load-balloon", "load-file"]),
            Red::Suite(
                "suite=isolation",
                &[
                    "isolation::guest-memory-from-the-host",
                    "isolation::shared-page-cannot-be-given-away",
                ],
            ),
        ],
    },
    Protection {
        name: "invalidation",
        what: "what is unmapped leaves the TLBs of all CPUs",
        red: &[
            Red::Host(LIFE, &["load-balloon"]),
            Red::Suite(
                "suite=isolation",
                &[
                    "isolation::stale-translation-after-donation",
                    "isolation::stale-translation-on-another-cpu",
                ],
            ),
            Red::Suite("suite=build", &["build::image-given-is-lost-to-the-host"]),
        ],
    },
    Protection {
        name: "devices",
        what: "a device reaches only what its stream's table maps",
        red: &[
            Red::Dma(&[
                "dma::read-of-wards-memory",
                "dma::write-to-wards-memory",
                "dma::read-of-a-guests-page",
                "dma::write-to-a-guests-page",
                "dma::read-of-records-and-tables",
                "dma::write-to-a-guests-table",
                "dma::stale-translation-after-donation",
                "dma::stale-translation-after-donation-of-a-block",
                "dma::neighbours-of-a-donated-page-work",
                "dma::memory-of-a-guest-that-is-off",
                "dma::unshared-page",
                "dma::device-memory",
                "dma::registers-of-the-interrupt-controller",
                "dma::registers-of-the-smmu-by-dma",
                "dma::beyond-memory",
                "dma::flood-of-refused-accesses",
                "dma::race-of-dma-with-donation",
                "dma::race-of-dma-with-unshare",
                "dma::past-a-mapping",
                "dma::another-streams-addresses",
                "dma::read-only-mapping",
                "dma::stale-translation-after-clear",
                "dma::stream-given-back",
            ]),
            Red::Host(ATTACK, &["attack-direct-io"]),
        ],
    },
    Protection {
        name: "device-invalidation",
        what: "what leaves a stream's table leaves the SMMUs",
        red: &[Red::Dma(&[
            "dma::stale-translation-after-donation",
            "dma::stale-translation-after-donation-of-a-block",
            "dma::unshared-page",
            "dma::race-of-dma-with-donation",
            "dma::race-of-dma-with-unshare",
            "dma::stale-translation-after-clear",
            "dma::mapped-page-cannot-be-given-away",
            "dma::stream-given-back",
        ])],
    },
    Protection {
        name: "zeroing",
        what: "what comes back to the host is zeroed",
        red: &[
            Red::Host(ATTACK, &["attack-left-behind"]),
            Red::Host(LIFE, &["load-file"]),
            Red::Host(HOST, &["attack"]),
            Red::Suite("suite=isolation", &["isolation::memory-comes-back-zero"]),
        ],
    },
    Protection {
        name: "return",
        what: "what was a VM's comes back to the host when it ends",
        red: &[Red::Host(
            LIFE,
            &[
                "killed-at-each-stage",
                "killed-at-random",
                "all-back",
                "numbers-back",
            ],
        )],
    },
    Protection {
        name: "stop",
        what: "memory is taken back from a VM only when nothing of it runs any more",
        red: &[
            Red::Host(ATTACK, &["attack-discard", "race-processes"]),
            Red::Host(LIFE, &["load-file", "load-pressure"]),
        ],
    },
    Protection {
        name: "no-change",
        what: "the host changes no mapping of a protected VM",
        red: &[Red::Host(ATTACK, &["attack-unmap"])],
    },
    Protection {
        name: "filter",
        what: "an exit shows the fields of its row and no others",
        red: &[Red::Suite("suite=guest", &["guest::checks-of-the-guest"])],
    },
    Protection {
        name: "registers-out",
        what: "a protected vCPU's registers are not shown",
        red: &[Red::Host(
            ATTACK,
            &["attack-module-search", "attack-run-page"],
        )],
    },
    Protection {
        name: "registers-in",
        what: "a protected vCPU's registers are not taken from the host",
        red: &[Red::Host(HOST, &["attack"])],
    },
    Protection {
        name: "host-fp",
        what: "the host gets its own FP registers back after a run",
        red: &[Red::Suite("suite=guest", &["guest::checks-of-the-guest"])],
    },
    Protection {
        name: "switch",
        what: "a vCPU's system registers come with it, whoever ran on the CPU before",
        red: &[Red::Host(LIFE, &["load-many", "load-migrate"])],
    },
    Protection {
        name: "timer",
        what: "the guest's deadline is not left in the host's timer",
        red: &[Red::Suite("suite=guest", &["guest::timers-stay-apart"])],
    },
    Protection {
        name: "every-cpu",
        what: "the host runs behind its stage 2 on every CPU",
        red: &[Red::Suite(
            "suite=machine",
            &["machine::read-and-write-of-wards-memory-abort-on-every-cpu"],
        )],
    },
    Protection {
        name: "reuse",
        what: "a VM's number is another's when no TLB knows it any more",
        red: &[Red::Model("lockstep", &["lockstep"])],
    },
    Protection {
        name: "vmid",
        what: "each VM has a VMID of its own",
        red: &[Red::Model("lockstep", &["lockstep"])],
    },
    Protection {
        name: "one-manifest",
        what: "a VM has one manifest, for good",
        red: &[Red::Host(ATTACK, &["race-threads"])],
    },
    Protection {
        name: "signature",
        what: "a manifest is its owner's",
        red: &[Red::Host(HOST, &["attack"])],
    },
    Protection {
        name: "digest",
        what: "an image is the one that was signed",
        red: &[
            Red::Host(HOST, &["attack"]),
            Red::Suite("suite=build", &["build::flipped-bit-in-each-image"]),
        ],
    },
    Protection {
        name: "write-protection",
        what: "a normal VM writes only where its host lets it",
        red: &[Red::Host(LIFE, &["load-normal", "load-read-only"])],
    },
];

/// Tests that must fail.
enum Red {
    /// Checks of a run, by a host that is alone on its machine.
    Alone(&'static str, &'static [&'static str]),
    /// Checks of a run of the tiers `linux` and `guest`.
    Host(&'static str, &'static [&'static str]),
    /// Tests of the EL1 test host: its boot argument, and their names.
    Suite(&'static str, &'static [&'static str]),
    /// Tests of the EL1 test host's suite `dma`, on a machine with an SMMU.
    Dma(&'static [&'static str]),
    /// Tests of a file of tests/tests, on the fake machine.
    Model(&'static str, &'static [&'static str]),
}

impl Red {
    fn tests(&self) -> &'static [&'static str] {
        use Red::{Alone, Dma, Host, Model, Suite};
        let (Alone(_, tests) | Host(_, tests) | Suite(_, tests) | Dma(tests) | Model(_, tests)) =
            self;
        tests
    }

    /// For the name of a log.
    fn file(&self) -> &'static str {
        match self {
            Red::Alone(name, _)
            | Red::Host(name, _)
            | Red::Suite(name, _)
            | Red::Model(name, _) => name,
            Red::Dma(_) => "dma",
        }
    }

    fn place(&self) -> String {
        match self {
            Red::Alone(run, _) | Red::Host(run, _) => format!("the run {run}"),
            Red::Suite(suite, _) => format!("the test host's {suite}"),
            Red::Dma(_) => "the tier dma".to_owned(),
            Red::Model(file, _) => format!("tests/tests/{file}.rs"),
        }
    }
}

/// Builds an image without each of these, and has done what must fail then.
pub(super) fn run(protections: &[&Protection], tally: &mut Tally) -> Result<()> {
    let mut images = image::build(&ImageArgs::default())?;
    let mut hosts = None;
    for protection in protections {
        let name = protection.name;
        say(&format!("without {name}: {}", protection.what));
        if name != WARD {
            images.ward = image::build_without(name)?;
        }
        for red in protection.red {
            match protection.wrong(red, &images, &mut hosts) {
                Ok(wrong) => protection.missed(red, &wrong, tally),
                Err(error) => tally.fail(name, &format!("{}: {error:#}", red.place())),
            }
        }
    }
    Ok(())
}

impl Protection {
    /// What goes wrong without it, one line each that begins with the test's name.
    fn wrong(
        &self,
        red: &Red,
        images: &Images,
        hosts: &mut Option<Lacking>,
    ) -> Result<Vec<String>> {
        let (console, wrong) = match red {
            Red::Alone(run, checks) | Red::Host(run, checks) => {
                let image = (self.name != WARD).then_some(&*images.ward);
                let hosts = match hosts {
                    Some(hosts) => hosts,
                    none => none.insert(Lacking::make()?),
                };
                let checks = [FIRST, checks].concat();
                let (console, wrong) = hosts.run(run, image, &checks)?;
                // Each has its boot's name in front.
                let bare = |line: String| match line.split_once("::") {
                    Some((_, rest)) => rest.to_owned(),
                    None => line,
                };
                (console, wrong.into_iter().map(bare).collect())
            }
            Red::Suite(name, _) => {
                let console = suite::boot(&machines::alone(name), images, &[])?;
                let wrong = suite::wrong(&console);
                (console, wrong)
            }
            Red::Dma(_) => {
                let console = dma::boot(images)?;
                let wrong = suite::wrong(&console);
                (console, wrong)
            }
            Red::Model(file, tests) => return self.model(file, tests),
        };
        let log = console.keep(&format!("without-{}-{}", self.name, red.file()))?;
        println!("{}: console in {log}", red.place());
        let says = format!("built without the protection {}", self.name);
        if self.name != WARD && !console.lines.iter().any(|line| line.contains(&says)) {
            bail!("the image does not say on its console what it lacks ({log})");
        }
        Ok(wrong)
    }

    /// The same on the fake machine.
    fn model(&self, file: &str, tests: &[&str]) -> Result<Vec<String>> {
        let mut test = cargo(&["test", "-p", "ward-tests", "--test", file, "--"]);
        test.args(tests).arg("--exact");
        let flag = format!("--cfg ward_without=\"{}\"", self.name);
        // Of its own: other flags rebuild everything else each time.
        test.env("CARGO_TARGET_DIR", paths::target_dir().join("without"));
        test.env("RUSTFLAGS", flag);
        let failed = Tally::failing(&mut test)?;
        Ok(failed.iter().map(|name| format!("{name}: fails")).collect())
    }

    /// Each of the tests must have failed.
    fn missed(&self, red: &Red, wrong: &[String], tally: &mut Tally) {
        let name = self.name;
        let of = |test: &str| {
            let mut all = wrong.iter();
            all.find_map(|line| line.strip_prefix(test)?.strip_prefix(": "))
        };
        for test in red.tests() {
            if let Some(why) = of(test) {
                let why: String = why.chars().take(WHY).collect();
                println!("without {name}: {test} fails, as it must: {why}");
                tally.passed += 1;
            } else {
                let what = self.what;
                let why = format!("{test} does not see that this is missing: {what}");
                tally.fail(name, &why);
            }
        }
        let others = wrong.iter().filter(|line| {
            let test = line.split_once(": ").map_or("", |(test, _)| test);
            !red.tests().contains(&test)
        });
        for line in others {
            println!("without {name}: also {line}");
        }
    }
}

/// Prints them all, with who must miss each.
pub(super) fn list() {
    for one in PROTECTIONS {
        println!("{:16} {}", one.name, one.what);
        for red in one.red {
            let tests = red.tests().join(", ");
            println!("{:16} must fail in {}: {tests}", "", red.place());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switches_are_those_that_the_code_has() {
        let switches = PROTECTIONS.iter().filter(|one| one.name != WARD);
        let ours: Vec<(&str, &str)> = switches.map(|one| (one.name, one.what)).collect();
        assert_eq!(ours, hyp_core::without::PROTECTIONS);
        let lints = include_str!("../../../Cargo.toml");
        for (name, _) in ours {
            assert!(lints.contains(&format!("\"{name}\"")), "{name}");
        }
    }

    #[test]
    fn the_manual_has_the_same_table() {
        let manual = include_str!("../../../docs/testing.md");
        for one in PROTECTIONS {
            let start = format!("| `{}` | {} | ", one.name, one.what);
            let row = manual.lines().find(|line| line.starts_with(&start));
            let row = row.unwrap_or_else(|| panic!("no row {start}"));
            for test in one.red.iter().flat_map(Red::tests) {
                assert!(row.contains(&format!("`{test}`")), "{start}{test}");
            }
        }
    }

    #[test]
    fn each_is_missed_by_checks_that_there_are() {
        let scenario = include_str!("../../../tests/linux/src/scenario.rs");
        let runs = include_str!("linux/runs.rs");
        let attacks = [
            include_str!("../../../tests/payload/src/host/suites/dma/memory.rs"),
            include_str!("../../../tests/payload/src/host/suites/dma/race.rs"),
            include_str!("../../../tests/payload/src/host/suites/dma/streams.rs"),
        ];
        for one in PROTECTIONS {
            assert!(!one.red.is_empty(), "{}", one.name);
            for red in one.red {
                if let Red::Dma(tests) = red {
                    for test in *tests {
                        let name = test.strip_prefix("dma::").unwrap_or("not of this suite");
                        let name = format!("\"{name}\"");
                        assert!(attacks.iter().any(|it| it.contains(&name)), "{test}");
                    }
                }
                let (Red::Host(run, checks) | Red::Alone(run, checks)) = red else {
                    continue;
                };
                assert!(runs.contains(&format!("\"{run}\"")), "{run}");
                for check in *checks {
                    assert!(scenario.contains(&format!("\"{check}\"")), "{check}");
                }
            }
        }
    }
}
