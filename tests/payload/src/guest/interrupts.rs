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
    report.check("trapped-interface-is-the-same", trapped());
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

/// `ICC_CTLR_EL1`, `ICC_PMR_EL1` and `ICC_RPR_EL1`, by hardware and by Ward (`ICH_HCR_EL2.TC`).
fn trapped() -> Result<(), Wrong> {
    const TC: u64 = 1 << 10;
    let by = |traps| {
        command(protocol::command::TRAPS, traps);
        let seen = interface();
        command(protocol::command::TRAPS, 0);
        seen
    };
    let (hardware, ward) = (by(0), by(TC));
    for (n, (hardware, ward)) in hardware.into_iter().zip(ward).enumerate() {
        if hardware != ward {
            return same(NAMES[n], ward, hardware);
        }
    }
    // What was seen is not all the same, or all zero.
    same("PMR, written", hardware[1], 0xa0)?;
    same("RPR, idle", hardware[2], 0xff)?;
    holds("RPR, active", hardware[3] < 0xff)?;
    holds("EOImode, written", hardware[4] & 2 != 0)
}

const NAMES: [&str; 6] = [
    "CTLR",
    "PMR, written",
    "RPR, idle",
    "RPR, active",
    "CTLR, EOImode written",
    "PMR, read under EOImode",
];

fn interface() -> [u64; 6] {
    let (control, mask) = (read_sysreg!("S3_0_C12_C12_4"), read_sysreg!("S3_0_C4_C6_0"));
    write_sysreg!("S3_0_C4_C6_0", 0xa0);
    let written = read_sysreg!("S3_0_C4_C6_0");
    let idle = read_sysreg!("S3_0_C12_C11_3");
    write_sysreg!("S3_0_C4_C6_0", mask);
    // Interrupts are masked: it is taken by hand.
    command(protocol::command::INTERRUPT, DEVICE);
    let id = read_sysreg!("S3_0_C12_C12_0");
    let active = read_sysreg!("S3_0_C12_C11_3");
    write_sysreg!("S3_0_C12_C12_1", id);
    write_sysreg!("S3_0_C12_C12_4", control | 2);
    let mode = read_sysreg!("S3_0_C12_C12_4");
    let under = read_sysreg!("S3_0_C4_C6_0");
    write_sysreg!("S3_0_C12_C12_4", control);
    [control, written, idle, active, mode, under]
}
