//! Normal VMs: the host's view stays open, and it still cannot lend what is not its own.

use crate::host::calls::{ok, refused};
use crate::host::env::Env;
use crate::host::tally::{Test, test};
use crate::host::text::Outcome;
use crate::host::vm::Vm;
use crate::protocol::{NOWHERE, RAM, SPARE};
use crate::rt::pages;
use crate::rt::{memory, probe};
use hyp_core::abi::calls::vm_state;
use hyp_core::abi::run::{FP_OFFSET, REGS_OFFSET, exit, in_flags, sync};
use hyp_core::abi::{AGE_LOOK, Call, Error, VM_HOST_IDS};

/// The tests.
pub(super) const TESTS: &[Test] = &[
    test("run-with-registers-of-the-host", run),
    test("lend-and-take-back", lend),
    test("write-protect-and-age", protect_and_age),
    test("lent-page-cannot-be-given-away", lent),
    test("frames-of-others-cannot-be-lent", others_frames),
    test("calls-for-protected-vms-on-a-normal-one", protected_calls),
    test("vm_unmap-wrong", unmap_wrong),
    test("ranges-with-one-invalidation", ranges),
    test("registers-on-demand", on_demand),
    test("waits-smc-and-id-registers", traps),
    test("serror-of-the-host", serror),
    test("window-that-leaves-el1", bad_window),
];

/// hvc #0; str x3, [x2]; hvc #0; b .
const CODE: [u32; 4] = [0xd400_0002, 0xf900_0043, 0xd400_0002, 0x1400_0000];
/// Words of the window: PC, PSTATE (after x0 to x30 and SP_EL0).
const PC: u64 = 32;
const PSTATE: u64 = 33;
/// And `CPACR_EL1`.
const CPACR: u64 = 35;

/// wfe; wfi; smc #0; mrs x5, id_aa64pfr0_el1; fmov d1, x1; fmov x6, d0; hvc #0; b .
const TRAPS: [u32; 8] = [
    0xd503_205f,
    0xd503_207f,
    0xd400_0003,
    0xd538_0405,
    0x9e67_0021,
    0x9e66_0006,
    0xd400_0002,
    0x1400_0000,
];
/// msr daifclr, #4 (A); isb; hvc #0; b .
const UNMASK: [u32; 4] = [0xd503_44ff, 0xd503_3fdf, 0xd400_0002, 0x1400_0000];

/// A normal VM with [`CODE`] at the start of its RAM, in the page returned.
fn with_code(env: &Env) -> Outcome<(Vm, u64)> {
    with(env, 0, &CODE)
}

/// A normal VM with these flags and this code.
fn with(env: &Env, flags: u64, code: &[u32]) -> Outcome<(Vm, u64)> {
    let vm = Vm::register(env, flags)?;
    let page = pages::take_one();
    memory::fill(page, 4096, 0);
    for (n, &word) in (0..).zip(code) {
        memory::copy_in(page + 4 * n, &word.to_le_bytes());
    }
    memory::clean(page, 4096);
    ok(Call::VmMap, &[vm.id, RAM, page, 0, 3])?;
    Ok((vm, page))
}

fn window(vm: &Vm, word: u64) -> u64 {
    memory::peek(vm.run_pages[0] + REGS_OFFSET + 8 * word)
}

fn set(vm: &Vm, word: u64, value: u64) {
    memory::poke(vm.run_pages[0] + REGS_OFFSET + 8 * word, value);
    vm.state.lock().answer[0].0 |= in_flags::REGS_DIRTY;
}

/// Puts the vCPU at the first instruction.
fn start(vm: &Vm) {
    set(vm, PC, RAM);
    set(vm, PSTATE, 0x3c5);
    set(vm, 0, 0x8400_0000);
    set(vm, 1, 0x1111);
    set(vm, 2, SPARE);
    set(vm, 3, 0x3333);
}

fn run(env: &Env) -> Outcome {
    let (vm, page) = with_code(env)?;
    vm.state.lock().refuse_memory = true;
    start(&vm);
    same!(vm.next_exit(0)?, Ok(exit::CALL), "the first exit");
    let out = vm.out(0);
    same!(
        (out.value, out.arg1, out.arg2, out.arg3),
        (0x8400_0000, 0x1111, SPARE, 0x3333),
        "the call"
    );
    same!(window(&vm, PC), RAM + 4, "PC in the window");
    same!(window(&vm, 1), 0x1111, "x1 in the window");
    // The store faults: device or memory, the host knows. It refuses, and the guest takes an abort,
    // whose vector is memory that is not there either.
    same!(vm.next_exit(0)?, Ok(exit::MMIO), "the second exit");
    let out = vm.out(0);
    same!(
        (out.ipa, out.write, out.size, out.value),
        (SPARE, 1, 8, 0x3333),
        "the access"
    );
    same!(vm.next_exit(0)?, Ok(exit::MEMORY), "the third exit");
    same!(
        window(&vm, PC),
        0x200,
        "PC after an abort with VBAR_EL1 zero"
    );
    vm.end()?;
    pages::give(page, 1);
    Ok(())
}

fn lend(env: &Env) -> Outcome {
    let (vm, page) = with_code(env)?;
    let block = pages::take(512, 512);
    ok(Call::VmMap, &[vm.id, SPARE, block, 9, 3])?;
    start(&vm);
    same!(vm.next_exit(0)?, Ok(exit::CALL), "the first exit");
    same!(vm.next_exit(0)?, Ok(exit::CALL), "the second exit");
    same!(memory::peek(block), 0x3333, "what the guest wrote");
    ensure!(probe::write(block, 1).is_ok(), "the host lost what it lent");
    // One page of the block back, then the rest as a whole.
    ok(Call::VmUnmap, &[vm.id, SPARE, 0])?;
    start(&vm);
    same!(vm.next_exit(0)?, Ok(exit::CALL), "the first exit again");
    vm.state.lock().refuse_memory = true;
    same!(
        vm.next_exit(0)?,
        Ok(exit::MMIO),
        "access to a page taken back"
    );
    // Lent again, and the access done again.
    ok(Call::VmMap, &[vm.id, SPARE, block, 0, 3])?;
    memory::poke(block, 0);
    vm.state.lock().answer[0] = (in_flags::RETRY, 0);
    same!(
        vm.next_exit(0)?,
        Ok(exit::CALL),
        "the second exit after a retry"
    );
    same!(
        memory::peek(block),
        0x3333,
        "what the guest wrote at the second try"
    );
    memory::poke(block, 1);
    ok(Call::VmPowerOff, &[vm.id])?;
    vm.destroy()?;
    // All of it can be given away again.
    same!(probe::read(block).ok(), Some(1), "contents after the VM");
    pages::give(block, 512);
    pages::give(page, 1);
    Ok(())
}

fn protect_and_age(env: &Env) -> Outcome {
    let (vm, page) = with_code(env)?;
    let data = pages::take_one();
    ok(Call::VmMap, &[vm.id, SPARE, data, 0, 3])?;
    ok(Call::VmAge, &[vm.id, SPARE, 0])?;
    same!(
        ok(Call::VmAge, &[vm.id, SPARE, 0])?,
        0,
        "a page that nobody touched since"
    );
    start(&vm);
    same!(vm.next_exit(0)?, Ok(exit::CALL), "the first exit");
    same!(vm.next_exit(0)?, Ok(exit::CALL), "the second exit");
    same!(
        ok(Call::VmAge, &[vm.id, SPARE, 0])?,
        1,
        "a page that was written"
    );
    ok(Call::VmWriteProtect, &[vm.id, SPARE, 0])?;
    start(&vm);
    same!(vm.next_exit(0)?, Ok(exit::CALL), "the first exit again");
    vm.state.lock().refuse_memory = true;
    same!(
        vm.next_exit(0)?,
        Ok(exit::MEMORY),
        "a write to a protected page"
    );
    same!((vm.out(0).ipa, vm.out(0).write), (SPARE, 1), "the fault");
    refused(Call::VmAge, &[vm.id, SPARE + 4096, 0], Error::NotFound)?;
    refused(
        Call::VmWriteProtect,
        &[vm.id, SPARE + 4096, 0],
        Error::NotFound,
    )?;
    vm.end()?;
    pages::give(data, 1);
    pages::give(page, 1);
    Ok(())
}

fn lent(env: &Env) -> Outcome {
    let (vm, page) = with_code(env)?;
    refused(Call::VmDonate, &[vm.id, page, 1], Error::Denied)?;
    refused(Call::HostDonate, &[page, 1], Error::Denied)?;
    let other = Vm::verified(env)?;
    refused(Call::VmMap, &[other.id, SPARE, page, 0, 3], Error::Denied)?;
    other.end()?;
    ok(Call::VmUnmap, &[vm.id, RAM, 0])?;
    ok(Call::VmDonate, &[vm.id, page, 1])?;
    crate::host::vm::note(vm.id, page, 1, None);
    vm.end()
}

fn others_frames(env: &Env) -> Outcome {
    let (vm, page) = with_code(env)?;
    let other = Vm::verified(env)?;
    let memory = other.give(SPARE, 0)?;
    let Some(record) = other.frame_of_ward() else {
        fail!("no record")
    };
    for frame in [memory, record] {
        refused(Call::VmMap, &[vm.id, SPARE, frame, 0, 3], Error::Denied)?;
    }
    crate::host::calls::refused_as(
        Call::VmMap,
        &[vm.id, SPARE, env.ward, 0, 3],
        &[Error::BadAddress, Error::Denied],
    )?;
    refused(
        Call::VmMap,
        &[vm.id, SPARE, env.board.uart, 0, 3],
        Error::BadAddress,
    )?;
    refused(Call::VmMap, &[vm.id, RAM, page, 0, 3], Error::Exists)?;
    refused(
        Call::VmMap,
        &[vm.id, SPARE, page, 0, 4],
        Error::InvalidArgument,
    )?;
    other.end()?;
    vm.end()?;
    pages::give(page, 1);
    Ok(())
}

fn protected_calls(env: &Env) -> Outcome {
    let (vm, page) = with_code(env)?;
    let frame = pages::take_one();
    refused(
        Call::VmSetBootInfo,
        &[vm.id, frame, 400],
        Error::InvalidArgument,
    )?;
    for (call, args) in [
        (Call::VmRemapImage, [vm.id, 0, 0, frame, 0]),
        (Call::VmVerifyImages, [vm.id, 0, 0, 0, 0]),
    ] {
        crate::host::calls::refused_as(call, &args, &[Error::InvalidArgument, Error::BadState])?;
    }
    same!(vm.life(), vm_state::READY, "state");
    pages::give(frame, 1);
    vm.end()?;
    pages::give(page, 1);
    Ok(())
}

fn unmap_wrong(env: &Env) -> Outcome {
    let (vm, page) = with_code(env)?;
    refused(Call::VmUnmap, &[vm.id, SPARE, 0], Error::NotFound)?;
    refused(Call::VmUnmap, &[vm.id, NOWHERE, 9], Error::NotFound)?;
    refused(Call::VmUnmap, &[vm.id, RAM + 8, 0], Error::BadAddress)?;
    refused(Call::VmUnmap, &[vm.id, !0xfff, 0], Error::BadAddress)?;
    refused(Call::VmUnmap, &[vm.id, RAM, 4], Error::InvalidArgument)?;
    ok(Call::VmUnmap, &[vm.id, RAM, 0])?;
    refused(Call::VmUnmap, &[vm.id, RAM, 0], Error::NotFound)?;
    vm.end()?;
    pages::give(page, 1);
    Ok(())
}

fn ranges(env: &Env) -> Outcome {
    let (vm, page) = with_code(env)?;
    let data = pages::take(4, 1);
    for n in [0, 1, 3] {
        ok(
            Call::VmMap,
            &[vm.id, SPARE + 4096 * n, data + 4096 * n, 0, 3],
        )?;
    }
    let age = |flags| ok(Call::VmAgeRange, &[vm.id, SPARE, 0, 4, flags]);
    same!(age(AGE_LOOK)?, 3, "pages just mapped");
    same!(age(0)?, 3, "the same, taken");
    start(&vm);
    same!(vm.next_exit(0)?, Ok(exit::CALL), "the first exit");
    same!(vm.next_exit(0)?, Ok(exit::CALL), "the second exit");
    same!(age(AGE_LOOK)?, 1, "the page that was written");
    let protect = |add, remove| ok(Call::VmProtect, &[vm.id, SPARE, 0, 4, add, remove]);
    same!(protect(0, 1)?, 3, "pages that lost write permission");
    vm.state.lock().refuse_memory = true;
    start(&vm);
    same!(vm.next_exit(0)?, Ok(exit::CALL), "the first exit again");
    same!(
        vm.next_exit(0)?,
        Ok(exit::MEMORY),
        "a write that is not permitted"
    );
    same!(vm.out(0).arg1, SPARE, "FAR_EL2 of it");
    same!(protect(1, 0)?, 3, "pages that have it again");
    vm.state.lock().answer[0] = (in_flags::RETRY, 0);
    same!(vm.next_exit(0)?, Ok(exit::CALL), "the write done again");
    // All of them at once; they can be given away then.
    same!(
        ok(Call::VmUnmapRange, &[vm.id, SPARE, 0, 512])?,
        3,
        "unmapped"
    );
    start(&vm);
    same!(vm.next_exit(0)?, Ok(exit::CALL), "the first exit after it");
    same!(vm.next_exit(0)?, Ok(exit::MMIO), "a write to what is gone");
    refused(
        Call::VmUnmapRange,
        &[vm.id, SPARE, 0, 513],
        Error::InvalidArgument,
    )?;
    refused(
        Call::VmProtect,
        &[vm.id, SPARE, 0, 4, 1, 1],
        Error::InvalidArgument,
    )?;
    refused(
        Call::VmAgeRange,
        &[vm.id, !0xfff, 0, 2, 0],
        Error::BadAddress,
    )?;
    ok(Call::VmDonate, &[vm.id, data, 4])?;
    crate::host::vm::note(vm.id, data, 4, None);
    vm.end()?;
    pages::give(page, 1);
    Ok(())
}

fn fp(vm: &Vm, word: u64) -> u64 {
    vm.run_pages[0] + FP_OFFSET + 8 * word
}

/// To the next exit that is not for an interrupt of the host's, with little of the window.
fn lazily(vm: &Vm) -> Outcome<Result<u64, Error>> {
    loop {
        vm.state.lock().answer[0].0 |= in_flags::LAZY;
        let result = vm.step(0)?;
        if result != Ok(exit::IRQ) {
            return Ok(result);
        }
    }
}

fn on_demand(env: &Env) -> Outcome {
    let (vm, page) = with(env, 0, &TRAPS)?;
    let move_ = |what| ok(Call::VcpuSync, &[vm.id, 0, what]);
    memory::poke(fp(&vm, 0), 0x1234_5678);
    memory::poke(fp(&vm, 64), 0);
    memory::poke(fp(&vm, 65), 0);
    move_(sync::TAKE_FP)?;
    start(&vm);
    set(&vm, PC, RAM + 4 * 4);
    set(&vm, CPACR, 3 << 20);
    same!(vm.next_exit(0)?, Ok(exit::CALL), "the exit");
    same!(window(&vm, 6), 0x1234_5678, "what the guest found in d0");
    move_(sync::SHOW_FP)?;
    same!(memory::peek(fp(&vm, 2)), 0x1111, "what it left in d1");
    // A wait shows where the vCPU is, and x0 when asked.
    start(&vm);
    set(&vm, 4, 0x4444);
    set(&vm, PC, RAM + 4);
    vm.ask_for_waits();
    same!(lazily(&vm)?, Ok(exit::WAIT), "the wait");
    same!(window(&vm, PC), RAM + 8, "PC in a lazy window");
    memory::poke(vm.run_pages[0] + REGS_OFFSET + 8 * 4, 0);
    same!(lazily(&vm)?, Ok(exit::CALL), "the SMC");
    same!(
        window(&vm, 4),
        0x4444,
        "x4 with an exit that is to be answered"
    );
    memory::poke(vm.run_pages[0] + REGS_OFFSET + 8 * 4, 0);
    move_(sync::SHOW_REGS)?;
    same!(window(&vm, 4), 0x4444, "x4 when asked for");
    refused(Call::VcpuSync, &[vm.id, 0, 6], Error::InvalidArgument)?;
    vm.end()?;
    pages::give(page, 1);
    let other = Vm::verified(env)?;
    refused(Call::VcpuSync, &[other.id, 0, 1], Error::InvalidArgument)?;
    other.end()
}

fn traps(env: &Env) -> Outcome {
    for flags in [0, VM_HOST_IDS] {
        let (vm, page) = with(env, flags, &TRAPS)?;
        vm.ask_for_waits();
        start(&vm);
        set(&vm, CPACR, 3 << 20);
        // QEMU's WFE does not trap where CPUs run at once: the first exit may be WFI's.
        same!(vm.next_exit(0)?, Ok(exit::WAIT), "WFE or WFI");
        if window(&vm, PC) == RAM + 4 {
            same!(vm.out(0).size, 1, "what it waits for");
            same!(vm.next_exit(0)?, Ok(exit::WAIT), "WFI");
        }
        same!(vm.out(0).size, 0, "what it waits for");
        same!(vm.next_exit(0)?, Ok(exit::CALL), "SMC");
        same!(vm.out(0).esr >> 26, 0x17, "its class");
        same!(window(&vm, PC), RAM + 8, "PC at it");
        vm.state.lock().answer[0] = (0, 77);
        if flags == VM_HOST_IDS {
            same!(vm.next_exit(0)?, Ok(exit::SYSREG), "the ID register");
            same!(vm.out(0).esr >> 5 & 31, 5, "its Rt");
            vm.state.lock().answer[0] = (0, 0x5678);
        }
        same!(vm.next_exit(0)?, Ok(exit::CALL), "the end");
        same!(window(&vm, 0), 77, "what the SMC returned");
        let ward = ok(
            Call::Info,
            &[hyp_core::abi::calls::info::ID_REGISTERS + 8 * 4],
        )?;
        let wanted = if flags == 0 { ward } else { 0x5678 };
        same!(window(&vm, 5), wanted, "what the guest read");
        vm.end()?;
        pages::give(page, 1);
    }
    refused(
        Call::VmRegister,
        &[3, 0x4000_0000, 0x4000_0000, 1],
        Error::InvalidArgument,
    )
}

fn serror(env: &Env) -> Outcome {
    const VSE: u64 = 1 << 8;
    const A: u64 = 1 << 8;
    let (vm, page) = with(env, 0, &CODE)?;
    let (unmask, unmask_page) = with(env, 0, &UNMASK)?;
    for (vm, taken) in [(&vm, false), (&unmask, true)] {
        vm.state.lock().refuse_memory = true;
        start(vm);
        set(vm, PSTATE, 0x3c5 | A);
        vm.ask_for_serror();
        let reason = vm.next_exit(0)?;
        if taken {
            // The vector is memory that is not there.
            same!(reason, Ok(exit::MEMORY), "the SError's vector");
            same!(window(vm, PC), 0x380, "PC");
            same!(vm.out(0).hcr, 0, "VSE after it");
        } else {
            same!(reason, Ok(exit::CALL), "the call");
            same!(vm.out(0).hcr, VSE, "VSE of a guest that masks it");
        }
    }
    vm.end()?;
    unmask.end()?;
    pages::give(page, 1);
    pages::give(unmask_page, 1);
    Ok(())
}

fn bad_window(env: &Env) -> Outcome {
    let (vm, page) = with_code(env)?;
    for pstate in [0x10, 0x1d3, 0x3c9, 0x3cd] {
        start(&vm);
        set(&vm, PSTATE, pstate);
        same!(vm.step(0)?, Err(Error::InvalidArgument), "a run");
    }
    start(&vm);
    same!(vm.next_exit(0)?, Ok(exit::CALL), "a run at EL1");
    vm.end()?;
    pages::give(page, 1);
    Ok(())
}
