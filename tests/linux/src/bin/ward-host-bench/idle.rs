//! Waiting that can be counted.
//!
//! When all sleep, QEMU with `-icount sleep=off` moves its clock to the next timer, however long
//! the disk still takes: time would count that is no instruction. So a process of the lowest
//! priority runs meanwhile, and counts what it did; the rest is the load's.

use std::arch::asm;

use anyhow::{Context, Result, ensure};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Instructions of one round of the loop.
const ROUND: u64 = 3;

/// The process that runs while nobody else does.
pub(crate) struct Idle {
    rounds: *mut u64,
    process: i32,
}

impl Idle {
    /// Starts it.
    pub(crate) fn start() -> Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: new memory, which nothing else refers to.
        let page = unsafe { mmap_anonymous(std::ptr::null_mut(), 4096, access, MapFlags::SHARED) }
            .context("no memory")?;
        let rounds = page.cast::<u64>();
        // SAFETY: this process has one thread, so its child may do what it likes.
        match unsafe { libc::fork() } {
            0 => run(rounds),
            process => {
                ensure!(process > 0, "cannot fork");
                Ok(Idle { rounds, process })
            }
        }
    }

    /// Instructions that it has run.
    pub(crate) fn instructions(&self) -> u64 {
        // SAFETY: mapped until the drop; the other process writes whole words.
        ROUND * unsafe { self.rounds.read_volatile() }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let mut status = 0;
        // SAFETY: ends and collects the process started above.
        unsafe { libc::kill(self.process, libc::SIGKILL) };
        // SAFETY: as above; `status` is a place for what it writes.
        unsafe { libc::waitpid(self.process, &raw mut status, 0) };
        // SAFETY: the mapping made in `start`; nobody uses it any more.
        let _ = unsafe { munmap(self.rounds.cast(), 4096) };
    }
}

fn run(rounds: *mut u64) -> ! {
    // SAFETY: plain numbers, for which zero is right.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: changes this process's scheduling, by a structure that lives.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) };
    // SAFETY: counts in a shared page that this process maps, for ever.
    unsafe {
        asm!("2: add {n}, {n}, #1", "str {n}, [{at}]", "b 2b",
            n = in(reg) 0_u64, at = in(reg) rounds, options(noreturn, nostack));
    }
}
