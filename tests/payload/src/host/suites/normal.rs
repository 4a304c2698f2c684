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
use hyp_core::abi::run::{REGS_OFFSET, exit, in_flags};
use hyp_core::abi::{Call, Error};

/// The tests.
pub(super) const TESTS: &[Test] = &[
    test("run-with-registers-of-the-host", run),
    test("lend-and-take-back", lend),
    test("write-protect-and-age", protect_and_age),
    test("lent-page-cannot-be-given-away", lent),
    test("frames-of-others-cannot-be-lent", others_frames),
    test("calls-for-protected-vms-on-a-normal-one", protected_calls),
    test("vm_unmap-wrong", unmap_wrong),
];

/// hvc #0; str x3, [x2]; hvc #0; b .
const CODE: [u32; 4] = [0xd400_0002, 0xf900_0043, 0xd400_0002, 0x1400_0000];
/// Words of the window: PC, PSTATE (after x0 to x30 and SP_EL0).
const PC: u64 = 32;
const PSTATE: u64 = 33;

/// A normal VM with [`CODE`] at the start of its RAM, in the page returned.
fn with_code(env: &Env) -> Outcome<(Vm, u64)> {
    let vm = Vm::register(env, 0)?;
    let page = pages::take_one();
    memory::fill(page, 4096, 0);
    for (n, word) in (0..).zip(CODE) {
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
