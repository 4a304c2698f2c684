//! PSCI of the host, which Ward relays.

use crate::host::env::Env;
use crate::host::tally::{Test, smp_test, test};
use crate::host::text::Outcome;
use crate::host::{attack, others};
use crate::rt::{call, smp};
use hyp_core::abi::smccc::{NOT_SUPPORTED, psci};

/// The tests.
pub(super) const TESTS: &[Test] = &[
    test("psci-version-and-features", version),
    test("cpu_on-of-what-is-on-or-not-there", wrong_targets),
    smp_test("cpu_off-and-on-again", off_and_on),
];

const OFF: u64 = 1;

fn version(_: &Env) -> Outcome {
    let version = call::psci(psci::VERSION, [0; 3]);
    ensure!(
        version >= 0x1_0000 && version >> 32 == 0,
        "PSCI version {version:#x}"
    );
    for function in [
        psci::CPU_ON | psci::SMC64,
        psci::CPU_OFF,
        psci::AFFINITY_INFO | psci::SMC64,
        psci::SYSTEM_OFF,
    ] {
        let features = call::psci(psci::FEATURES, [u64::from(function), 0, 0]);
        ensure!(
            features as i32 >= 0,
            "PSCI_FEATURES of {function:#x}: {features:#x}"
        );
    }
    let unknown = call::psci(0x8400_00ff, [0; 3]);
    ensure!(
        unknown == NOT_SUPPORTED || unknown == 0xffff_ffff,
        "an unknown PSCI function: {unknown:#x}"
    );
    Ok(())
}

fn wrong_targets(env: &Env) -> Outcome {
    let on = |target| {
        call::psci(
            psci::CPU_ON | psci::SMC64,
            [target, env.board.ram.get()[0].start, 0],
        ) as u32 as i32
    };
    same!(on(env.board.mpidr[0]), -4, "CPU_ON of this CPU");
    for target in [0x0bad_0000, 99, u64::MAX] {
        same!(on(target), -2, "CPU_ON of no CPU");
    }
    Ok(())
}

fn off_and_on(env: &Env) -> Outcome {
    for _ in 0..5 {
        for cpu in 1..env.cpus() {
            let mpidr = smp::mpidr(cpu);
            smp::while_on(cpu, &|| smp::off(), || ());
            let info = || call::psci(psci::AFFINITY_INFO | psci::SMC64, [mpidr, 0, 0]);
            while info() != OFF {
                core::hint::spin_loop();
            }
            same!(smp::start(cpu, mpidr), 0, "CPU_ON");
            same!(info(), 0, "AFFINITY_INFO");
            // It has its stage 2 again before it runs.
            attack::must_abort_on(cpu, env.ward, "Ward's memory")?;
        }
    }
    ensure!(others().count() + 1 == env.board.cpus, "a CPU is missing");
    Ok(())
}
