//! Routes to a guest's registers: KVM's ioctls, and the page that kernel and VMM share.

use std::os::fd::RawFd;

use anyhow::{Context, Result, ensure};

use super::{Target, calls, no_secret};
use crate::guest::Guest;
use crate::memory::PAGE;
use crate::vm;

/// Every register of a vCPU that rests with secrets in all of them.
pub(super) fn get(guest: &Guest, _: &Target) -> Result<()> {
    let vcpu = guest.vcpu(0);
    guest.held(0, || {
        for id in vm::register_list(vcpu)? {
            if let Ok(value) = vm::register(vcpu, id) {
                no_secret(&value).with_context(|| format!("register {id:#x}"))?;
            }
        }
        Ok(())
    })
}

/// All general and FP registers, the program counter, and what else there is, written.
pub(super) fn set(guest: &Guest, _: &Target) -> Result<()> {
    let vcpu = guest.vcpu(0);
    // That they are what they were, the guest says at the end of `held`.
    guest.held(0, || {
        for id in vm::register_list(vcpu)? {
            // Core registers and system registers; what only KVM has is no guest's.
            let kind = id >> 16 & 0xfff;
            if kind == 0x10 || kind == 0x13 {
                let size = 1_usize << (id >> 52 & 0xf);
                let _ = vm::set_register(vcpu, id, vec![0x5a; size]);
            }
        }
        Ok(())
    })
}

/// The page that tells the VMM of an exit; then the one that tells the kernel, if it asks for all.
pub(super) fn run_page(guest: &Guest, _: &Target) -> Result<()> {
    let vcpu = guest.vcpu(0);
    guest.held(0, || {
        let bytes = mapped(vcpu)?;
        no_secret(&bytes)
    })?;
    calls::registers(guest)
}

fn mapped(vcpu: RawFd) -> Result<Vec<u8>> {
    // SAFETY: a new mapping of a vCPU's first page, at a place that the kernel chooses.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            PAGE,
            libc::PROT_READ,
            libc::MAP_SHARED,
            vcpu,
            0,
        )
    };
    ensure!(page != libc::MAP_FAILED, "the run page cannot be mapped");
    let bytes = (0..PAGE)
        .map(|at| {
            let byte = page.cast::<u8>().wrapping_add(at);
            // SAFETY: within the mapping made above; the vCPU rests, so nobody writes there.
            unsafe { byte.read_volatile() }
        })
        .collect();
    // SAFETY: the mapping made above; no reference to it is left.
    unsafe { libc::munmap(page, PAGE) };
    Ok(bytes)
}
