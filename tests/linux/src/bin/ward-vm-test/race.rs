//! Two VMMs at one VM: threads of one process that interfere with each other's steps, and a second
//! process that was given the VM's files.

use std::os::fd::AsRawFd;
use std::thread;

use anyhow::{Result, bail, ensure};
use hyp_core::abi::bundle::Bundle;

use crate::attack;
use crate::guest::{Guest, SECRETS};
use crate::vm::{self, Begun, Config};

/// Does the one of that name.
pub(crate) fn run(name: &str) -> Result<()> {
    match name {
        "threads" => threads(),
        "processes" => processes(),
        _ => bail!("there is no race {name}"),
    }
}

/// Two threads take each step at once. One of them wins each, or both have lost; what runs at the
/// end is what was signed.
fn threads() -> Result<()> {
    let bytes = vm::bundle()?;
    let bundle = Bundle::parse(&bytes).map_err(|bad| anyhow::anyhow!("{bad:?}"))?;
    for round in 0..8 {
        let begun = Begun::new(&bytes, Config::PROTECTED, &|_| ())?;
        ensure!(
            begun.ward,
            "there is no Ward below, which this race is about"
        );
        let both = |step: &(dyn Fn(&Begun) -> Result<()> + Sync)| -> usize {
            thread::scope(|scope| {
                let racers = [0, 1].map(|_| scope.spawn(|| step(&begun).is_ok()));
                racers
                    .into_iter()
                    .filter_map(|racer| racer.join().ok())
                    .filter(|won| *won)
                    .count()
            })
        };
        let won = both(&|vm| vm.boot_info(&bundle));
        ensure!(won == 1, "round {round}: {won} of two gave the boot info");
        for index in 0..bundle.images().len() {
            let won = both(&|vm| vm.image(&bundle, index));
            ensure!(won <= 1, "round {round}: {won} of two gave image {index}");
            if won == 0 {
                // Each gave a part, and was told that the rest is there already.
                continue;
            }
        }
        let won = both(&|vm| vm.verify());
        if won == 0 {
            // Their images are torn between them: it must not run, and must be gone.
            continue;
        }
        let guest = Guest::run(begun.vm)?;
        guest.hide(SECRETS)?;
        guest.intact(SECRETS)?;
        guest.end()?;
    }
    Ok(())
}

/// A second process with the same files may do nothing with them, and nothing without them if its
/// kernel calls Ward for it.
fn processes() -> Result<()> {
    let guest = Guest::start(Config::PROTECTED)?;
    guest.hide(SECRETS)?;
    let (vm, vcpu) = (guest.vm(), guest.vcpu(0).as_raw_fd());
    const KVM_RUN: libc::c_int = 0xae80;
    const KVM_CREATE_VCPU: libc::c_int = 0xae41;
    let address = guest.address(SECRETS);
    let frame = attack::frame(address)?;
    // What a fork does to the guest's pages is another test.
    let memory = guest.memory();
    let first = memory.start() as *mut libc::c_void;
    // SAFETY: the advice changes no contents.
    unsafe { libc::madvise(first, memory.size(), libc::MADV_DONTFORK) };
    // SAFETY: the child makes system calls, allocates in a process whose other threads only wait for
    // the guest, and leaves by `_exit`.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: ioctls without a pointer.
            let run = unsafe { libc::ioctl(vcpu, KVM_RUN, 0) };
            // SAFETY: as above.
            let create = unsafe { libc::ioctl(vm, KVM_CREATE_VCPU, 5) };
            let code = i32::from(run >= 0) | i32::from(create >= 0) << 1;
            // What comes of this one the guest says.
            let _ = attack::calls::reclaim(&[frame]);
            // SAFETY: ends this process without anything else.
            unsafe { libc::_exit(code) }
        }
        -1 => bail!("cannot fork"),
        child => {
            let mut status = 0;
            // SAFETY: `status` is a place for what it writes.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            ensure!(status == 0, "another process used the VM: {status:#x}");
        }
    }
    guest.intact(SECRETS)?;
    guest.end()
}
