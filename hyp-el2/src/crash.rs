//! What happens when Ward itself is wrong: an exception taken from EL2, a Rust panic, a trap that
//! cannot be. Never for what a host or a guest does.
//!
//! The CPU that finds the bug reports it, on its emergency stack if it was an exception. Then
//! nothing runs at EL1 again: Ward empties the root table of every regime that a CPU has loaded
//! and drops all TLB entries, so the next fetch of any CPU at EL1 or EL0 faults into EL2, where
//! the vectors see the flag and park. No interrupt and nothing of the host's is needed for that. A
//! CPU that sleeps in WFI stays asleep until it wakes into the same fault; one that waits for a
//! lock of Ward's parks there. Each CPU zeroes the vCPU state it holds: general and FP registers,
//! and the context in memory.
//!
//! The report also goes to a page that a warm reset leaves alone ([`record`]); the next boot
//! prints it. Guest registers are in neither.

pub mod record;

use crate::cpu::{dsb_ish, get, send_event};
use crate::lock::Wait;
use crate::percpu::{self, PerCpu};
use crate::{console, mmu, switch};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use hyp_core::addr::PAGE_SIZE;
use hyp_core::vcpu::esr::Esr;

static HAPPENED: AtomicBool = AtomicBool::new(false);
static POWER_OFF: AtomicBool = AtomicBool::new(false);
static ROOT_FRAMES: AtomicU64 = AtomicU64::new(0);

const VECTORS: [&str; 16] = [
    "synchronous exception at EL2 with SP_EL0",
    "IRQ at EL2 with SP_EL0",
    "FIQ at EL2 with SP_EL0",
    "SError at EL2 with SP_EL0",
    "synchronous exception at EL2",
    "IRQ at EL2",
    "FIQ at EL2",
    "SError at EL2",
    "synchronous exception from EL1",
    "IRQ from EL1 that is not routed here",
    "FIQ from EL1 that is not routed here",
    "SError from EL1 that is not routed here",
    "synchronous exception from AArch32 EL1",
    "IRQ from AArch32 EL1",
    "FIQ from AArch32 EL1",
    "SError from AArch32 EL1",
];

unsafe extern "C" {
    fn ward_image_base() -> u64;
}

/// What a crash needs to know: frames of a root table, and whether a test wants the machine off.
pub fn configure(root_frames: u64, power_off: bool) {
    ROOT_FRAMES.store(root_frames, Ordering::Relaxed);
    POWER_OFF.store(power_off, Ordering::Relaxed);
}

/// Has any CPU found a bug?
pub fn happened() -> bool {
    HAPPENED.load(Ordering::Relaxed)
}

/// Waits for a lock's holder, in WFE. After a crash nobody waits: the CPU that reports it goes on
/// without the lock, whose holder may be itself; every other CPU stops here.
pub fn wait_unless_crashed() -> Wait {
    if happened() {
        let reports = percpu::try_this().is_none_or(|cpu| cpu.bugs.load(Ordering::Relaxed) != 0);
        if reports {
            return Wait::Break;
        }
        stop();
    }
    crate::cpu::wait_for_event();
    Wait::On
}

/// Wakes every CPU in [`wait_unless_crashed`].
pub fn wake() {
    send_event();
}

/// One line, to the console and the record.
fn say(args: fmt::Arguments<'_>) {
    console::crash_line(args);
    record::line(args);
}

/// Who was running on this CPU.
struct Who;

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(cpu) = percpu::try_this() else {
            return write!(f, "boot");
        };
        let runs = cpu.runs.load(Ordering::Relaxed);
        match runs {
            0 => write!(f, "cpu={} for the host", cpu.id),
            _ => write!(
                f,
                "cpu={} for vm={} vcpu={}",
                cpu.id,
                runs >> 16,
                runs & 0xff
            ),
        }
    }
}

/// From the vectors: `number` as in [`VECTORS`], the stack pointer and frame pointer then.
#[unsafe(no_mangle)]
extern "C" fn ward_bug(number: u64, sp: u64, fp: u64) -> ! {
    let name = VECTORS
        .get(number as usize)
        .copied()
        .unwrap_or("unknown vector");
    if begin(format_args!("{name}")) {
        exception(sp);
        back_trace(get!("elr_el2"), fp);
    }
    end()
}

/// From Rust's panic handler.
pub fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let again = percpu::try_this().is_some_and(|cpu| cpu.bugs.swap(1, Ordering::Relaxed) != 0);
    if again {
        crate::cpu::park();
    }
    if begin(format_args!("panic: {}", info.message())) {
        if let Some(place) = info.location() {
            say(format_args!("  at {}:{}", place.file(), place.line()));
        }
        let fp: u64;
        // SAFETY: reads the frame pointer.
        unsafe { core::arch::asm!("mov {}, x29", out(reg) fp, options(nomem, nostack)) };
        back_trace(panic as *const () as u64, fp);
    }
    end()
}

/// A trap that cannot be: the bug is in how Ward set the CPU up.
pub fn unexpected(vector: u64) -> ! {
    if let Some(cpu) = percpu::try_this() {
        cpu.bugs.store(1, Ordering::Relaxed);
    }
    ward_bug(vector, 0, 0)
}

/// The head of a report; false when another CPU reports already.
fn begin(what: fmt::Arguments<'_>) -> bool {
    if HAPPENED.swap(true, Ordering::AcqRel) {
        return false;
    }
    stop_el1();
    record::clear();
    say(format_args!("BUG in Ward: {what}"));
    say(format_args!("  who:  {Who}"));
    true
}

fn exception(sp: u64) {
    let esr = get!("esr_el2");
    let far = get!("far_el2");
    say(format_args!("  ESR:  {}", Esr::new(esr)));
    say(format_args!(
        "  ELR:  image+{:#x}  SPSR: {:#x}  SP: {sp:#x}",
        get!("elr_el2").wrapping_sub(image_base()),
        get!("spsr_el2")
    ));
    let guard = if mmu::is_guard(far) {
        " (guard page: a stack overflowed)"
    } else {
        ""
    };
    say(format_args!("  FAR:  {far:#x}{guard}"));
    let hpfar = get!("hpfar_el2");
    say(format_args!(
        "  HPFAR: {hpfar:#x} (IPA {:#x})",
        (hpfar & 0xfff_ffff_fff0) << 8
    ));
    match crate::glue::owner(far) {
        Some(state) => say(format_args!("  page: {state:x?}")),
        None => say(format_args!("  page: not RAM under Ward's records")),
    }
}

fn image_base() -> u64 {
    // SAFETY: returns an address.
    unsafe { ward_image_base() }
}

/// Return addresses by the chain of frame pointers (AAPCS64 6.4.6), as offsets into the image:
/// `addr2line -e ward.elf`.
fn back_trace(pc: u64, mut fp: u64) {
    say(format_args!(
        "  trace: {:#x}",
        pc.wrapping_sub(image_base())
    ));
    for _ in 0..24 {
        // A frame record is 16 bytes, aligned, on one of Ward's stacks.
        if fp == 0 || !fp.is_multiple_of(16) || !on_a_stack(fp) {
            break;
        }
        let record = fp as *const [u64; 2];
        // SAFETY: on a stack of this CPU's, which is mapped.
        let [up, pc] = unsafe { record.read_volatile() };
        if pc == 0 {
            break;
        }
        say(format_args!(
            "         {:#x}",
            pc.wrapping_sub(image_base())
        ));
        if up <= fp {
            break;
        }
        fp = up;
    }
}

fn on_a_stack(address: u64) -> bool {
    let within = |end: u64, frames: u64| (end - frames * PAGE_SIZE..end - 15).contains(&address);
    match percpu::try_this() {
        Some(cpu) => {
            within(cpu.stack_top, percpu::STACK_FRAMES)
                || within(cpu.emergency_top, 1)
                || crate::boot::on_boot_stack(address)
        }
        None => crate::boot::on_boot_stack(address),
    }
}

fn end() -> ! {
    record::seal();
    if POWER_OFF.load(Ordering::Relaxed) {
        crate::smc::call([u64::from(hyp_core::abi::smccc::psci::SYSTEM_OFF), 0, 0, 0]);
    }
    stop()
}

/// Takes translation away from everything below EL2.
fn stop_el1() {
    let frames = ROOT_FRAMES.load(Ordering::Relaxed);
    let empty = |vttbr: u64| {
        let root = (vttbr & 0x0000_ffff_ffff_f000) as *mut u64;
        for n in 0..frames as usize * 512 {
            // SAFETY: the root table of a regime that a CPU loaded; Ward's, and no walk of Ward's
            // own depends on it.
            unsafe { root.wrapping_add(n).write_volatile(0) }
        }
    };
    let roots = percpu::all().map(|cpu: &PerCpu| cpu.vttbr.load(Ordering::Relaxed));
    roots
        .chain([switch::traps::host_vttbr()])
        .filter(|&vttbr| vttbr != 0)
        .for_each(empty);
    crate::machine::tlb::invalidate_everything();
    send_event();
}

/// Stops this CPU because one of them found a bug: what it holds of a guest goes first.
pub fn stop() -> ! {
    if let Some(cpu) = percpu::try_this() {
        let context = cpu.guest_context();
        if !context.is_null() {
            // SAFETY: the context of the vCPU loaded on this CPU, in a frame of Ward's; nobody
            // uses it again.
            unsafe { context.write_bytes(0, 1) };
            dsb_ish();
        }
    }
    switch::scrub_fp();
    crate::cpu::park()
}
