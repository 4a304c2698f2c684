//! CPUs, memory, time, and what is hidden.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::args::Args;
use crate::{proc, system};

fn online() -> Result<Vec<usize>> {
    proc::list(&proc::read("/sys/devices/system/cpu/online")?).context("the list of CPUs")
}

/// As many as were asked for, each of which runs a thread.
pub(crate) fn cpus(args: &Args) -> Result<()> {
    let wanted: usize = args.value("cpus")?;
    let online = online()?;
    ensure!(online.len() == wanted, "the CPUs {online:?} are online");
    online
        .into_iter()
        .try_for_each(|cpu| system::on_cpu(cpu, || Ok(())))
}

/// As much as was asked for, but for the kernel's own; and the kernel can write to most of it.
pub(crate) fn memory(args: &Args) -> Result<()> {
    let wanted: usize = args.value::<usize>("memory")? << 20;
    let text = proc::read("/proc/meminfo")?;
    let value = |name: &str| -> Option<usize> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()? << 10)
    };
    let total = value("MemTotal:").context("/proc/meminfo has no MemTotal")?;
    let free = value("MemAvailable:").context("/proc/meminfo has no MemAvailable")?;
    ensure!(
        total > wanted / 2 && total <= wanted,
        "{} MiB of {}",
        total >> 20,
        wanted >> 20
    );
    let mut words = vec![0_u64; free / 2 / 8];
    (0..)
        .zip(&mut words)
        .step_by(512)
        .for_each(|(n, word)| *word = n);
    let right = (0..).zip(&words).step_by(512).all(|(n, word)| *word == n);
    ensure!(right, "memory does not keep what is written");
    Ok(())
}

/// A sleep on each CPU ends, not too early, by that CPU's timer.
pub(crate) fn timer(_: &Args) -> Result<()> {
    for cpu in online()? {
        system::on_cpu(cpu, || {
            let start = Instant::now();
            thread::sleep(Duration::from_millis(30));
            ensure!(
                start.elapsed() >= Duration::from_millis(30),
                "CPU {cpu} woke early"
            );
            Ok(())
        })?;
    }
    let timers = proc::interrupts(&["arch_timer"])?;
    let counts = &timers.first().context("no timer's interrupts")?.counts;
    ensure!(
        counts.iter().all(|&count| count > 0),
        "timer interrupts: {counts:?}"
    );
    Ok(())
}

/// Numbers in FP registers live through exits of all kinds, in several threads.
pub(crate) fn floating_point(_: &Args) -> Result<()> {
    let work = |seed: u32| {
        move || {
            let mut sum = f64::from(seed);
            for round in 0..20_000_u32 {
                sum = (sum * 1.000_1 + f64::from(round % 7)).sqrt() + f64::from(seed);
                if round % 1000 == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            sum
        }
    };
    let threads: Vec<_> = (0..4).map(|seed| thread::spawn(work(seed))).collect();
    for (seed, thread) in (0..).zip(threads) {
        let found = thread.join().ok().context("a thread died")?;
        let again = work(seed)();
        ensure!(
            found.to_bits() == again.to_bits(),
            "thread {seed} computed {found}, then {again}"
        );
    }
    Ok(())
}

/// Where the kernel says that there is pointer authentication, a changed pointer is found out.
#[cfg(target_arch = "aarch64")]
pub(crate) fn pointer_authentication(_: &Args) -> Result<()> {
    const PACA: u64 = 1 << 30;
    // SAFETY: reads the process's auxiliary vector.
    let has = unsafe { libc::getauxval(libc::AT_HWCAP) } & PACA != 0;
    let cpuinfo = proc::read("/proc/cpuinfo")?;
    ensure!(
        has == cpuinfo.contains("paca"),
        "/proc/cpuinfo and the auxiliary vector disagree"
    );
    if !has {
        return Ok(());
    }
    let pointer = 0x0000_1234_5678_9abc_u64;
    let (mut signed, context) = (pointer, 42_u64);
    // SAFETY: computes with registers only: PACIA X17, X16 among the hints, which every assembler has.
    unsafe {
        std::arch::asm!("mov x17, {p}", "mov x16, {c}", "hint #8", "mov {p}, x17",
            p = inout(reg) signed, c = in(reg) context, out("x16") _, out("x17") _, options(nomem, nostack));
    }
    let mut back = signed;
    // SAFETY: as above, AUTIA1716.
    unsafe {
        std::arch::asm!("mov x17, {p}", "mov x16, {c}", "hint #12", "mov {p}, x17",
            p = inout(reg) back, c = in(reg) context, out("x16") _, out("x17") _, options(nomem, nostack));
    }
    ensure!(signed != pointer, "a signed pointer is the pointer itself");
    ensure!(back == pointer, "a signed pointer does not come back");
    Ok(())
}

#[cfg(not(target_arch = "aarch64"))]
pub(crate) fn pointer_authentication(_: &Args) -> Result<()> {
    Ok(())
}

/// There is no performance monitor, and asking for one is an error.
pub(crate) fn perf(_: &Args) -> Result<()> {
    // struct perf_event_attr, its oldest size: hardware, CPU cycles.
    let mut attributes = [0_u64; 8];
    attributes[0] = 64 << 32;
    // SAFETY: a structure of the size that it says.
    let counter =
        unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), 0, -1, -1, 0) };
    ensure!(counter < 0, "a counter of CPU cycles was opened");
    Ok(())
}

/// A debugger that sets a hardware breakpoint is refused, or sets one that never strikes; the
/// guest goes on.
pub(crate) fn breakpoints(_: &Args) -> Result<()> {
    const NT_ARM_HW_BREAK: i32 = 0x402;
    let mut command = Command::new("/proc/self/exe");
    let trace_me = || {
        // SAFETY: has this process traced by its parent.
        let done = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
        (done == 0)
            .then_some(())
            .ok_or_else(std::io::Error::last_os_error)
    };
    // SAFETY: one system call between fork and exec.
    let mut child = unsafe { command.pre_exec(trace_me) }
        .spawn()
        .context("cannot start a process")?;
    let pid = child.id().cast_signed();
    let mut status = 0;
    // SAFETY: `status` is a place for what it writes.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    let mut slots = [0_u32; 66];
    let mut piece = libc::iovec {
        iov_base: slots.as_mut_ptr().cast(),
        iov_len: size_of_val(&slots),
    };
    // SAFETY: the kernel writes at most what the piece has room for.
    unsafe { libc::ptrace(libc::PTRACE_GETREGSET, pid, NT_ARM_HW_BREAK, &raw mut piece) };
    // One breakpoint, at an address of the child's, enabled for EL0.
    (slots[2], slots[4]) = (0x40_0000, 0x1e5);
    std::hint::black_box(&slots);
    piece.iov_len = 8 + 16;
    // SAFETY: as above; the kernel reads.
    unsafe { libc::ptrace(libc::PTRACE_SETREGSET, pid, NT_ARM_HW_BREAK, &raw mut piece) };
    child.kill().context("the child is gone")?;
    child.wait().context("the child is gone")?;
    // The kernel has gone through it: it still runs programs.
    let status = Command::new("/bin/busybox").arg("true").status()?;
    ensure!(status.success(), "a program ended with {status}");
    Ok(())
}

/// Each CPU but the first goes off and comes back.
pub(crate) fn hotplug(_: &Args) -> Result<()> {
    let all = online()?;
    for &cpu in all.iter().filter(|&&cpu| cpu > 0) {
        let file = format!("/sys/devices/system/cpu/cpu{cpu}/online");
        proc::write(&file, "0")?;
        ensure!(!online()?.contains(&cpu), "CPU {cpu} is still online");
        proc::write(&file, "1")?;
        system::on_cpu(cpu, || Ok(()))?;
    }
    Ok(())
}

/// The kernel's messages so far.
pub(crate) fn kernel_log() -> Result<String> {
    let mut log = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")
        .context("cannot open /dev/kmsg")?;
    let (mut text, mut record) = (String::new(), [0; 8192]);
    // Each read gives one message, and an error at the end.
    while let Ok(len @ 1..) = log.read(&mut record) {
        text.push_str(&String::from_utf8_lossy(&record[..len]));
    }
    Ok(text)
}
