//! What a host can see right behind a run: every register and the run page. Nothing of a protected
//! guest may be in it, and nothing of the host's own may have changed.

use super::text::Outcome;
use crate::protocol;
use crate::rt::captured::{self, Instruction};
use crate::rt::memory;
use crate::rt::registers::{self, Registers};
use hyp_core::abi::Call;
use hyp_core::abi::run::RunOut;
use hyp_core::vcpu::exit::DISCLOSURE;

/// What the host has in its registers when it makes a call.
const HOST: u64 = 0x4057_0000 << 32;

/// `vcpu_run` with all registers given and captured: the result's `x0` and `x1`.
pub(crate) fn run_searched(vm: u64, vcpu: u64, run_page: u64) -> Outcome<(i64, u64)> {
    let mut given = Registers::ZERO;
    (0..).zip(&mut given.x).for_each(|(n, x)| *x = HOST | n);
    (0..)
        .zip(&mut given.v)
        .for_each(|(n, v)| *v = u128::from(HOST | 0x200 | n) << 64 | u128::from(HOST | 0x100 | n));
    given.x[0] = u64::from(Call::VcpuRun.function_id());
    (given.x[1], given.x[2]) = (vm, vcpu);
    let system = registers::system();
    let keys = registers::has_pauth().then(registers::pauth_keys);
    let mut found = given;
    captured::run(Instruction::Hvc, &mut found);
    let after = registers::system();
    for (n, word) in found.words().enumerate() {
        ensure!(
            !protocol::is_secret(word),
            "a secret of the guest in register word {n}: {word:#x}"
        );
    }
    for n in 4..31 {
        ensure!(
            found.x[n] == given.x[n],
            "x{n} changed over vcpu_run: {:#x}",
            found.x[n]
        );
    }
    ensure!(
        found.x[2..4] == [0, 0],
        "x2 and x3 after vcpu_run: {:x?}",
        &found.x[2..4]
    );
    ensure!(found.v == given.v, "FP registers changed over vcpu_run");
    for (n, name) in registers::SYSTEM_NAMES.iter().enumerate() {
        ensure!(
            !protocol::is_secret(after[n]),
            "a secret of the guest in {name}: {:#x}",
            after[n]
        );
        // A guest's armed timer stays armed, in the host's time, so that the host can wake it
        // (looked at below).
        ensure!(
            after[n] == system[n] || name.starts_with("CNTV_"),
            "{name} changed over vcpu_run: {:#x} to {:#x}",
            system[n],
            after[n]
        );
    }
    timer_leaves_its_deadline_at_most()?;
    ensure!(
        registers::has_pauth().then(registers::pauth_keys) == keys,
        "pointer-authentication keys changed over vcpu_run"
    );
    for n in 0..512 {
        let word = memory::peek(run_page + 8 * n);
        ensure!(
            !protocol::is_secret(word),
            "a secret of the guest in the run page, byte {:#x}: {word:#x}",
            8 * n
        );
    }
    Ok((found.x[0] as i64, found.x[1]))
}

/// The run page of a protected vCPU holds what the exit's row names, and no bit more.
pub(super) fn shows_its_row_only(out: &RunOut) -> Outcome {
    let Some(row) = DISCLOSURE.get(out.reason as usize) else {
        fail!("an exit without a row: {}", out.reason)
    };
    let value = if out.write == 1 { row.value } else { 0 };
    for (name, word, shown) in [
        ("ipa", out.ipa, row.ipa),
        ("size", out.size, row.size),
        ("write", out.write, row.write),
        ("value", out.value, value),
        ("arg1", out.arg1, row.arg1),
        ("arg2", out.arg2, 0),
        ("arg3", out.arg3, 0),
        ("esr", out.esr, row.esr),
        ("hcr", out.hcr, 0),
    ] {
        ensure!(
            word & !shown == 0,
            "{name} of an exit for {} shows {word:#x}",
            row.name
        );
    }
    Ok(())
}

/// The virtual timer after a run: armed and not masked, or off without a trace of a deadline.
fn timer_leaves_its_deadline_at_most() -> Outcome {
    match read_sysreg!("cntv_ctl_el0") & 3 {
        1 => Ok(()),
        0 => {
            same!(
                read_sysreg!("cntv_cval_el0"),
                0,
                "deadline of a timer that is off"
            );
            Ok(())
        }
        control => fail!("CNTV_CTL_EL0 is {control} after vcpu_run"),
    }
}
