//! Routes past the host's own KVM, which would refuse: Ward's calls, made on a guest that runs.

use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};
use hyp_core::abi::Call;
use hyp_core::abi::calls::{info, stat};
use hyp_core::abi::run::sync;
use hyp_core::abi::vm_state;

use super::Target;
use super::kernel::{peek, search_secret};
use super::physical;
use crate::guest::protocol::RAM;
use crate::guest::{self, Guest};

/// `ward_peek`'s CALL: `_IOWR('W', 1, u64[8])`.
const CALL: u64 = 0xc040_5701;

/// A host's kernel that calls Ward itself.
struct Kernel(std::fs::File);

impl Kernel {
    /// By the module.
    fn new() -> Result<Self> {
        peek().map(Kernel)
    }

    /// Makes a call: `x0` and `x1` of its answer.
    fn call(&self, call: Call, args: &[u64]) -> Result<(i64, u64)> {
        let mut words = [0_u64; 8];
        words[0] = u64::from(call.function_id());
        words[1..=args.len()].copy_from_slice(args);
        // SAFETY: the module reads and writes eight words there.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), CALL as _, words.as_mut_ptr()) };
        ensure!(
            done == 0,
            "the module does not call Ward: {}",
            std::io::Error::last_os_error()
        );
        Ok((words[0].cast_signed(), words[1]))
    }

    /// Numbers of all VMs, with their states.
    fn all(&self) -> Result<Vec<(u64, u64)>> {
        let (status, count) = self.call(Call::Info, &[info::MAX_VMS])?;
        ensure!(status == 0 && count > 0, "Ward does not say how many VMs");
        let mut found = Vec::new();
        for vm in 1..=count {
            if let (0, state) = self.call(Call::StatRead, &[vm, stat::VM_STATE])? {
                found.push((vm, state));
            }
        }
        Ok(found)
    }

    /// Numbers of the VMs that run what was verified.
    fn verified(&self) -> Result<Vec<u64>> {
        let all = self.all()?.into_iter();
        let found: Vec<u64> = all
            .filter(|(_, state)| *state == vm_state::VERIFIED)
            .map(|(vm, _)| vm)
            .collect();
        ensure!(!found.is_empty(), "Ward has no VM that is verified");
        Ok(found)
    }

    /// Makes a call that nothing may come of.
    fn refused(&self, call: Call, args: &[u64]) -> Result<()> {
        // What came of it the guest says: an answer proves nothing.
        let (status, _) = self.call(call, args)?;
        println!("{call:?}: {status}");
        Ok(())
    }
}

/// No VM's number is in use.
pub(crate) fn all_free() -> Result<()> {
    let used = Kernel::new()?.all()?;
    ensure!(
        used.is_empty(),
        "VMs that are not free (number, state): {used:?}"
    );
    Ok(())
}

/// Where the target's pages are in the machine, before anything happens to them.
pub(super) fn frames(target: &Target) -> Result<Vec<u64>> {
    let frame = |&page: &usize| physical(target, page)?.context("a page of the guest is nowhere");
    target.pages.iter().map(frame).collect()
}

/// Takes these frames back, of whichever VM they are.
pub(crate) fn reclaim(frames: &[u64]) -> Result<()> {
    let kernel = Kernel::new()?;
    for vm in kernel.verified()? {
        for &frame in frames {
            kernel.refused(Call::VmClearRange, &[vm, frame, 1])?;
        }
    }
    Ok(())
}

/// Takes the guest's pages out of its translation, and makes them read-only.
pub(super) fn unmap(guest: &Guest, target: &Target) -> Result<()> {
    let kernel = Kernel::new()?;
    for vm in kernel.verified()? {
        for &page in &target.pages {
            let ipa = RAM + (page - guest.address(RAM)) as u64;
            kernel.refused(Call::VmUnmap, &[vm, ipa, 0])?;
            kernel.refused(Call::VmUnmapRange, &[vm, ipa, 0, 1])?;
            kernel.refused(Call::VmAge, &[vm, ipa, 0])?;
            // Neither write (1) nor execute (2), of the page or of the block around it.
            kernel.refused(Call::VmProtect, &[vm, ipa, 0, 1, 0, 3])?;
            let block = ipa & !((1 << 21) - 1);
            kernel.refused(Call::VmProtect, &[vm, block, 9, 1, 0, 3])?;
        }
    }
    Ok(())
}

/// Has the registers of a vCPU that rests shown in the page that its kernel shares with Ward.
pub(super) fn registers(guest: &Guest) -> Result<()> {
    let kernel = Kernel::new()?;
    guest.held(0, || {
        for vm in kernel.verified()? {
            kernel.refused(Call::VcpuSync, &[vm, 0, sync::SHOW_REGS | sync::SHOW_FP])?;
        }
        search_secret()
    })
}

/// Looks through all of the host's memory after the guest has ended.
pub(super) fn left_behind(guest: Guest) -> Result<()> {
    guest::pages(64).try_for_each(|page| guest.hide(page))?;
    guest.end()?;
    search_secret()
}
