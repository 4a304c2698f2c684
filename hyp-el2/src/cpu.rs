//! The CPU's instructions that Rust has no word for: barriers, events, system registers.

use core::arch::asm;

/// Reads a system register by its assembler name (or `S3_...` encoding).
///
/// Reading one has no effect on memory and none on Rust's rules, so it is safe to call; the
/// register must exist on the CPU, or the read is an exception that ends in a crash record.
macro_rules! get {
    ($name:expr) => {{
        let value: u64;
        // SAFETY: a read of a system register without side effects that Rust could see.
        unsafe {
            core::arch::asm!(concat!("mrs {}, ", $name), out(reg) value,
                options(nomem, nostack, preserves_flags));
        }
        value
    }};
}

/// Writes a system register that governs only lower exception levels, timers, or the virtual
/// interrupt interface.
///
/// Ward's own translation, stack and vectors do not depend on such registers, so nothing that
/// Rust relies on changes. The registers on which EL2 itself depends (`SCTLR_EL2`, `TTBR0_EL2`,
/// `TCR_EL2`, `MAIR_EL2`, `VBAR_EL2`, `TPIDR_EL2`) are written in assembly only.
macro_rules! set {
    ($name:expr, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: see the macro's description: the register governs lower levels only.
        unsafe {
            core::arch::asm!(concat!("msr ", $name, ", {}"), in(reg) value,
                options(nostack, preserves_flags));
        }
    }};
}

/// Two [`get!`]s with nothing between them.
macro_rules! get_pair {
    ($one:expr, $other:expr) => {{
        let (one, other): (u64, u64);
        // SAFETY: as in `get!`.
        unsafe {
            core::arch::asm!(concat!("mrs {}, ", $one), concat!("mrs {}, ", $other),
                out(reg) one, out(reg) other, options(nomem, nostack, preserves_flags));
        }
        (one, other)
    }};
}

/// Two [`set!`]s with nothing between them.
macro_rules! set_pair {
    ($one:expr, $value:expr, $other:expr, $other_value:expr) => {{
        let (one, other): (u64, u64) = ($value, $other_value);
        // SAFETY: as in `set!`.
        unsafe {
            core::arch::asm!(concat!("msr ", $one, ", {}"), concat!("msr ", $other, ", {}"),
                in(reg) one, in(reg) other, options(nostack, preserves_flags));
        }
    }};
}

pub(crate) use {get, get_pair, set, set_pair};

/// Context synchronization (DDI 0487 B2.3.12, D1.3.4): system register writes before it are seen after it.
pub fn isb() {
    // SAFETY: a barrier.
    unsafe { asm!("isb", options(nostack, preserves_flags)) }
}

/// All earlier accesses and maintenance complete, inner shareable.
pub fn dsb_ish() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) }
}

/// All earlier accesses and maintenance complete, for this CPU.
pub fn dsb_nsh() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb nsh", options(nostack, preserves_flags)) }
}

/// All earlier stores complete, inner shareable.
pub fn dsb_ishst() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb ishst", options(nostack, preserves_flags)) }
}

/// All earlier accesses and maintenance complete, full system: for the point of coherency.
pub fn dsb_sy() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) }
}

/// Sleeps until an event: at least as long as nobody sent one since the last.
pub fn wait_for_event() {
    // SAFETY: a hint.
    unsafe { asm!("wfe", options(nostack, preserves_flags)) }
}

/// Wakes every CPU in [`wait_for_event`], after this CPU's earlier stores are visible.
pub fn send_event() {
    // SAFETY: a barrier and a hint.
    unsafe { asm!("dsb ishst", "sev", options(nostack, preserves_flags)) }
}

/// Stops this CPU for good: interrupts stay masked, so that only a reset ends it.
pub fn park() -> ! {
    loop {
        // SAFETY: a hint; asynchronous exceptions are masked at EL2, always.
        unsafe { asm!("wfi", options(nomem, nostack, preserves_flags)) }
    }
}

/// The affinity fields of this CPU, as PSCI and the device tree name it (DDI 0487 D24.2.128).
pub fn mpidr() -> u64 {
    get!("mpidr_el1") & 0xff_00ff_ffff
}

/// What a CPU has of what the world switch has to ask at every run. Asked of the ID registers
/// once: each CPU keeps its own answer ([`PerCpu`](crate::percpu::PerCpu)).
#[derive(Clone, Copy, Default, Debug)]
pub struct Features(u32);

/// Above the bits of [`Features`].
const PRIORITY_SHIFT: u32 = 8;

/// `ICH_VTR_EL2` (IHI 0069 12.4.10): PREbits 28:26, and one more, are the bits of preemption
/// priority; a register holds 32 levels.
fn priority_registers() -> u32 {
    match get!("ich_vtr_el2") >> 26 & 7 {
        6 => 4,
        5 => 2,
        _ => 1,
    }
}

impl Features {
    /// Pointer authentication, of whichever algorithm.
    pub const PAUTH: Features = Features(1 << 0);
    /// Performance monitors of the architecture.
    pub const PMU: Features = Features(1 << 1);
    /// Error records (FEAT_RAS).
    pub const RAS: Features = Features(1 << 2);
    /// Limited ordering regions (FEAT_LOR).
    pub const LOR: Features = Features(1 << 3);

    /// This CPU's (DDI 0487 D24.2: ID_AA64ISAR1_EL1, ISAR2, DFR0, PFR0, MMFR1).
    pub fn read() -> Self {
        // GPI 31:28, GPA 27:24, API 11:8, APA 7:4; GPA3 11:8 and APA3 15:12 in ISAR2.
        let pauth =
            get!("id_aa64isar1_el1") & 0xff00_0ff0 != 0 || get!("S3_0_C0_C6_2") & 0xff00 != 0;
        // PMUVer: 0 none, 0xf implementation defined.
        let pmu = !matches!(field(get!("id_aa64dfr0_el1"), 8), 0 | 0xf);
        let ras = field(get!("id_aa64pfr0_el1"), 28) != 0;
        let lor = field(get!("id_aa64mmfr1_el1"), 16) != 0;
        let all = [
            (pauth, Self::PAUTH),
            (pmu, Self::PMU),
            (ras, Self::RAS),
            (lor, Self::LOR),
        ];
        let bits: u32 = all.iter().filter(|one| one.0).map(|one| one.1.0).sum();
        Features(bits | priority_registers() << PRIORITY_SHIFT)
    }

    /// Active-priority registers of each group in the virtual CPU interface: 1, 2 or 4.
    pub const fn priority_registers(self) -> usize {
        (self.0 >> PRIORITY_SHIFT) as usize
    }

    /// Is it there?
    pub const fn has(self, feature: Features) -> bool {
        self.0 & feature.0 != 0
    }

    /// As a word, for a record that other CPUs can reach too.
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// From [`Features::to_bits`].
    pub const fn from_bits(bits: u32) -> Self {
        Features(bits)
    }
}

/// A field of four bits in an ID register.
pub const fn field(register: u64, shift: u32) -> u64 {
    register >> shift & 0xf
}
