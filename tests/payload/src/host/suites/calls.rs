//! Every call at least once as it is meant.

use crate::host::calls::{host_call, info, machine, ok, refused, statistic};
use crate::host::env::Env;
use crate::host::tally::{Test, test};
use crate::host::text::Outcome;
use crate::host::vm::Vm;
use crate::protocol::{SPARE, mode};
use crate::rt::pages::{self, PAGE};
use crate::rt::{call, memory, probe};
use hyp_core::abi::calls::{info as key, stat, vm_state};
use hyp_core::abi::run::exit;
use hyp_core::abi::smccc::VENDOR_UID;
use hyp_core::abi::{Call, Error, WARD_UID};

/// The tests.
pub(super) const TESTS: &[Test] = &[
    test("uid-and-unknown-functions", discovery),
    test("info", facts),
    test("x4-and-up-are-preserved", preserved),
    test("statistics", statistics),
    test("log_read", log),
    test("host_donate", host_donate),
    test("calls-of-later-versions-not-supported", later),
    test("vm-life", life),
    test("images-by-2-mib-blocks-too", blocks),
    test("vm_map-pages-and-blocks", map),
    test("vm_clear_range", clear_range),
    test("vm_reclaim_pool", reclaim_pool),
    test("vm_set_cntvoff", cntvoff),
    test("restart-asked-by-the-guest", restart),
    test("numbers-are-recycled", recycled),
];

fn discovery(_: &Env) -> Outcome {
    let uid = call::hvc([u64::from(VENDOR_UID), 0, 0, 0, 0, 0, 0, 0]);
    same!(
        [uid[0], uid[1], uid[2], uid[3]],
        WARD_UID.map(u64::from),
        "UID"
    );
    for function in [0xc600_01ff, 0x8600_0100, 0x1_c600_0100, u64::MAX] {
        same!(
            call::hvc([function, 0, 0, 0, 0, 0, 0, 0])[0],
            u64::MAX,
            "an unknown function"
        );
    }
    Ok(())
}

/// A caller by SMCCC 1.1 counts on them: a result, a refusal and an unknown function leave them.
fn preserved(_: &Env) -> Outcome {
    let run = u64::from(Call::VcpuRun.function_id());
    let version = u64::from(Call::Version.function_id());
    for function in [version, run, 0xc600_01ff, u64::from(VENDOR_UID)] {
        let marks = [0x4444, 0x5555, 0x6666, 0x7777];
        let [a, b, c, d] = marks;
        let [_, _, _, _, after @ ..] = call::hvc([function, 0, 0, 0, a, b, c, d]);
        same!(after, marks, "x4 to x7 after a call of {function:#x}");
    }
    Ok(())
}

fn facts(env: &Env) -> Outcome {
    ensure!(
        [1, 2, 4, 8, 16].contains(&env.root_frames),
        "root of {} frames",
        env.root_frames
    );
    ensure!(
        (32..=52).contains(&info(key::IPA_BITS)),
        "IPA bits {}",
        info(key::IPA_BITS)
    );
    ensure!(
        info(key::MAX_VMS) >= 16,
        "at most {} VMs",
        info(key::MAX_VMS)
    );
    ensure!(
        (1..=16).contains(&info(key::LIST_REGISTERS)),
        "{} list registers",
        info(key::LIST_REGISTERS)
    );
    refused(Call::Info, &[99], Error::InvalidArgument)
}

fn statistics(_: &Env) -> Outcome {
    let sum = machine(stat::HOST_FRAMES) + machine(stat::HYP_FRAMES) + machine(stat::VM_FRAMES);
    same!(
        sum,
        machine(stat::FRAMES),
        "frames of host, Ward and VMs together"
    );
    let (calls, wrong) = (machine(stat::CALLS), machine(stat::REFUSED));
    ensure!(machine(stat::CALLS) > calls, "calls are not counted");
    refused(Call::StatRead, &[0, 9999], Error::InvalidArgument)?;
    ensure!(
        machine(stat::REFUSED) > wrong,
        "refused calls are not counted"
    );
    refused(Call::StatRead, &[1, stat::VM_STATE], Error::NotFound)
}

fn log(_: &Env) -> Outcome {
    let (mut cursor, mut seen) = (0, 0);
    for _ in 0..10_000 {
        let Ok(reply) = host_call(Call::LogRead, &[cursor]) else {
            fail!("log_read refused")
        };
        let len = reply.more[0];
        ensure!(len <= 40, "log_read returned {len} bytes");
        if len == 0 {
            break;
        }
        ensure!(reply.x1 > cursor, "the cursor does not move");
        (cursor, seen) = (reply.x1, seen + len);
    }
    ensure!(seen > 0, "the log is empty");
    Ok(())
}

fn host_donate(_: &Env) -> Outcome {
    let before = info(key::HOST_POOL);
    ok(Call::HostDonate, &[pages::take(4, 1), 4])?;
    pages::write_off(4);
    ensure!(info(key::HOST_POOL) > before, "the pool did not grow");
    Ok(())
}

fn later(_: &Env) -> Outcome {
    let calls = [
        Call::SmmuAlloc,
        Call::SmmuFree,
        Call::SmmuMap,
        Call::SmmuClear,
        Call::SmmuIovaToPhys,
        Call::EncryptBuf,
        Call::DecryptBuf,
        Call::SaveCryptVcpu,
        Call::LoadCryptVcpu,
    ];
    calls
        .iter()
        .try_for_each(|call| refused(*call, &[1, 2, 3], Error::NotSupported))
}

fn life(env: &Env) -> Outcome {
    let vm = Vm::protected(env)?;
    same!(vm.life(), vm_state::READY, "state after vm_register");
    ensure!(
        vm.boot_info(&env.owner.signed()).is_ok(),
        "manifest refused"
    );
    vm.load(env)?;
    let frames = statistic(vm.id, stat::VM_MAPPED);
    let pages = (0..2)
        .map(|n| (env.owner.image(n).len() as u64).div_ceil(PAGE))
        .sum::<u64>();
    same!(frames, pages, "frames of the VM");
    ensure!(vm.verify().is_ok(), "verification failed");
    same!(
        vm.life(),
        vm_state::VERIFIED,
        "state after vm_verify_images"
    );
    ensure!(vm.step(0)?.is_ok(), "vcpu_run refused");
    ensure!(
        statistic(vm.id, stat::VM_EXITS) > 0,
        "exits are not counted"
    );
    same!(
        vm.next_exit(1)?,
        Ok(exit::CPU_OFF),
        "run of a vCPU that is off"
    );
    vm.shut_down()?;
    same!(vm.life(), vm_state::POWER_OFF, "state after SYSTEM_OFF");
    let id = vm.id;
    vm.destroy()?;
    refused(Call::StatRead, &[id, stat::VM_STATE], Error::NotFound)
}

fn blocks(env: &Env) -> Outcome {
    // A program image as large as a block: the rest of it is zeros, and part of what is signed.
    let block = 2 << 20;
    let mut images = [
        env.owner.manifest().images()[0],
        env.owner.manifest().images()[1],
    ];
    let frames = pages::take(512, 512);
    memory::fill(frames, block, 0);
    memory::copy_in(frames, env.owner.image(0));
    images[0].size = block;
    images[0].digest = env.owner.digest(memory::bytes(frames, block));
    let signed = env
        .owner
        .sign(&env.owner.rebuilt(env.owner.manifest().regions(), &images));
    let vm = Vm::protected(env)?;
    ensure!(vm.boot_info(&signed).is_ok(), "manifest refused");
    refused(
        Call::VmRemapImage,
        &[vm.id, 0, 1, frames, 9],
        Error::InvalidArgument,
    )?;
    refused(
        Call::VmRemapImage,
        &[vm.id, 0, 0, frames + PAGE, 9],
        Error::BadAddress,
    )?;
    ok(Call::VmRemapImage, &[vm.id, 0, 0, frames, 9])?;
    vm.took(frames, 512, images[0].ipa);
    vm.load_image(env, 1, |_, _| {})?;
    ensure!(vm.verify().is_ok(), "verification failed");
    vm.shut_down()?;
    vm.destroy()
}

fn map(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    let page = vm.give(SPARE, 0)?;
    let block = vm.give(SPARE + (2 << 20), 9)?;
    ensure!(
        probe::read(page).is_err() && probe::read(block + 4096).is_err(),
        "the host still reads them"
    );
    for ipa in [SPARE, SPARE + (2 << 20), SPARE + (4 << 20) - 8] {
        same!(vm.ask(mode::READ, ipa)?, 0, "a new page of the guest");
    }
    vm.shut_down()?;
    vm.destroy()
}

fn clear_range(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    let block = vm.give(SPARE + (2 << 20), 9)?;
    let page = vm.give(SPARE, 0)?;
    same!(vm.ask(mode::HIDE, SPARE)?, 0, "secrets written");
    ok(Call::VmPowerOff, &[vm.id])?;
    same!(
        ok(Call::VmClearRange, &[vm.id, page, 1])?,
        1,
        "frames returned"
    );
    ensure!(
        probe::read(page) == Ok(0) && crate::host::is_zero(page),
        "the page came back with something in it"
    );
    same!(
        ok(Call::VmClearRange, &[vm.id, page, 1])?,
        0,
        "frames returned twice"
    );
    vm.came_back(page);
    pages::give(page, 1);
    same!(
        ok(Call::VmClearRange, &[vm.id, block, 512])?,
        512,
        "frames of a block returned"
    );
    vm.came_back(block);
    pages::give(block, 512);
    vm.destroy()
}

fn reclaim_pool(env: &Env) -> Outcome {
    let vm = Vm::protected(env)?;
    let mut count = statistic(vm.id, stat::VM_POOL);
    ensure!(count > 0, "the pool is empty");
    while count > 0 {
        let page = ok(Call::VmReclaimPool, &[vm.id])?;
        ensure!(
            probe::read(page) == Ok(0),
            "page {page:#x} of the pool did not come back"
        );
        vm.came_back(page);
        pages::give(page, 1);
        count -= 1;
    }
    refused(Call::VmReclaimPool, &[vm.id], Error::NotFound)?;
    vm.end()
}

fn cntvoff(env: &Env) -> Outcome {
    let vm = Vm::protected(env)?;
    ok(Call::VmSetCntvoff, &[vm.id, 0])?;
    refused(Call::VmSetCntvoff, &[vm.id, 12345], Error::InvalidArgument)?;
    vm.end()?;
    let vm = Vm::register(env, 0)?;
    ok(Call::VmSetCntvoff, &[vm.id, 12345])?;
    vm.end()
}

fn restart(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    vm.tell(mode::RESET, 0);
    same!(
        vm.run_until(|_| false)?,
        exit::SYSTEM_RESET,
        "the last exit"
    );
    same!(vm.life(), vm_state::POWER_OFF, "state");
    vm.destroy()
}

fn recycled(env: &Env) -> Outcome {
    // More VMs than there are numbers, a few at a time.
    let limit = info(key::MAX_VMS).min(512) + 8;
    let mut highest = 0;
    for _ in 0..limit / 2 {
        let pair = [Vm::protected(env)?, Vm::protected(env)?];
        for vm in pair {
            highest = highest.max(vm.id);
            vm.end()?;
        }
    }
    ensure!(highest < info(key::MAX_VMS), "number {highest}");
    Ok(())
}
