//! The machine as the host finds it: memory, holes, devices, other CPUs.

use crate::host::calls::{ok, refused};
use crate::host::env::Env;
use crate::host::tally::{Test, smp_test, test};
use crate::host::text::Outcome;
use crate::host::{attack, others};
use crate::rt::{call, cpu, gic, memory, pages, probe, registers, smp, time};
use hyp_core::abi::smccc::{self, psci};
use hyp_core::abi::{Call, Error, WARD_UID};

/// The tests.
pub(super) const TESTS: &[Test] = &[
    test("own-memory-works", own_memory),
    test("read-and-write-of-wards-memory-abort", wards_memory),
    smp_test(
        "read-and-write-of-wards-memory-abort-on-every-cpu",
        wards_memory_everywhere,
    ),
    test("holes-abort-and-devices-work", holes),
    test("virtual-timer-is-the-hosts", virtual_timer),
    test("no-el2-registers", no_el2),
    test("forbidden-smc-refused", forbidden_smc),
    test("ward-is-found-by-smc", found_by_smc),
];

fn own_memory(_: &Env) -> Outcome {
    let page = pages::take_one();
    memory::poke(page, 0x1234);
    same!(memory::peek(page), 0x1234, "a page of the host");
    pages::give(page, 1);
    let system = registers::system();
    ensure!(system[0] & 5 == 5, "MMU and caches are off");
    Ok(())
}

fn wards_memory(env: &Env) -> Outcome {
    for offset in [0, 8, 0x1000 - 8] {
        attack::must_abort(env.ward + offset, "Ward's memory")?;
    }
    Ok(())
}

fn wards_memory_everywhere(env: &Env) -> Outcome {
    others().try_for_each(|cpu| attack::must_abort_on(cpu, env.ward, "Ward's memory"))
}

fn holes(env: &Env) -> Outcome {
    let hole = env.board.hole();
    for address in [hole, hole + 4096, hole + (1 << 21)] {
        let read = probe::read(address);
        ensure!(
            read.is_err_and(|fault| fault.class() == 0x25),
            "a hole at {address:#x} reads {read:x?}"
        );
        let write = probe::write(address, 1);
        ensure!(
            write.is_err_and(|fault| fault.class() == 0x25),
            "a hole at {address:#x} takes a write"
        );
    }
    // GICD_PIDR2: the architecture's version, GICv3 (IHI 0069 12.1.13).
    same!(
        probe::read_sized(env.board.gicd + 0xffe8, 4)
            .map(|id| id >> 4 & 0xf)
            .ok(),
        Some(3),
        "GICD_PIDR2"
    );
    Ok(())
}

/// A host that runs no guest has the virtual timer to itself, as a stock Linux wants it.
fn virtual_timer(env: &Env) -> Outcome {
    let far = time::now() + 1000 * time::frequency();
    write_sysreg!("cntv_cval_el0", far);
    write_sysreg!("cntv_ctl_el0", 1);
    for _ in 0..10 {
        ok(Call::Version, &[])?;
        refused(Call::VmPowerOff, &[1], Error::NotFound)?;
        attack::must_abort(env.ward, "Ward's memory")?;
        let _ = probe::smc(0x8400_0000);
    }
    let (control, deadline) = (read_sysreg!("cntv_ctl_el0"), read_sysreg!("cntv_cval_el0"));
    same!((control & 3, deadline), (1, far), "CNTV_CTL and CNTV_CVAL");
    let (before, physical, after) = (time::now(), time::physical(), time::now());
    ensure!(
        before <= physical && physical <= after,
        "the virtual count {before:#x} is not the physical one {physical:#x}"
    );
    // And it fires.
    let fired = gic::count(gic::VIRTUAL_TIMER);
    gic::arm_virtual_timer(time::ticks_of_us(100));
    let limit = time::now() + 10 * time::frequency();
    while gic::count(gic::VIRTUAL_TIMER) == fired && time::now() < limit {
        cpu::take_interrupts();
    }
    write_sysreg!("cntv_ctl_el0", 0);
    write_sysreg!("cntv_cval_el0", 0);
    same!(
        gic::count(gic::VIRTUAL_TIMER),
        fired + 1,
        "interrupts of the virtual timer"
    );
    Ok(())
}

fn no_el2(_: &Env) -> Outcome {
    let result = probe::sysreg(probe::Trapped::HcrEl2);
    ensure!(
        result.is_err_and(|fault| fault.is_undefined()),
        "HCR_EL2 is readable at EL1: {result:x?}"
    );
    ensure!(smp::current() == 0, "the boot CPU is CPU 0");
    Ok(())
}

/// As Linux looks: PSCI's feature, the convention's version, then the vendor's UID.
fn found_by_smc(_: &Env) -> Outcome {
    let features = call::psci(psci::FEATURES, [smccc::SMCCC_VERSION.into(), 0, 0]);
    same!(features, 0, "PSCI_FEATURES of SMCCC_VERSION");
    let asked = |function: u32| call::smc([function.into(), 1, 2, 3, 4, 5, 6, 7]);
    let version = asked(smccc::SMCCC_VERSION);
    same!(version[0], smccc::SMCCC_1_2, "SMCCC_VERSION");
    let [a, b, c, d, kept @ ..] = asked(smccc::VENDOR_UID);
    same!([a, b, c, d], WARD_UID.map(u64::from), "the UID");
    same!(kept, [4, 5, 6, 7], "x4 to x7 after an SMC");
    Ok(())
}

fn forbidden_smc(_: &Env) -> Outcome {
    // A secure-world fast call of an unknown owner, and a vendor call.
    for function in [0x8300_0001, 0xb200_0000, 0xc600_0117] {
        same!(probe::smc(function).unwrap_or(0), u64::MAX, "SMC result");
    }
    Ok(())
}
