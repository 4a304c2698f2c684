//! The calls Ward answers, and those it must not.

use super::report::{Report, Wrong, holds, same};
use super::{command, hvc1};
use crate::protocol::{self, DATA, NOWHERE, SPARE, TO_GUEST, TO_HOST};
use crate::rt::{call, memory, probe};
use hyp_core::abi::calls::CALLS;
use hyp_core::abi::smccc::{self, KVM_UID, NOT_SUPPORTED, psci, trng};

/// KVM's INVALID_PARAMETER.
const INVALID: u64 = -3_i64 as u64;
/// A page for the share tests.
const SHARED: u64 = SPARE + 0x10_0000;
/// `AFFINITY_INFO`: off.
const OFF: u64 = 1;

pub(super) fn run(report: &mut Report) {
    report.check("smccc-discovery", discovery());
    report.check("unknown-calls-refused", unknown());
    report.check("host-calls-refused", host_calls());
    report.check("smc-not-supported", smc());
    report.check("psci", psci());
    report.check("kvm-uid-and-features", kvm());
    report.check("share-and-unshare", share());
    report.check("share-wrong", share_wrong());
    report.check("mem-relinquish", relinquish());
    report.check("trng", random());
}

fn discovery() -> Result<(), Wrong> {
    same(
        "SMCCC_VERSION",
        hvc1(smccc::SMCCC_VERSION, 0),
        smccc::SMCCC_1_2,
    )?;
    let features = |function: u32| hvc1(smccc::SMCCC_ARCH_FEATURES, u64::from(function));
    same("feature SMCCC_VERSION", features(smccc::SMCCC_VERSION), 0)?;
    same("an unknown feature", features(0x8000_1234), NOT_SUPPORTED)
}

fn unknown() -> Result<(), Wrong> {
    for function in [
        0x8400_00ff,
        0xc600_1234,
        0x8200_0000,
        0,
        0xffff_ffff,
        0x8600_0006,
    ] {
        same("x0", hvc1(function, 0), NOT_SUPPORTED)?;
    }
    Ok(())
}

fn host_calls() -> Result<(), Wrong> {
    CALLS
        .iter()
        .try_for_each(|info| same("x0", hvc1(info.call.function_id(), 1), NOT_SUPPORTED))
}

fn smc() -> Result<(), Wrong> {
    for function in [psci::VERSION, psci::SYSTEM_OFF, 0xc600_0117] {
        holds(
            "answered NOT_SUPPORTED",
            probe::smc(u64::from(function)) == Ok(NOT_SUPPORTED),
        )?;
    }
    Ok(())
}

fn psci() -> Result<(), Wrong> {
    let call = |function, a, b| call::psci(function, [a, b, 0]);
    same("PSCI_VERSION", call(psci::VERSION, 0, 0), psci::V1_1)?;
    same("MIGRATE_INFO_TYPE", call(psci::MIGRATE_INFO_TYPE, 0, 0), 2)?;
    for function in [
        psci::CPU_ON,
        psci::CPU_ON | psci::SMC64,
        psci::CPU_OFF,
        psci::SYSTEM_OFF,
        psci::SYSTEM_RESET,
    ] {
        same(
            "a function there is",
            call(psci::FEATURES, u64::from(function), 0),
            0,
        )?;
    }
    same(
        "a function there is not",
        call(psci::FEATURES, 0x8400_0099, 0),
        NOT_SUPPORTED,
    )?;
    let affinity = |target, level| call(psci::AFFINITY_INFO | psci::SMC64, target, level);
    same("vCPU 0 is on", affinity(0, 0), 0)?;
    same("vCPU 1 is off", affinity(1, 0), OFF)?;
    same("no vCPU 9", affinity(9, 0), psci::INVALID_PARAMETERS)?;
    let on = |target, entry| call(psci::CPU_ON | psci::SMC64, target, entry);
    same(
        "CPU_ON of itself",
        on(0, protocol::PROGRAM),
        psci::ALREADY_ON,
    )?;
    same(
        "CPU_ON of no vCPU",
        on(7, protocol::PROGRAM),
        psci::INVALID_PARAMETERS,
    )?;
    same(
        "CPU_ON of a bad affinity",
        on(1 << 16, protocol::PROGRAM),
        psci::INVALID_PARAMETERS,
    )?;
    same(
        "CPU_ON at an odd address",
        on(1, protocol::PROGRAM + 2),
        psci::INVALID_ADDRESS,
    )?;
    same(
        "CPU_ON outside memory",
        on(1, NOWHERE),
        psci::INVALID_ADDRESS,
    )?;
    same("vCPU 1 is still off", affinity(1, 0), OFF)
}

fn kvm() -> Result<(), Wrong> {
    let uid = call::hvc([u64::from(smccc::VENDOR_UID), 0, 0, 0, 0, 0, 0, 0]);
    for (found, expected) in uid.iter().zip(KVM_UID) {
        same("UID", *found, u64::from(expected))?;
    }
    let features = hvc1(smccc::KVM_FEATURES, 0);
    for bit in [0, 2, 3, 4, 7, 9] {
        holds("feature bit", features >> bit & 1 == 1)?;
    }
    same("MEMINFO", hvc1(smccc::KVM_MEMINFO, 0), 4096)
}

fn share() -> Result<(), Wrong> {
    for round in 0..3 {
        memory::poke(SHARED, TO_HOST);
        memory::poke(SHARED + 8, round);
        same(
            "not shared: host is refused",
            command(protocol::command::REFUSED, SHARED),
            1,
        )?;
        same("MEM_SHARE", hvc1(smccc::KVM_MEM_SHARE, SHARED), 0)?;
        same(
            "shared: host reads and writes",
            command(protocol::command::ECHO, SHARED),
            1,
        )?;
        same(
            "the guest sees what the host wrote",
            memory::peek(SHARED + 8),
            TO_GUEST,
        )?;
        same("MEM_UNSHARE", hvc1(smccc::KVM_MEM_UNSHARE, SHARED), 0)?;
        same(
            "unshared: host is refused",
            command(protocol::command::REFUSED, SHARED),
            1,
        )?;
        same("contents stay", memory::peek(SHARED), TO_HOST)?;
    }
    // A page that is not there yet is faulted in by the call itself.
    let absent = SPARE + 0x80_0000;
    same(
        "MEM_SHARE of an absent page",
        hvc1(smccc::KVM_MEM_SHARE, absent),
        0,
    )?;
    same("MEM_UNSHARE of it", hvc1(smccc::KVM_MEM_UNSHARE, absent), 0)
}

fn relinquish() -> Result<(), Wrong> {
    let (page, shared) = (SPARE + 0x81_0000, SPARE + 0x81_1000);
    let give = |address| hvc1(smccc::KVM_MEM_RELINQUISH, address);
    memory::poke(page, TO_HOST);
    same("MEM_RELINQUISH", give(page), 0)?;
    same("MEM_RELINQUISH of what is gone", give(page), 0)?;
    same("a new page", memory::peek(page), 0)?;
    same("MEM_SHARE", hvc1(smccc::KVM_MEM_SHARE, shared), 0)?;
    same("MEM_RELINQUISH of a shared page", give(shared), INVALID)?;
    same("MEM_UNSHARE", hvc1(smccc::KVM_MEM_UNSHARE, shared), 0)?;
    for address in [page + 8, NOWHERE, protocol::MMIO, u64::MAX << 12, 1 << 52] {
        same("MEM_RELINQUISH", give(address), INVALID)?;
    }
    Ok(())
}

fn share_wrong() -> Result<(), Wrong> {
    let share = |address| hvc1(smccc::KVM_MEM_SHARE, address);
    let unshare = |address| hvc1(smccc::KVM_MEM_UNSHARE, address);
    for address in [SHARED + 8, NOWHERE, protocol::MMIO, u64::MAX << 12, 1 << 52] {
        same("share", share(address), INVALID)?;
        same("unshare", unshare(address), INVALID)?;
    }
    same("unshare of an unshared page", unshare(DATA), INVALID)?;
    same("share", share(SHARED), 0)?;
    same("second share", share(SHARED), INVALID)?;
    same("unshare", unshare(SHARED), 0)?;
    same("second unshare", unshare(SHARED), INVALID)
}

fn random() -> Result<(), Wrong> {
    let version = hvc1(trng::VERSION, 0);
    if version == NOT_SUPPORTED {
        return same("TRNG_RND", hvc1(trng::RND64, 64), NOT_SUPPORTED);
    }
    same("TRNG_VERSION", version, trng::V1_0)?;
    let draw = |bits| call::hvc([u64::from(trng::RND64), bits, 0, 0, 0, 0, 0, 0]);
    let (one, two) = (draw(192), draw(192));
    same("first draw", one[0], 0)?;
    same("second draw", two[0], 0)?;
    holds("two draws differ", one[1..4] != two[1..4])?;
    same("no bits", draw(0)[0], trng::INVALID_PARAMETERS)?;
    same("too many bits", draw(193)[0], trng::INVALID_PARAMETERS)
}
