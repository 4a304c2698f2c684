//! Create, run, destroy, over and over: after each round every frame is with the host again.

use crate::host::calls::owners;
use crate::host::env::Env;
use crate::host::tally::{Test, test};
use crate::host::text::Outcome;
use crate::host::vm::Vm;
use crate::protocol::{SPARE, mode};
use core::sync::atomic::{AtomicU64, Ordering};

/// The tests.
pub(super) const TESTS: &[Test] = &[test("create-run-destroy", rounds)];

static ROUNDS: AtomicU64 = AtomicU64::new(25);

/// Chooses how many rounds.
pub(super) fn set_rounds(rounds: u64) {
    ROUNDS.store(rounds, Ordering::Relaxed);
}

fn rounds(env: &Env) -> Outcome {
    // The first round may leave pages in the pool of the host's own tables.
    round(env, 0)?;
    let before = owners();
    let rounds = ROUNDS.load(Ordering::Relaxed);
    for n in 1..=rounds {
        round(env, n)?;
        ensure!(
            owners() == before,
            "round {n}: frames of host, Ward, VMs {:?}, before {before:?}",
            owners()
        );
        if n % 100 == 0 {
            println!("soak: {n} of {rounds} rounds");
        }
    }
    Ok(())
}

fn round(env: &Env, n: u64) -> Outcome {
    let vm = Vm::verified(env)?;
    same!(
        vm.ask(mode::HIDE, SPARE + n % 64 * 4096)?,
        0,
        "secrets written"
    );
    same!(
        vm.ask(mode::VERIFY, SPARE + n % 64 * 4096)?,
        0,
        "words of the guest that changed"
    );
    if n.is_multiple_of(3) {
        same!(vm.ask(mode::SHARE, SPARE + n % 64 * 4096)?, 0, "MEM_SHARE");
    }
    if n.is_multiple_of(2) {
        vm.shut_down()?;
        vm.destroy()
    } else {
        vm.end()
    }
}
