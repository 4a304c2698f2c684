//! Calls from two CPUs at once.

use crate::host::calls::host_call;
use crate::host::env::Env;
use crate::host::tally::{Test, smp_test};
use crate::host::text::{Fail, Outcome};
use crate::host::vm::Vm;
use crate::host::{attack, others, run};
use crate::protocol::{SPARE, mode};
use crate::rt::lock::Lock;
use crate::rt::pages;
use crate::rt::smp;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use hyp_core::abi::calls::vm_state;
use hyp_core::abi::{Call, Error};

/// The tests.
pub(super) const TESTS: &[Test] = &[
    smp_test("run-of-a-running-vcpu", run_running),
    smp_test("reclaim-while-running", reclaim_running),
    smp_test("power-off-while-running", power_off_running),
    smp_test("both-vcpus-of-one-guest", both_vcpus),
    smp_test("one-frame-for-two-vms-at-once", one_frame),
    smp_test("build-and-end-on-every-cpu", build_everywhere),
    smp_test("verification-by-two-cpus", verify_twice),
];

/// While vCPU 0 spins on another CPU without an exit, does `here`. The run ends with an interrupt.
fn while_spinning(vm: &Vm, here: impl FnOnce() -> Outcome) -> Outcome {
    let Some(cpu) = others().next() else {
        return Ok(());
    };
    let (started, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let there: Lock<Result<(), Fail>> = Lock::new(Ok(()));
    let spin = || {
        while !stop.load(Ordering::Relaxed) {
            vm.tell(mode::SPIN, 0);
            // The first of these exits reads the mode, the next is the spin.
            for _ in 0..4 {
                match vm.step(0) {
                    // Busy: the other CPU was faster.
                    Ok(Ok(_) | Err(Error::Busy)) => {}
                    Ok(Err(error)) => {
                        if stop.load(Ordering::Relaxed) || error == Error::BadState {
                            return;
                        }
                        *there.lock() = Err(Fail::new(format_args!(
                            "vcpu_run while spinning: {error:?}"
                        )));
                        return;
                    }
                    Err(why) => {
                        // A VM that was powered off gets no more memory.
                        if vm.life() != vm_state::POWER_OFF {
                            *there.lock() = Err(why);
                        }
                        return;
                    }
                }
                started.store(true, Ordering::Relaxed);
            }
        }
    };
    let outcome = smp::while_on(cpu, &spin, || {
        while !started.load(Ordering::Relaxed) {
            core::hint::spin_loop();
        }
        let outcome = here();
        stop.store(true, Ordering::Relaxed);
        outcome
    });
    core::mem::replace(&mut *there.lock(), Ok(()))?;
    outcome
}

fn run_running(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    while_spinning(&vm, || {
        for _ in 0..2_000_000 {
            run::tick();
            match host_call(Call::VcpuRun, &[vm.id, 0]) {
                Err(Error::Busy) => return Ok(()),
                // It was between two runs: settle the exit for the other CPU.
                Ok(reply) => vm.settle(0, reply.x1).map(drop)?,
                Err(error) => fail!("second vcpu_run: {error:?}"),
            }
        }
        fail!("a running vCPU was never busy")
    })?;
    vm.end()
}

fn reclaim_running(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    let page = vm.give(SPARE, 0)?;
    while_spinning(&vm, || {
        // Without a look at who owns how much: the running guest may get memory meanwhile.
        same!(
            host_call(Call::VmClearRange, &[vm.id, page, 1]),
            Err(Error::BadState),
            "vm_clear_range"
        );
        same!(
            host_call(Call::VmDestroy, &[vm.id]),
            Err(Error::BadState),
            "vm_destroy"
        );
        attack::must_abort(page, "the memory of a running guest")
    })?;
    vm.end()
}

fn power_off_running(env: &Env) -> Outcome {
    /// As often at least, and at most until one was met in the midst of its run, which is a matter of
    /// luck where the machine's CPUs are more than those below.
    const ROUNDS: core::ops::Range<u32> = 20..1000;
    let busy = AtomicU32::new(0);
    for round in 0..ROUNDS.end {
        if round >= ROUNDS.start && busy.load(Ordering::Relaxed) > 0 {
            break;
        }
        let vm = Vm::verified(env)?;
        let page = vm.give(SPARE, 0)?;
        while_spinning(&vm, || {
            if let Err(error) = host_call(Call::VmPowerOff, &[vm.id]) {
                fail!("vm_power_off: {error:?}");
            }
            // Until its next exit it runs on, and nothing can be taken from it.
            match host_call(Call::VmClearRange, &[vm.id, page + 4096, 1]) {
                Ok(_) => {}
                Err(Error::Busy) => {
                    busy.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => fail!("vm_clear_range right after power-off: {error:?}"),
            }
            Ok(())
        })?;
        vm.must_be_off()?;
        vm.destroy()?;
    }
    ensure!(
        busy.load(Ordering::Relaxed) > 0,
        "a VM whose vCPU ran was never busy"
    );
    Ok(())
}

fn both_vcpus(env: &Env) -> Outcome {
    let Some(cpu) = others().next() else {
        return Ok(());
    };
    let vm = Vm::verified(env)?;
    same!(vm.ask(mode::SECOND, 0)?, 0, "CPU_ON");
    let there: Lock<Result<(), Fail>> = Lock::new(Ok(()));
    let other = || {
        for _ in 0..2_000 {
            match vm.step(1) {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    *there.lock() = Err(Fail::new(format_args!("vcpu_run of vCPU 1: {error:?}")))
                }
                Err(why) => *there.lock() = Err(why),
            }
        }
    };
    let here = smp::while_on(cpu, &other, || {
        for _ in 0..2_000 {
            if let Err(error) = vm.step(0)? {
                fail!("vcpu_run of vCPU 0: {error:?}");
            }
        }
        Ok(())
    });
    core::mem::replace(&mut *there.lock(), Ok(()))?;
    here?;
    vm.end()
}

fn one_frame(env: &Env) -> Outcome {
    let Some(cpu) = others().next() else {
        return Ok(());
    };
    let (one, two) = (Vm::verified(env)?, Vm::verified(env)?);
    for n in 0..100 {
        let (frame, ipa) = (pages::take_one(), SPARE + n * 4096);
        let wins = AtomicU32::new(0);
        let try_map = |vm: &Vm| {
            for _ in 0..4 {
                match host_call(Call::VmMap, &[vm.id, ipa, frame, 0, 3]) {
                    Ok(_) => {
                        wins.fetch_add(1, Ordering::Relaxed);
                        vm.took(frame, 1, ipa);
                        return Ok(());
                    }
                    Err(Error::NoMemory) => crate::host::vm::feed(vm.id),
                    Err(Error::Denied | Error::Exists) => return Ok(()),
                    Err(error) => fail!("vm_map: {error:?}"),
                }
            }
            Ok(())
        };
        let there: Lock<Result<(), Fail>> = Lock::new(Ok(()));
        smp::while_on(cpu, &|| *there.lock() = try_map(&one), || try_map(&two))?;
        core::mem::replace(&mut *there.lock(), Ok(()))?;
        same!(wins.load(Ordering::Relaxed), 1, "VMs that got the frame");
    }
    one.end()?;
    two.end()
}

fn build_everywhere(env: &Env) -> Outcome {
    let Some(cpu) = others().last() else {
        return Ok(());
    };
    let rounds = || (0..5).try_for_each(|_| Vm::verified(env)?.end());
    let there: Lock<Result<(), Fail>> = Lock::new(Ok(()));
    let here = smp::while_on(cpu, &|| *there.lock() = rounds(), rounds);
    core::mem::replace(&mut *there.lock(), Ok(()))?;
    here
}

fn verify_twice(env: &Env) -> Outcome {
    let Some(cpu) = others().next() else {
        return Ok(());
    };
    let vm = Vm::protected(env)?;
    ensure!(
        vm.boot_info(&env.owner.signed()).is_ok(),
        "manifest refused"
    );
    vm.load(env)?;
    // Both call until the VM is verified: the one that comes late finds a state that permits no more.
    let hash = || loop {
        match host_call(Call::VmVerifyImages, &[vm.id]) {
            Ok(reply) if !reply.again => return Ok(()),
            Ok(_) | Err(Error::Busy) => {}
            Err(Error::BadState) => return Ok(()),
            Err(error) => fail!("vm_verify_images: {error:?}"),
        }
    };
    let there: Lock<Result<(), Fail>> = Lock::new(Ok(()));
    let here = smp::while_on(cpu, &|| *there.lock() = hash(), hash);
    core::mem::replace(&mut *there.lock(), Ok(()))?;
    here?;
    vm.shut_down()?;
    vm.destroy()
}
