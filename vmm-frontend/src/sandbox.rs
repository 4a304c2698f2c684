//! What the threads of a running guest may still ask of the kernel.
//!
//! A guest that breaks into the VMM by a mistake in a device finds itself where nothing can be
//! opened, started or traced: files, sockets and `/dev/kvm` were opened before. Each kind of thread
//! has a list of its own. A call that is not on it raises SIGSYS, which ends the process with a
//! message; `--no-seccomp` leaves the lists away.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule,
};
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// A kind of thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Thread {
    /// Runs a vCPU, and what devices do when their registers are written.
    Vcpu,
    /// Serves the devices.
    Devices,
    /// Answers `ward stats` and its like, and waits for the end.
    Control,
}

/// A list could not be made or put on.
#[derive(Debug, thiserror::Error)]
#[error("the list of permitted system calls: {0}")]
pub struct SandboxError(String);

/// A list, ready to be put on.
#[derive(Clone, Debug)]
pub struct Filter(BpfProgram);

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Every thread: memory, locks, time, and ending.
const COMMON: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_read,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    libc::SYS_tkill,
    libc::SYS_write,
    libc::SYS_writev,
];

/// What virtio devices do on the device thread.
const DEVICES: &[i64] = &[
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_fallocate,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_lseek,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
];

/// The thread that waits for the end and answers.
const CONTROL: &[i64] = &[
    libc::SYS_accept4,
    libc::SYS_getppid,
    libc::SYS_lseek,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_unlinkat,
];

/// Requests of `ioctl` by thread. vhost's (type 0xaf) and tap's are made when a driver is ready,
/// which a vCPU's write of a register says; a reset comes from there too.
const KVM_RUN: u64 = 0xae80;
const KVM_IRQ_LINE: u64 = 0x4008_ae61;
const TUNSETOFFLOAD: u64 = 0x4004_54d0;
const TUNSETVNETHDRSZ: u64 = 0x4004_54d8;
const TCGETS: u64 = 0x5401;
const TCSETS: u64 = 0x5402;
const TIOCGWINSZ: u64 = 0x5413;
const VHOST: u64 = 0xaf00;

impl Filter {
    /// The list of a kind of thread.
    ///
    /// # Errors
    /// [`SandboxError`] for a machine that the lists are not made for.
    pub fn new(thread: Thread) -> Result<Self, SandboxError> {
        build(thread)
            .map(Filter)
            .map_err(|e| SandboxError(e.to_string()))
    }

    /// Puts it on the calling thread, for good.
    ///
    /// # Errors
    /// [`SandboxError`] when the kernel has no seccomp.
    pub fn apply(&self) -> Result<(), SandboxError> {
        seccompiler::apply_filter(&self.0).map_err(|e| SandboxError(e.to_string()))
    }
}

fn build(thread: Thread) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules = Rules::new();
    let mut allow = |calls: &[i64]| rules.extend(calls.iter().map(|&call| (call, vec![])));
    allow(COMMON);
    let ioctls: &[u64] = match thread {
        Thread::Vcpu => {
            // Registers of virtio devices are written here: descriptors are duplicated, and
            // workers told.
            allow(&[
                libc::SYS_epoll_ctl,
                libc::SYS_eventfd2,
                libc::SYS_timerfd_settime,
            ]);
            &[
                KVM_RUN,
                KVM_IRQ_LINE,
                TUNSETOFFLOAD,
                TUNSETVNETHDRSZ,
                TCGETS,
                TCSETS,
            ]
        }
        Thread::Devices => {
            allow(DEVICES);
            &[KVM_IRQ_LINE, TUNSETOFFLOAD, TUNSETVNETHDRSZ, TCGETS, TCSETS]
        }
        Thread::Control => {
            allow(CONTROL);
            &[TCGETS, TCSETS, TIOCGWINSZ]
        }
    };
    let mut requests = Vec::new();
    for &request in ioctls {
        requests.push(rule(1, Op::Eq, request)?);
    }
    if thread != Thread::Control {
        requests.push(rule(1, Op::MaskedEq(0xff00), VHOST)?);
    }
    rules.insert(libc::SYS_ioctl, requests);
    // New memory, but none that can be executed.
    let exec = libc::PROT_EXEC as u64;
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![rule(2, Op::MaskedEq(exec), 0)?]);
    }
    let fcntl = [
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_GETFD,
        libc::F_SETFD,
    ];
    let mut kinds = Vec::new();
    for command in fcntl {
        kinds.push(rule(1, Op::Eq, command as u64)?);
    }
    rules.insert(libc::SYS_fcntl, kinds);
    // A handler may be reset, for the process to die of what it caught.
    rules.insert(libc::SYS_rt_sigaction, vec![]);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Trap,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    filter.try_into()
}

/// Argument `index` (32 bits) compared with `value`.
fn rule(index: u8, op: Op, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(index, Len::Dword, op, value)?])
}
