//! Signals of both processes.

use std::fmt::Write as _;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use vmm_frontend::{exit, terminal};

/// What a user ends a program with.
const ENDING: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// Signals as something to read. They are blocked meanwhile.
pub struct Watch {
    fd: OwnedFd,
    before: libc::sigset_t,
}

impl Watch {
    pub fn new() -> io::Result<Self> {
        let mut set = empty_set();
        for signal in ENDING.into_iter().chain([libc::SIGCHLD]) {
            // SAFETY: `set` is a whole signal set of this frame.
            unsafe { libc::sigaddset(&mut set, signal) };
        }
        let mut before = empty_set();
        // SAFETY: both point to whole signal sets of this frame.
        if unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, &mut before) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the set is only read.
        let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Watch { fd, before })
    }

    /// Waits for a signal.
    pub fn next(&self) -> io::Result<i32> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the kernel writes at most `size` bytes into `info`.
        let got = unsafe { libc::read(self.fd.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if usize::try_from(got) != Ok(size) {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: filled in as a whole.
        Ok(unsafe { info.assume_init() }.ssi_signo as i32)
    }

    /// For the VMM's process: what a user ends a program with is the other one's business, and this
    /// one ends when that dies. What must not happen ends it with a message and a status.
    pub fn become_vmm(&self) {
        for signal in ENDING {
            // SAFETY: no handler is involved.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
        for (signal, handler) in [
            (libc::SIGSEGV, on_fault as Handler),
            (libc::SIGBUS, on_fault),
            (libc::SIGSYS, on_forbidden),
            (libc::SIGUSR1, on_orphaned),
        ] {
            catch(signal, handler);
        }
        // SAFETY: takes numbers only. Sent when the thread that forked is gone.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGUSR1) };
        // SAFETY: the set is whole and only read.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut()) };
    }
}

fn empty_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the pointer is to room for a set, which the call makes a whole one.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: see above.
    unsafe { set.assume_init() }
}

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

fn catch(signal: i32, handler: Handler) {
    // SAFETY: all zeros are a `sigaction` with an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handlers of this file call only what a handler may.
    unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
}

/// The guest's memory in this process: first and last byte of at most so many regions.
static MEMORY: [(AtomicUsize, AtomicUsize); 16] =
    [const { (AtomicUsize::new(1), AtomicUsize::new(0)) }; 16];

/// Tells where the guest's memory is, so that a fault there can be told from a mistake.
#[cfg_attr(not(target_arch = "aarch64"), allow(dead_code, reason = "no guest"))]
pub fn guest_memory(regions: impl Iterator<Item = (usize, usize)>) {
    for ((first, last), (start, bytes)) in MEMORY.iter().zip(regions) {
        first.store(start, Ordering::Relaxed);
        last.store(start + (bytes - 1), Ordering::Relaxed);
    }
}

extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel gives a handler with SA_SIGINFO a whole `siginfo_t`.
    let info = unsafe { &*info };
    // SAFETY: it is of a fault, which has an address.
    let address = unsafe { info.si_addr() } as usize;
    let inside = MEMORY.iter().any(|(first, last)| {
        (first.load(Ordering::Relaxed)..=last.load(Ordering::Relaxed)).contains(&address)
    });
    if inside {
        die(
            exit::PRIVATE,
            format_args!(
                "the guest pointed a device at memory that it does not share: the VMM may not touch it, and \
                 ends.\n help: the guest's kernel needs CONFIG_ARM_PKVM_GUEST and CONFIG_DMA_RESTRICTED_POOL \
                 (`ward inspect` says whether it has them)"
            ),
        );
    }
    die(
        exit::BUG,
        format_args!(
            "a mistake of this program: signal {signal} at {address:#x}\n help: please report it"
        ),
    );
}

extern "C" fn on_forbidden(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // The system call's number lies behind the faulting address in `siginfo_t`'s union.
    const AT: usize = 16 + 8;
    // SAFETY: inside the kernel's `siginfo_t`, which has 128 bytes.
    let at = unsafe { info.cast::<u8>().add(AT).cast::<i32>() };
    // SAFETY: 4 aligned bytes of it.
    let call = unsafe { at.read() };
    die(
        exit::BUG,
        format_args!(
            "a mistake of this program: system call {call} is not on the list of its thread\n help: please \
             report it; --no-seccomp runs without the lists"
        ),
    );
}

extern "C" fn on_orphaned(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    die(
        exit::STOPPED,
        format_args!("the program that started it is gone"),
    );
}

/// Restores the terminal, says why, and ends the process: for handlers, without allocating.
pub fn die(status: u8, why: std::fmt::Arguments) -> ! {
    struct Buffer([u8; 512], usize);
    impl std::fmt::Write for Buffer {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            for (to, from) in self.0[self.1..].iter_mut().zip(text.bytes()) {
                *to = from;
                self.1 += 1;
            }
            Ok(())
        }
    }
    terminal::restore();
    let mut buffer = Buffer([0; 512], 0);
    let _ = writeln!(buffer, "\nward: {why}");
    // SAFETY: the bytes are those of the buffer.
    unsafe { libc::write(2, buffer.0.as_ptr().cast(), buffer.1) };
    // SAFETY: ends the process, whatever its threads do.
    unsafe { libc::_exit(i32::from(status)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Each fault in a process of its own, for it ends it: status and message.
    #[test]
    fn a_fault_says_whose_it_is() {
        for (fault, status, message) in [
            ("guest", exit::PRIVATE, "memory that it does not share"),
            ("behind", exit::BUG, "a mistake of this program: signal 11"),
            ("orphan", exit::STOPPED, "is gone"),
        ] {
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args([
                "--exact",
                "run::signals::tests::child",
                "--ignored",
                "--nocapture",
            ]);
            let output = match child.env("WARD_TEST_FAULT", fault).output() {
                // Under qemu-user the system does not start this program by itself.
                Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => return,
                output => output.unwrap(),
            };
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                output.status.code(),
                Some(i32::from(status)),
                "{fault}: {said}"
            );
            assert!(said.contains(message), "{fault}: {said}");
        }
    }

    #[test]
    #[ignore = "dies; run by a_fault_says_whose_it_is"]
    fn child() {
        let Ok(fault) = std::env::var("WARD_TEST_FAULT") else {
            return;
        };
        Watch::new().unwrap().become_vmm();
        let (none, flags) = (
            std::ptr::null_mut(),
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: new memory, wherever there is room; it can be neither read nor written.
        let page = unsafe { libc::mmap(none, 8192, libc::PROT_NONE, flags, -1, 0) }.cast::<u8>();
        guest_memory(std::iter::once((page as usize, 4096)));
        let at = match fault.as_str() {
            "guest" => 4095,
            "behind" => 4096,
            _ => {
                // SAFETY: takes a number; the handler ends the process.
                unsafe { libc::raise(libc::SIGUSR1) };
                return;
            }
        };
        // SAFETY: inside the mapping.
        let byte = unsafe { page.add(at) };
        // SAFETY: faults, which is what is looked for; nothing is made of the value.
        unsafe { byte.read_volatile() };
    }
}
