//! Every address argument of every call: unaligned, out of range, wrapping, a device, Ward's.

use crate::host::calls::refused_as;
use crate::host::env::Env;
use crate::host::tally::{Test, test};
use crate::host::text::Outcome;
use crate::host::vm::Vm;
use crate::protocol::{MMIO, SPARE};
use crate::rt::pages;
use hyp_core::abi::{Call, Error, VM_PROTECTED};

/// The tests.
pub(super) const TESTS: &[Test] = &[
    test("vm_register-record", |env| register(env, 1)),
    test("vm_register-root", |env| register(env, 2)),
    test("vcpu_register-record", |env| vcpu(env, 2)),
    test("vcpu_register-run-page", |env| vcpu(env, 3)),
    test("vm_donate", |env| {
        in_ready(env, Call::VmDonate, |vm, good| [vm, good, 1, 0, 0], 1)
    }),
    test("host_donate", |env| {
        in_ready(env, Call::HostDonate, |_, good| [good, 1, 0, 0, 0], 0)
    }),
    test("vm_set_boot_info", |env| {
        in_ready(
            env,
            Call::VmSetBootInfo,
            |vm, good| [vm, good, 400, 0, 0],
            1,
        )
    }),
    test("vm_remap_image", |env| {
        with_manifest(env, |vm, good| [vm, 0, 0, good, 0], 3)
    }),
    test("vm_map-pa", |env| {
        in_verified(env, |vm, good| [vm, SPARE, good, 0, 3], 2, false)
    }),
    test("vm_map-ipa", |env| {
        in_verified(env, |vm, good| [vm, SPARE, good, 0, 3], 1, true)
    }),
    test("vm_map-block-alignment", block),
    test("vm_map_io-pa", |env| io(env, 2)),
    test("vm_map_io-ipa", |env| io(env, 1)),
    test("vm_clear_range", clear),
    test("ranges-that-leave-ram", ranges),
];

const WRONG: &[Error] = &[Error::BadAddress];

/// Physical addresses that are no frame of the host's.
fn wrong_pas(env: &Env, good: u64) -> [u64; 12] {
    [
        good + 1,
        good + 8,
        good + 2048,
        good | 1 << 52,
        good | 1 << 63,
        1 << 52,
        u64::MAX,
        !0xfff,
        env.board.hole(),
        env.board.uart,
        env.board.gicd,
        env.ward,
    ]
}

fn each(env: &Env, call: Call, args: &[u64], at: usize, good: u64) -> Outcome {
    for wrong in wrong_pas(env, good) {
        let mut args = [args, &[0; 6][args.len()..]].concat_into();
        args[at] = wrong;
        // Ward's own memory is RAM that is not the caller's to give.
        let errors: &[Error] = if wrong == env.ward {
            &[Error::Denied]
        } else {
            WRONG
        };
        if call == Call::VmClearRange && wrong == env.ward {
            same!(
                crate::host::calls::ok(call, &args)?,
                0,
                "frames of Ward's that were returned"
            );
        } else {
            refused_as(call, &args, errors)?;
        }
    }
    Ok(())
}

/// Two slices as one array of six.
trait Concat {
    fn concat_into(&self) -> [u64; 6];
}

impl Concat for [&[u64]; 2] {
    fn concat_into(&self) -> [u64; 6] {
        let mut all = [0; 6];
        let (first, second) = all.split_at_mut(self[0].len());
        first.copy_from_slice(self[0]);
        second.copy_from_slice(self[1]);
        all
    }
}

fn register(env: &Env, at: usize) -> Outcome {
    let record = pages::take(2, 1);
    let root = pages::take(env.root_frames as usize, env.root_frames as usize);
    let result = each(
        env,
        Call::VmRegister,
        &[VM_PROTECTED, record, root, 2],
        at,
        if at == 1 { record } else { root },
    );
    if at == 2 && env.root_frames > 1 {
        refused_as(
            Call::VmRegister,
            &[VM_PROTECTED, record, root + 4096, 2],
            WRONG,
        )?;
    }
    pages::give(record, 2);
    pages::give(root, env.root_frames as usize);
    result
}

fn vcpu(env: &Env, at: usize) -> Outcome {
    let vm = Vm::bare(env, VM_PROTECTED)?;
    let frames = pages::take(2, 1);
    let good = [vm.id, 0, frames, frames + 4096];
    let result = each(env, Call::VcpuRegister, &good, at, good[at]);
    pages::give(frames, 2);
    vm.end()?;
    result
}

fn in_ready(env: &Env, call: Call, args: fn(u64, u64) -> [u64; 5], at: usize) -> Outcome {
    let vm = Vm::protected(env)?;
    let good = pages::take_one();
    let result = if call == Call::VmSetBootInfo {
        // Of a readable page it matters only what is in it.
        wrong_pas(env, good).iter().try_for_each(|wrong| {
            let mut args = args(vm.id, good);
            args[at] = *wrong;
            refused_as(call, &args, &[Error::BadAddress, Error::Denied])
        })
    } else {
        each(env, call, &args(vm.id, good), at, good)
    };
    pages::give(good, 1);
    vm.end()?;
    result
}

fn with_manifest(env: &Env, args: fn(u64, u64) -> [u64; 5], at: usize) -> Outcome {
    let vm = Vm::protected(env)?;
    ensure!(
        vm.boot_info(&env.owner.signed()).is_ok(),
        "manifest refused"
    );
    let good = pages::take_one();
    let result = each(env, Call::VmRemapImage, &args(vm.id, good), at, good);
    pages::give(good, 1);
    vm.end()?;
    result
}

fn in_verified(env: &Env, args: fn(u64, u64) -> [u64; 5], at: usize, ipa: bool) -> Outcome {
    let vm = Vm::verified(env)?;
    let good = pages::take_one();
    let result = if ipa {
        [
            SPARE + 1,
            SPARE + 2048,
            1 << 52,
            SPARE | 1 << 63,
            u64::MAX,
            !0xfff,
            0,
        ]
        .iter()
        .try_for_each(|wrong| {
            let mut args = args(vm.id, good);
            args[at] = *wrong;
            refused_as(Call::VmMap, &args, WRONG)
        })
    } else {
        each(env, Call::VmMap, &args(vm.id, good), at, good)
    };
    pages::give(good, 1);
    vm.end()?;
    result
}

fn block(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    let frames = pages::take(1024, 512);
    refused_as(
        Call::VmMap,
        &[vm.id, SPARE + (2 << 20), frames + 4096, 9, 3],
        WRONG,
    )?;
    refused_as(Call::VmMap, &[vm.id, SPARE + 4096, frames, 9, 3], WRONG)?;
    refused_as(
        Call::VmMap,
        &[vm.id, SPARE, env.board.beyond_ram(), 9, 3],
        WRONG,
    )?;
    // A block of which one page is the host's no more.
    vm.took_by_map(SPARE + 0x3000, frames + 5 * 4096)?;
    refused_as(
        Call::VmMap,
        &[vm.id, SPARE + (2 << 20), frames, 9, 3],
        &[Error::Denied],
    )?;
    pages::give(frames, 5);
    pages::give(frames + 6 * 4096, 1018);
    vm.end()
}

fn io(env: &Env, at: usize) -> Outcome {
    let vm = Vm::protected(env)?;
    ensure!(
        vm.boot_info(&env.owner.signed()).is_ok(),
        "manifest refused"
    );
    let uart = env.board.uart;
    let wrong = [
        [
            uart + 1,
            uart + 8,
            uart | 1 << 63,
            1 << 52,
            u64::MAX,
            !0xfff,
        ],
        [
            MMIO + 1,
            MMIO + 8,
            MMIO | 1 << 63,
            1 << 52,
            u64::MAX,
            !0xfff,
        ],
    ];
    for value in wrong[at % 2] {
        let mut args = [vm.id, MMIO, uart, 1, 0, 0];
        args[at] = value;
        refused_as(Call::VmMapIo, &args, WRONG)?;
    }
    refused_as(
        Call::VmMapIo,
        &[vm.id, MMIO, uart, 0],
        &[Error::InvalidArgument],
    )?;
    refused_as(
        Call::VmMapIo,
        &[vm.id, MMIO, uart, 513],
        &[Error::InvalidArgument],
    )?;
    refused_as(Call::VmMapIo, &[vm.id, MMIO, uart, 3], WRONG)?; // longer than the region
    vm.end()
}

fn clear(env: &Env) -> Outcome {
    let vm = Vm::protected(env)?;
    crate::host::calls::ok(Call::VmPowerOff, &[vm.id])?;
    let good = pages::take_one();
    let result = each(env, Call::VmClearRange, &[vm.id, good, 1], 1, good);
    pages::give(good, 1);
    vm.destroy()?;
    result
}

fn ranges(env: &Env) -> Outcome {
    let vm = Vm::protected(env)?;
    let beyond = env.board.beyond_ram();
    for (start, frames) in [
        (beyond - 4096, 2),
        (!0xfff, 2),
        ((1 << 52) - 4096, 512),
        (env.board.uart, 2),
    ] {
        refused_as(
            Call::VmDonate,
            &[vm.id, start, frames],
            &[Error::BadAddress],
        )?;
        refused_as(Call::HostDonate, &[start, frames], &[Error::BadAddress])?;
    }
    // From the host's memory into Ward's.
    refused_as(
        Call::VmDonate,
        &[vm.id, env.board.ram_end() - 4096, 2],
        &[Error::Denied, Error::BadAddress],
    )?;
    vm.end()
}
