//! The story of one guest, for a person who reads the console.

use super::calls::{self, host_call, info, machine};
use super::device;
use super::env::Env;
use super::text::Outcome;
use super::vm::Vm;
use crate::protocol::{PROGRAM, mode};
use crate::rt::pages::PAGE;
use crate::rt::{memory, probe};
use core::sync::atomic::Ordering;
use hyp_core::abi::calls::{info as key, stat};
use hyp_core::abi::run::exit;
use hyp_core::abi::{Call, Error};

/// Tells it, and says at the end whether the guest said that all is well.
pub(crate) fn run(env: &Env) {
    device::STORY.store(true, Ordering::Relaxed);
    match tell(env) {
        Ok(()) => println!("WARD-DEMO: guest reported success"),
        Err(why) => println!("demo: FAIL: {}", why.text().get()),
    }
    println!("WARD-DEMO: done");
}

fn tell(env: &Env) -> Outcome {
    let version = calls::ok(Call::Version, &[])?;
    println!(
        "host : running at EL1 on {} CPU(s), beneath Ward (interface {}.{})",
        env.cpus(),
        version >> 16,
        version & 0xffff
    );
    println!(
        "host : {} of {} frames of memory are mine, {} are Ward's; up to {} VMs of {} address bits",
        machine(stat::HOST_FRAMES),
        machine(stat::FRAMES),
        machine(stat::HYP_FRAMES),
        info(key::MAX_VMS) - 1,
        info(key::IPA_BITS),
    );
    let before = calls::owners();
    changed_image(env)?;
    println!("host : building the guest anew, with the images as their owner signed them");
    let vm = Vm::protected(env)?;
    println!(
        "host : vm_register, vm_donate, 2 x vcpu_register: VM {}",
        vm.id
    );
    if let Err(error) = vm.boot_info(&env.owner.signed()) {
        fail!("vm_set_boot_info refused: {error:?}");
    }
    println!("host : vm_set_boot_info: the manifest is signed by a key that Ward trusts");
    vm.load(env)?;
    let program = env.owner.image(0).len();
    println!(
        "host : vm_remap_image: {} KiB of program and data are the guest's now, not mine",
        (program + env.owner.image(1).len()) / 1024
    );
    match vm.verify() {
        Ok(calls) => println!("host : vm_verify_images: verified in {calls} calls"),
        Err(error) => fail!("vm_verify_images: {error:?}"),
    }
    println!("host : vcpu_run: the guest starts at its signed entry point");
    vm.tell(mode::CHECK, 0);
    let spied = core::cell::Cell::new(false);
    let end = vm.run_until(|vm| {
        // In the middle of its life the host tries to look into it.
        if !spied.get() && vm.state.lock().exits[exit::MEMORY as usize] > 12 {
            spied.set(true);
            spy(env, vm);
        }
        false
    })?;
    same!(end, exit::SYSTEM_OFF, "the guest's last exit");
    let report = vm.state.lock().device.report;
    println!("host : the guest switched itself off");
    match host_call(Call::VcpuRun, &[vm.id, 0]) {
        Ok(reply) if reply.x1 == exit::SYSTEM_OFF => {
            println!("host : attack: run it once more: it is off, says the exit");
        }
        other => fail!("a guest that is off ran again: {other:?}"),
    }
    vm.destroy()?;
    same!(calls::owners(), before, "frames of host, Ward and VMs");
    println!("host : vm_destroy: all frames are mine again, every one of them zeroed");
    match report {
        Some(0) => Ok(()),
        other => fail!("the guest's report is {other:?}"),
    }
}

/// One flipped bit in the program, behind the owner's back.
fn changed_image(env: &Env) -> Outcome {
    let vm = Vm::protected(env)?;
    if let Err(error) = vm.boot_info(&env.owner.signed()) {
        fail!("vm_set_boot_info refused: {error:?}");
    }
    vm.load_image(env, 0, |frames, _| {
        memory::poke(frames + 512, memory::peek(frames + 512) ^ 1)
    })?;
    vm.load_image(env, 1, |_, _| {})?;
    match vm.verify() {
        Err(Error::BadDigest) => {
            println!("host : attack: one bit of the program flipped: refused, BadDigest")
        }
        other => fail!("a changed program: {other:?}"),
    }
    vm.destroy()
}

/// Reads the guest's memory and Ward's.
fn spy(env: &Env, vm: &Vm) {
    let Some(frame) = vm.frame_of(PROGRAM + PAGE) else {
        return;
    };
    for (what, address) in [("the guest's memory", frame), ("Ward's memory", env.ward)] {
        match probe::read(address) {
            Err(fault) => println!("host : attack: read {what} at {address:#x}: {fault}"),
            Ok(word) => println!("host : FAIL: {what} at {address:#x} reads {word:#x}"),
        }
    }
}
