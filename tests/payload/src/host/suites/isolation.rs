//! Attacks on what a guest has, and on what Ward has.

use crate::host::calls::{ok, refused};
use crate::host::env::Env;
use crate::host::tally::{Test, smp_test, test};
use crate::host::text::Outcome;
use crate::host::vm::Vm;
use crate::host::{attack, run};
use crate::host::{is_zero, others};
use crate::protocol::{DATA, FAULTED, PROGRAM, SPARE, mode};
use crate::rt::lock::Lock;
use crate::rt::pages;
use crate::rt::{memory, probe, smp};
use hyp_core::abi::run::{IN_OFFSET, REGS_OFFSET, in_flags};
use hyp_core::abi::{Call, Error};
use hyp_core::vcpu::context::WINDOW_WORDS;

/// The tests.
pub(super) const TESTS: &[Test] = &[
    test("guest-memory-from-the-host", guest_memory),
    test("records-and-tables-from-the-host", records),
    test(
        "register-window-of-a-protected-vm-is-ignored",
        register_window,
    ),
    test("unknown-run-flags-refused", run_flags),
    test("stale-translation-after-donation", stale),
    smp_test("stale-translation-on-another-cpu", stale_elsewhere),
    test("memory-comes-back-zero", comes_back_zero),
    test("guest-reads-another-guest", other_guest),
    test("guest-reads-host-and-ward", guest_reads_out),
    test("frame-of-one-guest-for-another", frame_for_another),
    test("shared-page-cannot-be-given-away", shared_page),
    test("host-memory-beside-guest-memory-stays", neighbours),
];

fn guest_memory(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    same!(vm.ask(mode::HIDE, SPARE)?, 0, "secrets written");
    for ipa in [PROGRAM, DATA, SPARE, SPARE + 4088] {
        let Some(frame) = vm.frame_of(ipa) else {
            fail!("no frame at {ipa:#x}")
        };
        attack::must_abort_everywhere(frame, "the guest's memory")?;
    }
    same!(
        vm.ask(mode::VERIFY, SPARE)?,
        0,
        "words of the guest that changed"
    );
    vm.shut_down()?;
    let Some(frame) = vm.frame_of(SPARE) else {
        fail!("no frame")
    };
    attack::must_abort_everywhere(frame, "the memory of a guest that is off")?;
    vm.destroy()
}

fn records(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    let Some(record) = vm.frame_of_ward() else {
        fail!("no record")
    };
    attack::must_abort_everywhere(record, "a VM's record")?;
    // A run page that is given to Ward again while it is one.
    refused(Call::VmMap, &[vm.id, SPARE, record, 0, 3], Error::Denied)?;
    vm.end()
}

/// The host asks for another PC, PSTATE and registers: a protected vCPU takes none of it.
fn register_window(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    let page = vm.run_pages[0];
    for n in 0..WINDOW_WORDS as u64 {
        memory::poke(page + REGS_OFFSET + 8 * n, 0xbad0_0000 + n);
    }
    // The guest still starts at its signed entry and answers.
    same!(vm.ask(mode::HIDE, SPARE)?, 0, "answer of the guest");
    for flags in [in_flags::REGS_DIRTY] {
        memory::poke(page + IN_OFFSET, flags);
        for n in 0..WINDOW_WORDS as u64 {
            memory::poke(page + REGS_OFFSET + 8 * n, 0xbad0_0000 + n);
        }
        run::tick();
        let result = crate::host::calls::host_call(Call::VcpuRun, &[vm.id, 0]);
        ensure!(
            matches!(result, Ok(_) | Err(Error::InvalidArgument)),
            "run with REGS_DIRTY: {result:?}"
        );
        for n in 0..WINDOW_WORDS as u64 {
            same!(
                memory::peek(page + REGS_OFFSET + 8 * n),
                0xbad0_0000 + n,
                "the register window after a run"
            );
        }
        if let Ok(reply) = result {
            vm.settle(0, reply.x1)?;
        }
    }
    same!(
        vm.ask(mode::VERIFY, SPARE)?,
        0,
        "words of the guest that changed"
    );
    vm.shut_down()?;
    vm.destroy()
}

fn run_flags(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    for flags in [in_flags::ALL + 1, 1 << 63, u64::MAX] {
        memory::poke(vm.run_pages[0] + IN_OFFSET, flags);
        refused(Call::VcpuRun, &[vm.id, 0], Error::InvalidArgument)?;
    }
    memory::poke(vm.run_pages[0] + IN_OFFSET, 0);
    vm.shut_down()?;
    vm.destroy()
}

fn stale(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    let page = pages::take_one();
    for round in 0..16 {
        memory::poke(page + 8 * round, round); // this CPU's TLB has it now
    }
    vm.took_by_map(SPARE, page)?;
    attack::must_abort(page, "a page given to the guest")?;
    same!(vm.ask(mode::READ, SPARE)?, 0, "what the guest reads");
    vm.end()
}

fn stale_elsewhere(env: &Env) -> Outcome {
    let Some(cpu) = others().next() else {
        return Ok(());
    };
    for round in 0..20 {
        let vm = Vm::verified(env)?;
        let page = pages::take_one();
        smp::while_on(cpu, &|| memory::poke(page, round), || ());
        memory::poke(page + 8, round);
        vm.took_by_map(SPARE, page)?;
        attack::must_abort_on(cpu, page, "a page given to the guest")?;
        attack::must_abort(page, "a page given to the guest")?;
        vm.end()?;
        let there = Lock::new(Ok(1));
        smp::while_on(cpu, &|| *there.lock() = probe::read(page), || ());
        ensure!(
            *there.lock() == Ok(0),
            "the page on the other CPU after vm_destroy: {:x?}",
            *there.lock()
        );
    }
    Ok(())
}

fn comes_back_zero(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    for ipa in [SPARE, SPARE + 0x5000] {
        same!(vm.ask(mode::HIDE, ipa)?, 0, "secrets written");
    }
    let Some(frame) = vm.frame_of(SPARE) else {
        fail!("no frame")
    };
    vm.shut_down()?;
    vm.destroy()?; // looks at every frame
    ensure!(is_zero(frame), "a secret came back");
    Ok(())
}

fn other_guest(env: &Env) -> Outcome {
    let (one, two) = (Vm::verified(env)?, Vm::verified(env)?);
    same!(one.ask(mode::HIDE, SPARE)?, 0, "secrets written");
    let Some(frame) = one.frame_of(SPARE) else {
        fail!("no frame")
    };
    // By the same address it sees its own memory; by the physical address nothing, unless that is
    // an address of its own RAM, which is its own memory again.
    same!(
        two.ask(mode::READ, SPARE)?,
        0,
        "the other guest's page at the same IPA"
    );
    let physical = two.ask(mode::READ, frame)?;
    ensure!(
        physical == FAULTED || physical == 0,
        "the other guest's frame by its address: {physical:#x}"
    );
    same!(
        one.ask(mode::VERIFY, SPARE)?,
        0,
        "words of the first guest that changed"
    );
    one.shut_down()?;
    two.shut_down()?;
    one.destroy()?;
    two.destroy()
}

fn guest_reads_out(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    let secret = pages::take_one();
    memory::poke(secret, 0x686f_7374);
    for address in [
        secret,
        env.ward,
        env.board.gicd,
        env.board.uart + 0x1000_0000,
        env.board.ram_end() - 4096,
    ] {
        let word = vm.ask(mode::READ, address)?;
        ensure!(
            word == FAULTED || word == 0,
            "the guest read {word:#x} at {address:#x}"
        );
    }
    same!(memory::peek(secret), 0x686f_7374, "the host's page");
    pages::give(secret, 1);
    vm.shut_down()?;
    vm.destroy()
}

fn frame_for_another(env: &Env) -> Outcome {
    let (one, two) = (Vm::verified(env)?, Vm::verified(env)?);
    let frame = one.give(SPARE, 0)?;
    refused(Call::VmMap, &[two.id, SPARE, frame, 0, 3], Error::Denied)?;
    refused(
        Call::VmMap,
        &[one.id, SPARE + 4096, frame, 0, 3],
        Error::Denied,
    )?;
    // Clearing by way of another VM returns nothing.
    ok(Call::VmPowerOff, &[two.id])?;
    same!(
        ok(Call::VmClearRange, &[two.id, frame, 1])?,
        0,
        "frames returned"
    );
    attack::must_abort(frame, "the guest's memory")?;
    two.destroy()?;
    one.end()
}

fn shared_page(env: &Env) -> Outcome {
    let (one, two) = (Vm::verified(env)?, Vm::verified(env)?);
    same!(one.ask(mode::HIDE, SPARE)?, 0, "secrets written");
    same!(one.ask(mode::SHARE, SPARE)?, 0, "MEM_SHARE");
    let Some(frame) = one.frame_of(SPARE) else {
        fail!("no frame")
    };
    ensure!(probe::read(frame).is_ok(), "a shared page is not readable");
    refused(Call::VmMap, &[two.id, SPARE, frame, 0, 3], Error::Denied)?;
    refused(Call::VmDonate, &[two.id, frame, 1], Error::Denied)?;
    refused(Call::HostDonate, &[frame, 1], Error::Denied)?;
    ensure!(
        probe::read(frame).is_ok(),
        "a shared page is not readable any more"
    );
    same!(one.ask(mode::UNSHARE, SPARE)?, 0, "MEM_UNSHARE");
    attack::must_abort_everywhere(frame, "a page shared no more")?;
    same!(one.ask(mode::SHARE, SPARE)?, 0, "MEM_SHARE again");
    same!(
        one.ask(mode::VERIFY, SPARE)?,
        0,
        "words of the guest that changed"
    );
    one.shut_down()?;
    one.destroy()?; // a shared page comes back zero as well
    two.end()
}

fn neighbours(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    let frames = pages::take(512, 512);
    for n in 0..512 {
        memory::poke(frames + n * 4096, n);
    }
    vm.took_by_map(SPARE, frames + 77 * 4096)?;
    vm.took_by_map(SPARE + 4096, frames + 511 * 4096)?;
    for n in (0..511).filter(|n| *n != 77) {
        same!(
            probe::read(frames + n * 4096).ok(),
            Some(n),
            "a page beside"
        );
    }
    vm.end()?;
    for n in 0..512 {
        let expected = if n == 77 || n == 511 { 0 } else { n };
        same!(
            probe::read(frames + n * 4096).ok(),
            Some(expected),
            "a page afterwards"
        );
    }
    // The two were given back to the allocator by the VM's end.
    pages::give(frames, 77);
    pages::give(frames + 78 * 4096, 433);
    Ok(())
}
