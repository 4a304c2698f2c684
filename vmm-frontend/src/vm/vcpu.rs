//! A vCPU's thread: runs the guest, and serves what comes back.

use super::{Ending, Exits, Outcome};
use crate::bus::Bus;
use hyp_core::abi::Error as WardError;
use kvm_bindings as b;
use kvm_ioctls::{VcpuExit, VcpuFd};
use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

/// How long a refused vCPU waits for another to say that the guest is off.
const OTHERS_WORD: Duration = Duration::from_millis(300);
/// Accesses to nowhere that are told in the log; a guest could make millions.
const TOLD: u64 = 16;

thread_local! {
    /// What KVM_RUN of this thread shares with the kernel, for the signal handler.
    static RUN: Cell<*mut b::kvm_run> = const { Cell::new(std::ptr::null_mut()) };
}

/// What a vCPU's thread works with.
pub(super) struct Vcpu {
    pub(super) fd: VcpuFd,
    pub(super) index: usize,
    pub(super) bus: Arc<Bus>,
    pub(super) ending: Arc<Ending>,
    pub(super) exits: Arc<Vec<Exits>>,
    pub(super) stop: Arc<AtomicBool>,
}

/// The signal that gets a vCPU out of the guest.
pub(super) fn kick_signal() -> i32 {
    SIGRTMIN()
}

/// Makes [`kick_signal`] end KVM_RUN, whether it comes before or during it.
pub(super) fn handle_kicks() -> io::Result<()> {
    extern "C" fn on_kick(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        let run = RUN.get();
        if !run.is_null() {
            // SAFETY: set by `Vcpu::run` of this thread to the mapping that its `VcpuFd` owns, and
            // reset before that goes; the field is read by the kernel only.
            let field = unsafe { &raw mut (*run).immediate_exit };
            // SAFETY: as above, and one byte cannot be torn.
            unsafe { field.write_volatile(1) };
        }
    }
    Ok(register_signal_handler(kick_signal(), on_kick)?)
}

impl Vcpu {
    /// Runs until the guest, an error or `stop` ends it.
    pub(super) fn run(mut self) {
        RUN.set(self.fd.get_kvm_run());
        while !self.stop.load(Ordering::Acquire) {
            if let Some(outcome) = self.turn() {
                self.ending.end(outcome);
                break;
            }
        }
        RUN.set(std::ptr::null_mut());
    }

    /// Once into the guest and out again.
    fn turn(&mut self) -> Option<Outcome> {
        let exits = &self.exits[self.index];
        let exit = match self.fd.run() {
            Ok(exit) => exit,
            Err(error) => match error.errno() {
                libc::EINTR | libc::EAGAIN => {
                    Exits::add(&exits.signals);
                    // The next KVM_RUN is to run again, if there is one.
                    self.fd.set_kvm_immediate_exit(0);
                    return None;
                }
                errno => return Some(failed(self.index, why_errno(errno))),
            },
        };
        match exit {
            VcpuExit::MmioRead(address, data) => {
                Exits::add(&exits.mmio_reads);
                if !self.bus.read(address, data) {
                    nowhere(exits, "read", address);
                }
                return None;
            }
            VcpuExit::MmioWrite(address, data) => {
                Exits::add(&exits.mmio_writes);
                if !self.bus.write(address, data) {
                    nowhere(exits, "wrote", address);
                }
                return None;
            }
            _ => Exits::add(&exits.others),
        };
        let why = match exit {
            VcpuExit::SystemEvent(b::KVM_SYSTEM_EVENT_SHUTDOWN, _) => {
                return Some(Outcome::PowerOff);
            }
            VcpuExit::SystemEvent(b::KVM_SYSTEM_EVENT_RESET, _) => return Some(Outcome::Reset),
            VcpuExit::SystemEvent(b::KVM_SYSTEM_EVENT_CRASH, _) => return Some(Outcome::Panicked),
            // Asked for by nobody: KVM's suspend event is off.
            VcpuExit::SystemEvent(..) | VcpuExit::Intr => return None,
            VcpuExit::FailEntry(reason, cpu) => {
                let reason = why_refused(reason, cpu);
                if reason.1 {
                    std::thread::sleep(OTHERS_WORD);
                }
                reason.0
            }
            VcpuExit::InternalError => {
                "KVM met something that it cannot emulate (KVM_EXIT_INTERNAL_ERROR); `dmesg` says what"
                    .into()
            }
            VcpuExit::MemoryFault { gpa, size, .. } => why_memory(gpa, size),
            other => format!("KVM came back with an exit that arm64 does not have: {other:?}"),
        };
        Some(failed(self.index, why))
    }
}

fn nowhere(exits: &Exits, what: &str, address: u64) {
    if Exits::add(&exits.nowhere) < TOLD {
        log::warn!("the guest {what} at {address:#x}, where no device is");
    }
}

fn failed(index: usize, why: String) -> Outcome {
    Outcome::Failed(format!("CPU {index} of the guest does not go on: {why}"))
}

fn why_memory(gpa: u64, size: u64) -> String {
    format!(
        "it used {size} bytes of memory at {gpa:#x} that the host could not give: none is left, or the \
         address lies outside what the guest was made with"
    )
}

fn why_errno(errno: i32) -> String {
    match errno {
        libc::ENOSYS => {
            "it accessed a device with an instruction that cannot be emulated: a pair, SIMD or \
                         atomic access, or a fetch from where no memory is"
                .into()
        }
        libc::EFAULT => {
            "memory of the guest is missing in this process, or the host may not touch it".into()
        }
        libc::ENOMEM => {
            "the host has no memory left to give it; end other programs, or raise the limit of \
                         locked memory (`ulimit -l`)"
                .into()
        }
        libc::EPERM => "Ward or KVM does not permit it (`ward log`)".into(),
        libc::ENOEXEC => "it was not set up (`dmesg | tail`)".into(),
        libc::EHWPOISON => {
            "its memory is broken: the hardware reported an error that cannot be corrected".into()
        }
        errno => format!("KVM_RUN: {}", io::Error::from_raw_os_error(errno)),
    }
}

/// Ward's reason, and whether another vCPU may know better.
fn why_refused(reason: u64, cpu: u32) -> (String, bool) {
    let error = WardError::from_code(reason as i64);
    let text = match error {
        Some(WardError::BadState) => {
            "Ward does not run it: the VM was not verified, or is powered off".into()
        }
        Some(error) => format!("Ward does not run it: {error:?} (`ward log` may say more)"),
        None => format!("CPU {cpu} of the host refused it for reason {reason:#x} (`dmesg | tail`)"),
    };
    (text, error == Some(WardError::BadState))
}
