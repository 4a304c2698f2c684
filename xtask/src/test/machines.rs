//! The machines on which the EL1 test host runs, and the suite that each one runs.

use crate::qemu::Machine;

/// One run of the EL1 test host, of the tier `qemu` but for those in `dma.rs`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Name of the run and of its log.
    pub(super) name: &'static str,
    /// The suite, which the test host reads from its boot arguments.
    pub(super) suite: &'static str,
    /// The machine.
    pub(super) machine: Machine<'static>,
    /// Seconds until the run is given up.
    pub(super) limit: u64,
    /// Only with `--long`.
    pub(super) long: bool,
}

pub(super) const fn run(
    name: &'static str,
    suite: &'static str,
    cpu: &'static str,
    cpus: u32,
    memory: u32,
) -> Run {
    let machine = Machine {
        cpu,
        cpus,
        memory,
        count_instructions: false,
    };
    Run {
        name,
        suite,
        machine,
        limit: 180,
        long: false,
    }
}

/// One suite by itself, on the machine in the middle.
pub(super) const fn alone(suite: &'static str) -> Run {
    run("a76-2cpu", suite, "cortex-a76", 2, 1024)
}

const fn long(run: Run) -> Run {
    Run {
        long: true,
        limit: 1200,
        ..run
    }
}

/// Every CPU model, the smallest and the largest machine, and each suite at least once.
pub(super) const RUNS: &[Run] = &[
    run("a53-1cpu", "all", "cortex-a53", 1, 512),
    run("a76-2cpu", "all", "cortex-a76", 2, 1024),
    run("n1-4cpu", "all", "neoverse-n1", 4, 2048),
    run("max-8cpu", "all", "max", 8, 16384),
    long(run("a76-2cpu-soak", "soak", "cortex-a76", 2, 1024)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_fit_a_file_name() {
        for (index, run) in RUNS.iter().enumerate() {
            assert!(
                run.name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '-'),
                "{}",
                run.name
            );
            assert!(
                RUNS[..index].iter().all(|other| other.name != run.name),
                "{}",
                run.name
            );
        }
    }

    #[test]
    fn the_published_range_of_machines_is_covered() {
        for cpu in ["cortex-a53", "cortex-a76", "neoverse-n1", "max"] {
            assert!(
                RUNS.iter().any(|run| run.machine.cpu == cpu && !run.long),
                "{cpu}"
            );
        }
        for cpus in [1, 2, 8] {
            assert!(
                RUNS.iter().any(|run| run.machine.cpus == cpus && !run.long),
                "{cpus} CPUs"
            );
        }
        for memory in [512, 16384] {
            assert!(
                RUNS.iter()
                    .any(|run| run.machine.memory == memory && !run.long),
                "{memory} MiB"
            );
        }
    }
}
