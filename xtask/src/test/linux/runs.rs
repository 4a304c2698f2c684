//! The machines on which a Linux host runs, and what it does there.

use crate::qemu::Machine;

/// One run of the tier `linux` or `guest`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// The tier.
    pub(super) tier: Tier,
    /// Name of the run and of its log.
    pub(super) name: &'static str,
    /// Debian's kernel instead of the small one.
    pub(super) stock: bool,
    /// What the host does, as `tests/linux` calls it.
    pub(super) scenario: &'static str,
    /// The boots that this takes, in order.
    pub(super) boots: &'static [&'static str],
    /// More words of the command line.
    words: &'static str,
    /// The machine.
    pub(super) machine: Machine<'static>,
    /// What the virtio disk holds.
    pub(super) disk: Disk,
    /// What QEMU has beside.
    pub(super) devices: &'static [&'static str],
    /// What Ward is to say of accesses by devices that it ended: each of these, and of no other.
    pub(super) refused: &'static [&'static str],
    /// What is below the kernel.
    pub(super) below: Below,
    /// Seconds until the run is given up.
    pub(super) limit: u64,
    /// Only with `--long`.
    pub(super) long: bool,
}

/// What a host's kernel finds below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Below {
    /// Ward as it is shipped.
    Ward,
    /// Ward's image for tests.
    TestWard,
    /// EL2 itself: the kernel starts on the machine alone.
    Nothing,
}

/// What a host's virtio disk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    /// Zeros.
    Empty,
    /// A guest's Debian.
    Debian,
    /// Debian's QEMU, and all that it needs.
    Qemu,
}

/// The tiers that boot a Linux host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    /// The host by itself.
    Linux,
    /// Its guests.
    Guest,
    /// Its devices, behind an SMMU.
    Dma,
}

impl Run {
    /// Whether the machine has an SMMU. A host without guests is tested without.
    pub(super) fn smmu(&self) -> bool {
        self.tier != Tier::Linux
    }

    /// The kernel's command line.
    pub(super) fn bootargs(&self) -> String {
        format!(
            "console=ttyAMA0 printk.devkmsg=on ward.scenario={} ward.cpus={} ward.memory={} {}",
            self.scenario, self.machine.cpus, self.machine.memory, self.words
        )
        .trim_end()
        .to_owned()
    }
}

const fn machine(cpu: &'static str, cpus: u32, memory: u32) -> Machine<'static> {
    Machine {
        cpu,
        cpus,
        memory,
        count_instructions: false,
    }
}

/// KVM gives Ward memory to split the host's stage 2 with, which does not come back: so it refuses
/// kexec. The host's own list is that of a host without guests.
const NO_GUESTS: &str = "kvm-arm.mode=none";

/// KVM's own protected mode, which Ward takes the place of.
pub(super) const PKVM: &str = "kvm-arm.mode=protected";

const fn short(name: &'static str, machine: Machine<'static>) -> Run {
    Run {
        tier: Tier::Linux,
        name,
        stock: false,
        scenario: "short",
        boots: &["only"],
        words: NO_GUESTS,
        machine,
        disk: Disk::Empty,
        devices: &[],
        refused: &[],
        below: Below::Ward,
        limit: 180,
        long: false,
    }
}

const fn main(name: &'static str, machine: Machine<'static>) -> Run {
    Run {
        scenario: "main",
        boots: &["first", "kexec", "reboot", "panic"],
        limit: 300,
        ..short(name, machine)
    }
}

const fn attack(name: &'static str, machine: Machine<'static>, words: &'static str) -> Run {
    Run {
        scenario: "attack",
        below: Below::TestWard,
        words,
        limit: 300,
        ..short(name, machine)
    }
}

const fn guest(
    name: &'static str,
    scenario: &'static str,
    machine: Machine<'static>,
    words: &'static str,
) -> Run {
    Run {
        tier: Tier::Guest,
        scenario,
        words,
        limit: 600,
        ..short(name, machine)
    }
}

const fn dma(name: &'static str, words: &'static str, limit: u64) -> Run {
    Run {
        tier: Tier::Dma,
        stock: true,
        scenario: "dma",
        words,
        limit,
        ..short(name, machine("cortex-a76", 2, 2048))
    }
}

/// A host that leads its devices itself, and has one that does as it is told: without the mask of 28
/// bits that would have its accesses miss.
const fn iommu(name: &'static str, words: &'static str) -> Run {
    Run {
        stock: false,
        scenario: "dma-iommu",
        devices: &["-device", "edu,addr=8.0,dma_mask=0xffffffffffffffff"],
        // As `tests/linux` has it read only, unmapped, and unmapped again.
        refused: &[
            "stream 0x0040 was refused a write at 0x6000000",
            "stream 0x0040 was refused a write at 0x6000003",
            "stream 0x0040 was refused a write at 0x6000002",
            "stream 0x0040 was refused a write at 0x6040123",
        ],
        ..dma(name, words, 300)
    }
}

/// The whole list, the smallest and the largest machine, an attack, and Debian's kernel.
pub(super) const RUNS: &[Run] = &[
    main("a76-2cpu", machine("cortex-a76", 2, 2048)),
    short("a53-1cpu", machine("cortex-a53", 1, 1024)),
    short("max-8cpu", machine("max", 8, 16384)),
    attack(
        "n1-4cpu-attack",
        machine("neoverse-n1", 4, 2048),
        "ward.seed=1 ward.calls=2000",
    ),
    Run {
        stock: true,
        scenario: "stock",
        ..short("a76-2cpu-stock", machine("cortex-a76", 2, 2048))
    },
    Run {
        long: true,
        limit: 1200,
        words: "kvm-arm.mode=none ward.rounds=50",
        ..main("n1-4cpu", machine("neoverse-n1", 4, 4096))
    },
    Run {
        long: true,
        limit: 3600,
        ..attack(
            "n1-4cpu-attack-long",
            machine("neoverse-n1", 4, 2048),
            "ward.seed=2 ward.calls=25000",
        )
    },
    guest(
        "n1-2cpu-guest-attack",
        "guest-attack",
        machine("neoverse-n1", 2, 1024),
        "",
    ),
    guest(
        "n1-2cpu-guest-life",
        "guest-life",
        machine("neoverse-n1", 2, 1024),
        "ward.seed=1 ward.lives=60",
    ),
    guest(
        "a76-4cpu-guest-linux",
        "guest-linux",
        machine("cortex-a76", 4, 4096),
        "",
    ),
    guest(
        "n1-2cpu-guest-run",
        "guest-run",
        machine("neoverse-n1", 2, 1024),
        "",
    ),
    // What devices had a moment ago becomes a guest's, and a guest's page is offered to one.
    guest(
        "n1-2cpu-guest-iommu",
        "guest-attack",
        machine("neoverse-n1", 2, 1024),
        "ward.iommu=on iommu.strict=0 ward.only=kvm,swap,attacks-named,attack-direct-io,attack-page-out,\
         attack-move-pages,attack-compact,attack-discard,race-processes,all-back,numbers-back,\
         ward-log,ward-did-not-crash",
    ),
    // A CPU without VHE, and KVM's own protected mode: all that the kernel does without Ward.
    Run {
        below: Below::Nothing,
        ..guest(
            "a53-2cpu-guest-alone",
            "guest-alone",
            machine("cortex-a53", 2, 1024),
            "",
        )
    },
    Run {
        below: Below::Nothing,
        ..guest(
            "n1-2cpu-guest-pkvm",
            "guest-pkvm",
            machine("neoverse-n1", 2, 1024),
            PKVM,
        )
    },
    Run {
        disk: Disk::Qemu,
        ..guest(
            "n1-2cpu-guest-qemu",
            "guest-qemu",
            machine("neoverse-n1", 2, 2048),
            "",
        )
    },
    Run {
        disk: Disk::Debian,
        ..guest(
            "n1-2cpu-guest-debian",
            "guest-debian",
            machine("neoverse-n1", 2, 1024),
            "",
        )
    },
    Run {
        long: true,
        limit: 3600,
        ..guest(
            "a76-4cpu-guest-life-long",
            "guest-life",
            machine("cortex-a76", 4, 2048),
            "ward.seed=2 ward.lives=500",
        )
    },
    dma(
        "a76-2cpu-dma-load",
        "kvm-arm.mode=none ward.seconds=60",
        300,
    ),
    iommu(
        "a76-2cpu-dma-strict",
        "kvm-arm.mode=none ward.seconds=30 ward.iommu=on iommu.strict=1 ward.domains=DMA",
    ),
    iommu(
        "a76-2cpu-dma-lazy",
        "kvm-arm.mode=none ward.seconds=30 ward.iommu=on iommu.strict=0 ward.domains=DMA-FQ",
    ),
    Run {
        long: true,
        ..dma(
            "a76-2cpu-dma-load-long",
            "kvm-arm.mode=none ward.seconds=600",
            1200,
        )
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_published_range_is_covered() {
        for (index, run) in RUNS.iter().enumerate() {
            assert!(
                RUNS[..index].iter().all(|other| other.name != run.name),
                "{}",
                run.name
            );
        }
        let usual = || RUNS.iter().filter(|run| !run.long).map(|run| run.machine);
        for cpus in [1, 2, 4, 8] {
            assert!(usual().any(|machine| machine.cpus == cpus), "{cpus} CPUs");
        }
        for memory in [1024, 16384] {
            assert!(
                usual().any(|machine| machine.memory == memory),
                "{memory} MiB"
            );
        }
    }

    #[test]
    fn the_command_line_says_what_the_machine_is() {
        assert_eq!(
            RUNS[0].bootargs(),
            "console=ttyAMA0 printk.devkmsg=on ward.scenario=main ward.cpus=2 ward.memory=2048 kvm-arm.mode=none"
        );
    }
}
