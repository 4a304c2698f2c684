//! DMA while a page changes hands: one CPU has the devices write without a pause, another gives
//! the page away and takes it back. The guest judges.

use super::{hiding, with_devices};
use crate::host::dma::{ATTACK, Dma};
use crate::host::env::Env;
use crate::host::tally::{Test, smp_test};
use crate::host::text::{Fail, Outcome};
use crate::host::vm::Vm;
use crate::host::{others, run};
use crate::protocol::{SPARE, mode};
use crate::rt::lock::Lock;
use crate::rt::{memory, pages, smp, time};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// The tests.
pub(super) const TESTS: &[Test] = &[
    smp_test("race-of-dma-with-donation", donation),
    smp_test("race-of-dma-with-unshare", unshare),
];

/// Transfers of each device in a race; each takes a tenth of a second.
const SHOTS: u32 = 100;
/// What is written lies here in the page, behind the first word, which stays what it is.
const OFFSET: u64 = 64;
/// Bytes of it.
const BYTES: u64 = 64;

/// Has the devices write to the page in `target`, over and over, from another CPU, while `round`
/// is done again and again here.
fn while_writing(
    devices: &[Dma; 2],
    target: &AtomicU64,
    mut round: impl FnMut() -> Outcome,
) -> Outcome {
    let Some(cpu) = others().next() else {
        return Ok(());
    };
    let words = pages::take_one();
    (0..512).for_each(|n| memory::poke(words + 8 * n, ATTACK));
    for dma in devices {
        dma.edu().start_read(words, 4096);
        ensure!(dma.edu().wait(), "a transfer did not end");
    }
    let (stop, shots) = (AtomicBool::new(false), AtomicU32::new(0));
    let there: Lock<Result<(), Fail>> = Lock::new(Ok(()));
    let write = || {
        while !stop.load(Ordering::Relaxed) {
            for dma in devices {
                let page = target.load(Ordering::Relaxed);
                dma.edu().start_write(page + OFFSET, BYTES);
            }
            if !devices.iter().all(|dma| dma.edu().wait()) {
                *there.lock() = Err(Fail::new(format_args!("a transfer did not end")));
                return;
            }
            shots.fetch_add(1, Ordering::Relaxed);
        }
    };
    let limit = time::now() + 60 * time::frequency();
    let here = smp::while_on(cpu, &write, || {
        let mut outcome = Ok(());
        while outcome.is_ok() && shots.load(Ordering::Relaxed) < SHOTS && time::now() < limit {
            outcome = round();
        }
        stop.store(true, Ordering::Relaxed);
        outcome
    });
    core::mem::replace(&mut *there.lock(), Ok(()))?;
    here?;
    ensure!(
        shots.load(Ordering::Relaxed) > 0,
        "no transfer ended in time"
    );
    pages::give(words, 1);
    Ok(())
}

fn donation(env: &Env) -> Outcome {
    with_devices(env, |devices| {
        let vm = Vm::verified(env)?;
        // The table of the guest's page is there from now on.
        vm.give(SPARE + 4096, 0)?;
        let target = AtomicU64::new(pages::take_one());
        pages::give(target.load(Ordering::Relaxed), 1);
        let mut arrived = 0;
        run::SEARCH.store(false, Ordering::Relaxed);
        let outcome = while_writing(devices, &target, || {
            let page = pages::take_one();
            target.store(page, Ordering::Relaxed);
            (0..512).for_each(|n| memory::poke(page + 8 * n, 0));
            // The host has it for a while, not the same each time, and DMA may write.
            let until = time::now() + time::ticks_of_us(page_time());
            while time::now() < until {
                core::hint::spin_loop();
            }
            arrived += u32::from(memory::peek(page + OFFSET) == ATTACK);
            vm.took_by_map(SPARE, page)?;
            same!(vm.ask(mode::READ, SPARE + OFFSET)?, 0, "a page given");
            same!(vm.ask(mode::HIDE, SPARE)?, 0, "secrets written");
            super::kept(&vm)?;
            same!(vm.ask(mode::RELINQUISH, SPARE)?, 0, "MEM_RELINQUISH");
            Ok(())
        });
        run::SEARCH.store(true, Ordering::Relaxed);
        outcome?;
        ensure!(arrived > 0, "no DMA arrived while the page was the host's");
        vm.end()
    })
}

/// Microseconds up to four thousand, another each time.
fn page_time() -> u64 {
    time::now().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52
}

fn unshare(env: &Env) -> Outcome {
    with_devices(env, |devices| {
        let (vm, frame) = hiding(env)?;
        let target = AtomicU64::new(frame);
        run::SEARCH.store(false, Ordering::Relaxed);
        let outcome = while_writing(devices, &target, || {
            same!(vm.ask(mode::SHARE, SPARE)?, 0, "MEM_SHARE");
            let until = time::now() + time::ticks_of_us(page_time());
            while time::now() < until {
                core::hint::spin_loop();
            }
            same!(vm.ask(mode::UNSHARE, SPARE)?, 0, "MEM_UNSHARE");
            same!(vm.ask(mode::HIDE, SPARE)?, 0, "secrets written");
            super::kept(&vm)
        });
        run::SEARCH.store(true, Ordering::Relaxed);
        outcome?;
        vm.end()
    })
}
