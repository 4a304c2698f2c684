//! Calls in a state that does not permit them.

use crate::host::calls::{host_call, info, ok, refused, refused_as};
use crate::host::env::Env;
use crate::host::tally::{Test, test};
use crate::host::text::Outcome;
use crate::host::vm::Vm;
use crate::protocol::{MMIO, NOWHERE, SPARE};
use crate::rt::pages;
use hyp_core::abi::calls::{info as key, stat};
use hyp_core::abi::{Call, Error, VM_PROTECTED};

/// The tests.
pub(super) const TESTS: &[Test] = &[
    test("run-unverified", run_unverified),
    test("run-powered-off", run_powered_off),
    test("run-unknown", run_unknown),
    test("unknown-vm-in-every-call", unknown_vm),
    test("wrong-arguments-of-vm_register", register_arguments),
    test("wrong-arguments-of-vcpu_register", vcpu_arguments),
    test("reclaim-before-power-off", reclaim_before_power_off),
    test("power-off-twice", power_off_twice),
    test("map-before-verification", map_before),
    test("map-outside-ram-regions", map_outside),
    test("map-twice", map_twice),
    test("image-calls-after-verification", images_after),
    test("calls-for-normal-vms-on-a-protected-one", normal_calls),
    test("wrong-orders-and-permissions", orders),
    test("map_io-of-ram", map_io_of_ram),
    test("map_io-outside-mmio-regions", map_io_outside),
];

fn run_unverified(env: &Env) -> Outcome {
    let vm = Vm::protected(env)?;
    refused(Call::VcpuRun, &[vm.id, 0], Error::BadState)?;
    ensure!(
        vm.boot_info(&env.owner.signed()).is_ok(),
        "manifest refused"
    );
    refused(Call::VcpuRun, &[vm.id, 0], Error::BadState)?;
    vm.load(env)?;
    refused(Call::VcpuRun, &[vm.id, 0], Error::BadState)?;
    vm.end()
}

fn run_powered_off(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    ok(Call::VmPowerOff, &[vm.id])?;
    vm.must_be_off()?;
    refused(
        Call::VmMap,
        &[vm.id, SPARE, pages::window().end - 4096, 0, 3],
        Error::BadState,
    )?;
    refused(
        Call::VmDonate,
        &[vm.id, pages::window().end - 4096, 1],
        Error::BadState,
    )?;
    vm.destroy()
}

fn run_unknown(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    for vcpu in [2, 63, 64, u64::MAX, 1 << 32] {
        refused(Call::VcpuRun, &[vm.id, vcpu], Error::NotFound)?;
    }
    vm.end()
}

fn unknown_vm(_: &Env) -> Outcome {
    let calls = [
        Call::VcpuRegister,
        Call::VmDonate,
        Call::VmReclaimPool,
        Call::VmSetBootInfo,
        Call::VmRemapImage,
        Call::VmVerifyImages,
        Call::VcpuRun,
        Call::VmMap,
        Call::VmUnmap,
        Call::VmWriteProtect,
        Call::VmAge,
        Call::VmUnmapRange,
        Call::VmProtect,
        Call::VmAgeRange,
        Call::VcpuSync,
        Call::VmMapIo,
        Call::VmClearRange,
        Call::VmSetCntvoff,
        Call::VmPowerOff,
        Call::VmDestroy,
    ];
    let frame = pages::take(2, 1);
    for call in calls {
        for vm in [0, 5, info(key::MAX_VMS), 0xffff, 0x1_0001, u64::MAX] {
            let args: [u64; 6] = match call {
                Call::VcpuRegister => [vm, 0, frame, frame + 4096, 0, 0],
                Call::VmDonate | Call::VmClearRange => [vm, frame, 1, 0, 0, 0],
                Call::VmSetBootInfo => [vm, frame, 400, 0, 0, 0],
                Call::VmRemapImage => [vm, 0, 0, frame, 0, 0],
                Call::VmMap => [vm, SPARE, frame, 0, 3, 0],
                Call::VmUnmap | Call::VmWriteProtect | Call::VmAge => [vm, SPARE, 0, 0, 0, 0],
                Call::VmUnmapRange | Call::VmProtect | Call::VmAgeRange => [vm, SPARE, 0, 4, 0, 0],
                Call::VcpuSync => [vm, 0, 1, 0, 0, 0],
                Call::VmMapIo => [vm, MMIO, 0x0900_0000, 1, 0, 0],
                _ => [vm, 0, 0, 0, 0, 0],
            };
            refused(call, &args, Error::NotFound)?;
        }
    }
    refused(Call::StatRead, &[0x1_0000, stat::VM_STATE], Error::NotFound)?;
    pages::give(frame, 2);
    Ok(())
}

fn register_arguments(env: &Env) -> Outcome {
    let record = pages::take(2, 1);
    let root = pages::take(env.root_frames as usize, env.root_frames as usize);
    for (flags, vcpus) in [
        (3, 1),
        (u64::MAX, 1),
        (1 << 32 | 1, 1),
        (1, 0),
        (1, 65),
        (1, u64::MAX),
    ] {
        refused(
            Call::VmRegister,
            &[flags, record, root, vcpus],
            Error::InvalidArgument,
        )?;
    }
    // The two ranges share a frame.
    refused(
        Call::VmRegister,
        &[VM_PROTECTED, root, root, 1],
        Error::BadAddress,
    )?;
    pages::give(record, 2);
    pages::give(root, env.root_frames as usize);
    Ok(())
}

fn vcpu_arguments(env: &Env) -> Outcome {
    let vm = Vm::protected(env)?;
    let frames = pages::take(2, 1);
    refused(
        Call::VcpuRegister,
        &[vm.id, 0, frames, frames + 4096],
        Error::Exists,
    )?;
    for vcpu in [2, 64, u64::MAX] {
        refused(
            Call::VcpuRegister,
            &[vm.id, vcpu, frames, frames + 4096],
            Error::InvalidArgument,
        )?;
    }
    refused(
        Call::VcpuRegister,
        &[vm.id, 1, frames, frames],
        Error::BadAddress,
    )?;
    // A run page stays the host's, but it is pinned: it cannot be given away.
    refused(Call::VmDonate, &[vm.id, vm.run_pages[0], 1], Error::Denied)?;
    refused(Call::HostDonate, &[vm.run_pages[1], 1], Error::Denied)?;
    pages::give(frames, 2);
    vm.end()
}

fn reclaim_before_power_off(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    let page = vm.give(SPARE, 0)?;
    refused(Call::VmClearRange, &[vm.id, page, 1], Error::BadState)?;
    refused(Call::VmDestroy, &[vm.id], Error::BadState)?;
    crate::host::attack::must_abort(page, "memory of a VM that is not off")?;
    vm.end()
}

fn power_off_twice(env: &Env) -> Outcome {
    let vm = Vm::protected(env)?;
    ok(Call::VmPowerOff, &[vm.id])?;
    refused(Call::VmPowerOff, &[vm.id], Error::BadState)?;
    refused(
        Call::VmSetBootInfo,
        &[vm.id, pages::window().end - 4096, 400],
        Error::BadState,
    )?;
    refused(Call::VmSetCntvoff, &[vm.id, 0], Error::BadState)?;
    refused(Call::VmSetCntvoff, &[vm.id, 1], Error::InvalidArgument)?;
    vm.destroy()
}

fn map_before(env: &Env) -> Outcome {
    let vm = Vm::protected(env)?;
    let frame = pages::take_one();
    refused(Call::VmMap, &[vm.id, SPARE, frame, 0, 3], Error::BadState)?;
    refused(
        Call::VmRemapImage,
        &[vm.id, 0, 0, frame, 0],
        Error::BadState,
    )?;
    refused(Call::VmVerifyImages, &[vm.id], Error::BadState)?;
    pages::give(frame, 1);
    vm.end()
}

fn map_outside(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    let frames = pages::take(512, 512);
    for ipa in [
        MMIO,
        NOWHERE,
        0,
        crate::protocol::RAM - 4096,
        crate::protocol::RAM + crate::protocol::RAM_SIZE,
    ] {
        refused(Call::VmMap, &[vm.id, ipa, frames, 0, 3], Error::BadAddress)?;
    }
    pages::give(frames, 512);
    vm.end()
}

fn map_twice(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    let page = vm.give(SPARE, 0)?;
    let frames = pages::take(512, 512);
    refused(Call::VmMap, &[vm.id, SPARE, frames, 0, 3], Error::Exists)?;
    refused(Call::VmMap, &[vm.id, SPARE, frames, 9, 3], Error::Exists)?;
    refused(
        Call::VmMap,
        &[vm.id, crate::protocol::PROGRAM, frames, 0, 3],
        Error::Exists,
    )?;
    refused(
        Call::VmMap,
        &[vm.id, SPARE + 4096, page, 0, 3],
        Error::Denied,
    )?;
    refused(
        Call::VmMap,
        &[vm.id, SPARE + 4096, vm.run_pages[0], 0, 3],
        Error::Denied,
    )?;
    pages::give(frames, 512);
    vm.end()
}

fn images_after(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    let frame = pages::take_one();
    refused(
        Call::VmRemapImage,
        &[vm.id, 0, 0, frame, 0],
        Error::BadState,
    )?;
    refused(Call::VmVerifyImages, &[vm.id], Error::BadState)?;
    refused(Call::VmSetBootInfo, &[vm.id, frame, 400], Error::BadState)?;
    refused(
        Call::VcpuRegister,
        &[vm.id, 1, frame, vm.run_pages[0]],
        Error::BadState,
    )?;
    pages::give(frame, 1);
    vm.end()
}

fn normal_calls(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    vm.give(SPARE, 0)?;
    refused(Call::VmUnmap, &[vm.id, SPARE, 0], Error::InvalidArgument)?;
    for call in [Call::VmWriteProtect, Call::VmAge] {
        refused_as(
            call,
            &[vm.id, SPARE, 0],
            &[Error::InvalidArgument, Error::BadState],
        )?;
    }
    vm.end()
}

fn orders(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    let frame = pages::take(512, 512);
    for order in [1, 8, 10, 18, u64::MAX] {
        refused(
            Call::VmMap,
            &[vm.id, SPARE, frame, order, 3],
            Error::InvalidArgument,
        )?;
        refused(
            Call::VmRemapImage,
            &[vm.id, 0, 0, frame, order],
            Error::InvalidArgument,
        )?;
    }
    for prot in [0, 1, 2, 4, 7, u64::MAX] {
        refused(
            Call::VmMap,
            &[vm.id, SPARE, frame, 0, prot],
            Error::InvalidArgument,
        )?;
    }
    for count in [0, 513, u64::MAX] {
        refused(
            Call::VmDonate,
            &[vm.id, frame, count],
            Error::InvalidArgument,
        )?;
        refused(Call::HostDonate, &[frame, count], Error::InvalidArgument)?;
        refused(
            Call::VmClearRange,
            &[vm.id, frame, count],
            Error::InvalidArgument,
        )?;
    }
    pages::give(frame, 512);
    vm.end()
}

fn map_io_of_ram(env: &Env) -> Outcome {
    let vm = Vm::protected(env)?;
    ensure!(
        vm.boot_info(&env.owner.signed()).is_ok(),
        "manifest refused"
    );
    let frame = pages::take_one();
    refused(Call::VmMapIo, &[vm.id, MMIO, frame, 1], Error::BadAddress)?;
    refused(
        Call::VmMapIo,
        &[vm.id, MMIO, env.ward, 1],
        Error::BadAddress,
    )?;
    // A range that begins in devices and ends in RAM.
    let ram = env.board.ram_gib();
    refused(
        Call::VmMapIo,
        &[vm.id, MMIO, ram - 4096, 2],
        Error::BadAddress,
    )?;
    pages::give(frame, 1);
    vm.end()
}

fn map_io_outside(env: &Env) -> Outcome {
    let vm = Vm::protected(env)?;
    let uart = env.board.uart;
    refused(Call::VmMapIo, &[vm.id, MMIO, uart, 1], Error::BadState)?;
    ensure!(
        vm.boot_info(&env.owner.signed()).is_ok(),
        "manifest refused"
    );
    for ipa in [NOWHERE, SPARE, 0] {
        refused(Call::VmMapIo, &[vm.id, ipa, uart, 1], Error::BadAddress)?;
    }
    ok(Call::VmMapIo, &[vm.id, MMIO, uart, 1])?;
    refused(Call::VmMapIo, &[vm.id, MMIO, uart, 1], Error::Exists)?;
    let _ = host_call(Call::VmPowerOff, &[vm.id]);
    refused(
        Call::VmMapIo,
        &[vm.id, MMIO + 4096, uart, 1],
        Error::BadState,
    )?;
    vm.destroy()
}
