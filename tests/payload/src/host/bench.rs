//! Counts, printed as `BENCH name value unit`. Under QEMU's `-icount shift=0` a nanosecond of the
//! counter is one instruction.

use super::calls::{host_call, ok, whole};
use super::env::Env;
use super::run::{SEARCH, TICK};
use super::text::Outcome;
use super::vm::Vm;
use crate::guest::bench::{FIRST, RESULTS};
use crate::protocol::{MMIO, SPARE, mode, reg};
use crate::rt::{call, memory, pages, time};
use core::sync::atomic::Ordering;
use hyp_core::abi::run::{OUT_OFFSET, exit};
use hyp_core::abi::{Call, Error};

const MIB: u64 = 1 << 20;

/// Prints all counts.
pub(crate) fn run(env: &Env) {
    SEARCH.store(false, Ordering::Relaxed);
    TICK.store(0, Ordering::Relaxed);
    let result = guest(env)
        .and_then(|()| verification(env))
        .and_then(|()| destruction(env))
        .and_then(|()| devices());
    if let Err(why) = result {
        println!("bench: FAIL: {}", why.text().get());
    }
}

fn print(name: &str, ticks: u64, divisor: u64, unit: &str) {
    println!(
        "BENCH {name} {} {unit}",
        (time::nanoseconds(ticks) + divisor / 2) / divisor.max(1)
    );
}

/// What the guest measures.
fn guest(env: &Env) -> Outcome {
    let start = time::now();
    let vm = Vm::verified(env)?;
    vm.reserve(256, 10)?;
    vm.tell(mode::MEASURE, 0);
    serve(&vm)?;
    let measured = vm.state.lock().device.measured;
    for (name, number, empty) in RESULTS {
        let ((ticks, rounds), (loops, empty_rounds)) = (measured[*number], measured[*empty]);
        ensure!(
            rounds > 0 && empty_rounds > 0,
            "the guest did not measure {name}"
        );
        print(
            name,
            ticks.saturating_sub(loops * rounds / empty_rounds),
            rounds,
            "instructions",
        );
    }
    let took = measured[FIRST].0.wrapping_sub(start) & 0xffff_ffff;
    print("create-to-first-instruction", took, 1, "instructions");
    vm.end()
}

/// Runs vCPU 0 with as little of a host around it as there can be: no list registers, no ticks.
fn serve(vm: &Vm) -> Outcome {
    let page = vm.run_pages[0];
    let run = [
        u64::from(Call::VcpuRun.function_id()),
        vm.id,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    let prepare = || {
        vm.prepare(0);
        memory::poke(page + USED, 0);
    };
    prepare();
    loop {
        let [x0, reason, ..] = call::hvc(run);
        ensure!(x0 == 0, "vcpu_run returned {}", x0 as i64);
        match reason {
            exit::WAIT => {}
            exit::MMIO if memory::peek(page + SCRATCH_READ.0) == SCRATCH_READ.1 => {
                memory::poke(page + VALUE, 0x600d)
            }
            exit::SYSTEM_OFF => return Ok(()),
            _ => {
                vm.settle(0, reason)?;
                prepare();
            }
        }
    }
}

/// Where the run page has the address of an access, and that of the device's scratch register.
const SCRATCH_READ: (u64, u64) = (OUT_OFFSET + 8, MMIO + reg::SCRATCH);
/// Where the run page takes the value of a read, and the number of list registers.
const VALUE: u64 = 8;
const USED: u64 = 0x28;

/// Verification, with a program image of 1 MiB.
fn verification(env: &Env) -> Outcome {
    let images = env.owner.manifest();
    let (mut program, data) = (images.images()[0], images.images()[1]);
    let frames = pages::take(256, 1);
    memory::fill(frames, MIB, 0);
    memory::copy_in(frames, env.owner.image(0));
    program.size = MIB;
    program.digest = env.owner.digest(memory::bytes(frames, MIB));
    let signed = env
        .owner
        .sign(&env.owner.rebuilt(images.regions(), &[program, data]));
    let vm = Vm::protected(env)?;
    let start = time::now();
    ensure!(vm.boot_info(&signed).is_ok(), "manifest refused");
    print("signature", time::now() - start, 1, "instructions");
    vm.load_image(env, 1, |_, _| {})?;
    let start = time::now();
    for page in 0..256 {
        ok(
            Call::VmRemapImage,
            &[vm.id, 0, page, frames + page * pages::PAGE, 0],
        )?;
    }
    print("remap-image-page", time::now() - start, 256, "instructions");
    vm.took(frames, 256, program.ipa);
    let start = time::now();
    ensure!(vm.verify().is_ok(), "verification failed");
    // The data image is hashed as well: two pages.
    print("verify-per-mib", time::now() - start, 1, "instructions");
    vm.end()
}

/// vm_destroy of 8 MiB, less that of a VM without them.
fn destruction(env: &Env) -> Outcome {
    let mut ticks = [0; 2];
    for (with, slot) in ticks.iter_mut().enumerate() {
        let vm = Vm::verified(env)?;
        for block in 0..4 * with as u64 {
            vm.give(SPARE + block * 2 * MIB, 9)?;
        }
        ok(Call::VmPowerOff, &[vm.id])?;
        let start = time::now();
        while host_call(Call::VmDestroy, &[vm.id]).is_ok_and(|reply| reply.again) {}
        *slot = time::now() - start;
        vm.forgotten();
    }
    print("destroy-small-vm", ticks[0], 1, "instructions");
    print(
        "destroy-per-mib",
        ticks[1].saturating_sub(ticks[0]),
        8,
        "instructions",
    );
    Ok(())
}

/// A stream of the host's own, where the machine has an SMMU; whether a device is behind it matters
/// to nobody.
fn devices() -> Outcome {
    const STREAM: u64 = 8;
    const COUNT: u64 = 64;
    match host_call(Call::SmmuAlloc, &[0, STREAM, 0]) {
        Ok(_) => {}
        Err(Error::NotSupported) => return Ok(()),
        Err(error) => fail!("smmu_alloc: {error:?}"),
    }
    for (order, map, clear) in [
        (0, "smmu-map-4k", "smmu-clear-4k"),
        (9, "smmu-map-2m", "smmu-clear-2m"),
    ] {
        let bytes = pages::PAGE << order;
        let frames = pages::take(1 << order, 1 << order);
        let at = |n: u64| IOVA + n * bytes;
        // Once unmeasured: the tables.
        for round in 0..2 {
            let start = time::now();
            for n in 0..COUNT {
                ok(Call::SmmuMap, &[0, STREAM, at(n), frames, order, 3])?;
            }
            let mapped = time::now();
            for n in 0..COUNT {
                ok(Call::SmmuClear, &[0, STREAM, at(n), order])?;
            }
            if round == 1 {
                print(map, mapped - start, COUNT, "instructions");
                print(clear, time::now() - mapped, COUNT, "instructions");
            }
        }
        pages::give(frames, 1 << order);
    }
    whole(Call::SmmuFree, &[0, STREAM]).ok();
    Ok(())
}

/// An address that no memory has.
const IOVA: u64 = 0x2_0000_0000;
