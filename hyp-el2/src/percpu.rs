//! One record per CPU, found through `TPIDR_EL2`.
//!
//! At boot each CPU gets [`CPU_FRAMES`] frames: a guard page that is never mapped, the stack
//! above it, another guard page, the emergency stack on which a crash is reported, and the
//! record. Only its own CPU uses a record, but for the atomic fields.

use crate::cpu::Features;
use crate::switch::HostState;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use hyp_core::addr::{PAGE_SIZE, Pfn};
use hyp_core::vcpu::context::Context;

/// Frames set aside for each CPU, in this order: 1 guard, the stack, 1 guard, 1 of emergency
/// stack, 1 record.
pub const CPU_FRAMES: u64 = STACK_FRAMES + 4;
/// Offsets, in frames, of the pages that stay unmapped.
pub const GUARDS: [u64; 2] = [0, STACK_FRAMES + 1];
/// Frames of a stack. Those of unoptimised functions are several times as large.
pub const STACK_FRAMES: u64 = if cfg!(all(debug_assertions, target_os = "none")) {
    60
} else {
    12
};
const EMERGENCY: u64 = STACK_FRAMES + 2;
const RECORD: u64 = EMERGENCY + 1;

/// What a CPU is doing, as PSCI sees it.
pub mod power {
    /// Off, or never started.
    pub const OFF: u32 = 0;
    /// CPU_ON was asked for; it has not arrived yet.
    pub const PENDING: u32 = 1;
    /// Runs.
    pub const ON: u32 = 2;
}

/// A CPU's record. The first words are read by assembly.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct PerCpu {
    /// Where the stack begins (its highest address).
    pub stack_top: u64,
    /// Where the emergency stack begins.
    pub emergency_top: u64,
    /// The context of the vCPU that [`crate::switch`] entered.
    pub guest: AtomicU64,
    /// Not 0 when this CPU has found a bug of Ward's.
    pub bugs: AtomicU64,
    /// Number in the order of the device tree.
    pub id: u16,
    /// Affinity fields of `MPIDR_EL1`.
    pub mpidr: u64,
    /// [`power`].
    pub power: AtomicU32,
    /// Where the host wants to start on this CPU.
    pub entry: AtomicU64,
    /// What the host wants in `x0` there.
    pub argument: AtomicU64,
    /// `VTTBR_EL2` of what this CPU runs: a crash on another CPU takes the table away.
    pub vttbr: AtomicU64,
    /// 0 while the host runs, else VMID << 16 | 1 << 8 | number of the vCPU.
    pub runs: AtomicU32,
    /// The vCPU that this CPU loaded last, in the same form.
    pub last_guest: AtomicU32,
    /// `HCR_EL2` of guests on this CPU, without what their run asks for.
    pub guest_hcr: AtomicU64,
    /// `CPTR_EL2` on this CPU while FP is open.
    pub cptr: AtomicU64,
    /// [`Features`], once the CPU is prepared.
    features: AtomicU32,
    /// The host's EL1 state while a vCPU is loaded; this CPU's only.
    pub host: UnsafeCell<HostState>,
}

const _: () = assert!(size_of::<PerCpu>() <= PAGE_SIZE as usize);

/// The array of CPU areas: first frame and number of CPUs.
static AREA: AtomicU64 = AtomicU64::new(0);
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Makes the records of `mpidrs`, CPU by CPU, in `first`, [`CPU_FRAMES`] frames each.
///
/// # Safety
/// The frames are Ward's, mapped (but for the guards) and used for nothing else. Called once.
pub unsafe fn init(first: Pfn, mpidrs: &[u64]) {
    for (id, &mpidr) in (0u16..).zip(mpidrs) {
        let area = first.add(u64::from(id) * CPU_FRAMES);
        let record = area.add(RECORD).pa() as *mut PerCpu;
        let value = PerCpu {
            stack_top: area.add(STACK_FRAMES + 1).pa(),
            emergency_top: area.add(EMERGENCY + 1).pa(),
            guest: AtomicU64::new(0),
            bugs: AtomicU64::new(0),
            id,
            mpidr,
            power: AtomicU32::new(power::OFF),
            entry: AtomicU64::new(0),
            argument: AtomicU64::new(0),
            vttbr: AtomicU64::new(0),
            runs: AtomicU32::new(0),
            last_guest: AtomicU32::new(0),
            guest_hcr: AtomicU64::new(0),
            cptr: AtomicU64::new(0),
            features: AtomicU32::new(0),
            host: UnsafeCell::new(HostState::new()),
        };
        // SAFETY: the caller gave the frames; a page holds a record (asserted above).
        unsafe { record.write(value) }
        // The CPU reads it before its caches are on.
        crate::cache::clean_to_memory(record as u64, PAGE_SIZE);
    }
    AREA.store(first.pa(), Ordering::Relaxed);
    COUNT.store(mpidrs.len() as u32, Ordering::Release);
}

/// All CPUs' records.
pub fn all() -> impl Iterator<Item = &'static PerCpu> {
    let count = u64::from(COUNT.load(Ordering::Acquire));
    let first = AREA.load(Ordering::Relaxed);
    (0..count).map(move |id| {
        let record = first + (id * CPU_FRAMES + RECORD) * PAGE_SIZE;
        // SAFETY: `init` wrote a record there that lives for ever; fields that change are cells.
        unsafe { &*(record as *const PerCpu) }
    })
}

/// The record of the CPU with these affinity fields.
pub fn by_mpidr(mpidr: u64) -> Option<&'static PerCpu> {
    all().find(|cpu| cpu.mpidr == mpidr)
}

/// This CPU's record, `None` early in boot.
pub fn try_this() -> Option<&'static PerCpu> {
    let record = crate::cpu::get!("tpidr_el2") as *const PerCpu;
    // SAFETY: the register holds 0 or the address of a record that lives for ever.
    unsafe { record.as_ref() }
}

/// This CPU's record.
///
/// # Panics
/// Before [`init`].
pub fn this() -> &'static PerCpu {
    try_this().expect("this CPU has a record")
}

impl PerCpu {
    /// What this CPU has.
    pub fn features(&self) -> Features {
        Features::from_bits(self.features.load(Ordering::Relaxed))
    }

    /// Asks the hardware what this CPU, whose record it is, has.
    pub fn find_features(&self) {
        let bits = Features::read().to_bits();
        self.features.store(bits, Ordering::Relaxed);
    }

    /// The vCPU's context that was entered last, for a crash to scrub.
    pub fn guest_context(&self) -> *mut Context {
        self.guest.load(Ordering::Relaxed) as *mut Context
    }
}

// SAFETY: `host` is touched by the CPU that owns the record only; the rest is atomic or constant.
unsafe impl Sync for PerCpu {}
