//! The test guest's own checks, with the host searching every exit for its secrets.

use crate::host::env::Env;
use crate::host::others;
use crate::host::tally::{Test, smp_test, test};
use crate::host::text::{Fail, Outcome};
use crate::host::vm::Vm;
use crate::protocol::{SPARE, mode};
use crate::rt::lock::Lock;
use crate::rt::{smp, time};
use hyp_core::abi::run::exit;

/// The tests.
pub(super) const TESTS: &[Test] = &[
    test("checks-of-the-guest", |env| checks(env, false)),
    test("checks-of-the-guest-while-another-one-runs", |env| {
        checks(env, true)
    }),
    smp_test("checks-of-the-guest-on-another-cpu", elsewhere),
    smp_test("two-guests-on-two-cpus", two_guests),
    test("a-second-guest-after-the-first", |env| checks(env, false)),
    test("timers-stay-apart", timers),
];

/// Runs a guest through all its checks.
pub(super) fn checks(env: &Env, with_other: bool) -> Outcome {
    let other = if with_other {
        Some(Vm::verified(env)?)
    } else {
        None
    };
    let vm = Vm::verified(env)?;
    vm.tell(mode::CHECK, 0);
    let outcome = vm.run_until(|_| match &other {
        Some(other) => {
            // Its registers must not reach the first one, nor the other way round.
            let _ = other.step(0);
            false
        }
        None => false,
    });
    let report = vm.state.lock().device.report;
    if let Some(other) = other {
        other.end()?;
    }
    let reason = outcome?;
    vm.end()?;
    same!(reason, exit::SYSTEM_OFF, "the guest's last exit");
    match report {
        Some(0) => Ok(()),
        Some(wrong) => fail!("{wrong} checks of the guest were wrong"),
        None => fail!("the guest ended without a report"),
    }
}

fn elsewhere(env: &Env) -> Outcome {
    let Some(cpu) = others().last() else {
        return Ok(());
    };
    let outcome: Lock<Result<(), Fail>> = Lock::new(Ok(()));
    smp::while_on(cpu, &|| *outcome.lock() = checks(env, false), || ());
    core::mem::replace(&mut *outcome.lock(), Ok(()))
}

fn two_guests(env: &Env) -> Outcome {
    let Some(cpu) = others().next() else {
        return Ok(());
    };
    let outcome: Lock<Result<(), Fail>> = Lock::new(Ok(()));
    let here = smp::while_on(cpu, &|| *outcome.lock() = checks(env, false), || {
        checks(env, false)
    });
    core::mem::replace(&mut *outcome.lock(), Ok(()))?;
    here
}

/// The host's timers are armed while a guest runs. The guest sees nothing of it (it checks that
/// its own timer starts off and fires when it should), the physical timer stays the host's, and
/// of the virtual one Ward leaves what the guest armed: here nothing.
fn timers(env: &Env) -> Outcome {
    let far = time::now() + 1000 * time::frequency();
    let vm = Vm::verified(env)?;
    write_sysreg!("cntp_cval_el0", far);
    write_sysreg!("cntp_ctl_el0", 1);
    write_sysreg!("cntv_cval_el0", far);
    write_sysreg!("cntv_ctl_el0", 1);
    let asked = vm.ask(mode::HIDE, SPARE);
    let physical = (
        read_sysreg!("cntp_ctl_el0") & 3,
        read_sysreg!("cntp_cval_el0"),
    );
    let own = (
        read_sysreg!("cntv_ctl_el0") & 3,
        read_sysreg!("cntv_cval_el0"),
    );
    write_sysreg!("cntp_ctl_el0", 0);
    same!(asked?, 0, "secrets written");
    same!(physical, (1, far), "CNTP_CTL and CNTP_CVAL after runs");
    same!(own, (0, 0), "CNTV_CTL and CNTV_CVAL after runs");
    let (before, count, after) = (time::now(), time::physical(), time::now());
    ensure!(
        before <= count && count <= after,
        "the host's virtual count is not the physical one after a run"
    );
    vm.end()?;
    write_sysreg!("cntv_cval_el0", far);
    write_sysreg!("cntv_ctl_el0", 1);
    let outcome = checks(env, false);
    write_sysreg!("cntv_ctl_el0", 0);
    outcome
}
