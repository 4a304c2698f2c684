//! Interrupts that the host injects by list registers.

use super::command;
use super::report::{Report, Wrong, holds, same};
use crate::protocol;
use crate::rt::{cpu, gic, time};

/// A shared peripheral interrupt would need a distributor; a private one does as well.
const DEVICE: u64 = 20;
const SGI: u64 = 5;

pub(super) fn run(report: &mut Report) {
    report.check("interrupt-injected", injected());
    report.check("sgi-to-itself", sgi());
    report.check("virtual-timer", timer());
}

fn injected() -> Result<(), Wrong> {
    for round in 1..=3 {
        command(protocol::command::INTERRUPT, DEVICE);
        cpu::take_interrupts();
        same("taken", u64::from(gic::count(DEVICE)), round)?;
    }
    Ok(())
}

fn sgi() -> Result<(), Wrong> {
    gic::send_sgi(0, SGI);
    cpu::take_interrupts();
    same("taken", u64::from(gic::count(SGI)), 1)
}

fn timer() -> Result<(), Wrong> {
    let start = time::now();
    let ticks = time::ticks_of_us(500);
    gic::arm_virtual_timer(ticks);
    for _ in 0..100_000 {
        cpu::wfi();
        cpu::take_interrupts();
        if gic::count(gic::VIRTUAL_TIMER) > 0 {
            break;
        }
    }
    same("taken", u64::from(gic::count(gic::VIRTUAL_TIMER)), 1)?;
    holds("not too early", time::now() - start >= ticks)
}
