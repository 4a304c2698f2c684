//! What traps to EL2 while the host runs, and what while a guest runs.
//!
//! Features whose state Ward does not switch (SVE, SME, MTE tags, SPE, TRBE, BRBE, trace, AMU,
//! GCS, the permission-indirection registers) are trapped for both and hidden from both: for the
//! host in [`crate::host::idregs`], for guests in hyp-core's table.

use crate::cpu::{Features, field, get, set};
use crate::percpu::PerCpu;
use core::sync::atomic::{AtomicU64, Ordering};
use hyp_core::machine::RunParams;
use hyp_core::vcpu::HCR_VSE;

/// HCR_EL2 (DDI 0487 D24.2.56).
mod hcr {
    pub(super) const VM: u64 = 1 << 0;
    pub(super) const SWIO: u64 = 1 << 1;
    pub(super) const PTW: u64 = 1 << 2;
    pub(super) const FMO: u64 = 1 << 3;
    pub(super) const IMO: u64 = 1 << 4;
    pub(super) const AMO: u64 = 1 << 5;
    pub(super) const FB: u64 = 1 << 9;
    pub(super) const BSU_INNER: u64 = 1 << 10;
    pub(super) const TID3: u64 = 1 << 18;
    pub(super) const TSC: u64 = 1 << 19;
    pub(super) const TIDCP: u64 = 1 << 20;
    pub(super) const TACR: u64 = 1 << 21;
    pub(super) const RW: u64 = 1 << 31;
    pub(super) const TLOR: u64 = 1 << 35;
    pub(super) const TERR: u64 = 1 << 36;
    pub(super) const APK: u64 = 1 << 40;
    pub(super) const API: u64 = 1 << 41;
}

/// MDCR_EL2 (DDI 0487 D24.3.18).
mod mdcr {
    pub(super) const TPMCR: u64 = 1 << 5;
    pub(super) const TPM: u64 = 1 << 6;
    pub(super) const TDA: u64 = 1 << 9;
    pub(super) const TDOSA: u64 = 1 << 10;
    pub(super) const TDRA: u64 = 1 << 11;
    pub(super) const TTRF: u64 = 1 << 19;
}

/// CPTR_EL2, E2H = 0 (DDI 0487 D24.2.35): RES1 bits, TZ 8, TSM 12, TTA 20. FP stays usable.
const CPTR: u64 = 0x33ff | 1 << 20;
/// TAM: the activity monitors, where they exist.
const CPTR_TAM: u64 = 1 << 30;
/// TFP: FP/SIMD of every level, EL2's own included.
const CPTR_TFP: u64 = 1 << 10;
/// HCRX_EL2.MSCEn (DDI 0487 D24.2.57): memory copy instructions, which have no state of their own.
const HCRX_MSCEN: u64 = 1 << 11;
/// `PMCR_EL0.E`.
const PMCR_ENABLE: u64 = 1;

static HOST_VTTBR: AtomicU64 = AtomicU64::new(0);
static VTCR: AtomicU64 = AtomicU64::new(0);

/// `VTTBR_EL2` of the host.
pub fn host_vttbr() -> u64 {
    HOST_VTTBR.load(Ordering::Relaxed)
}

/// Fixes the host's table and the shape of all tables, before any CPU runs the host.
pub fn set_stage2(vttbr: u64, vtcr: u64) {
    HOST_VTTBR.store(vttbr, Ordering::Relaxed);
    VTCR.store(vtcr, Ordering::Release);
}

fn cptr() -> u64 {
    let amu = field(get!("id_aa64pfr0_el1"), 44) != 0;
    CPTR | if amu { CPTR_TAM } else { 0 }
}

/// FP/SIMD traps from here.
pub(super) fn close_fp(cpu: &PerCpu) {
    set!("cptr_el2", cpu.cptr.load(Ordering::Relaxed) | CPTR_TFP);
}

/// FP/SIMD works again, after the next context synchronisation.
pub(super) fn open_fp(cpu: &PerCpu) {
    set!("cptr_el2", cpu.cptr.load(Ordering::Relaxed));
}

/// The same on a CPU of which nothing else is known, at once.
pub(super) fn open_fp_anyhow() {
    set!("cptr_el2", get!("cptr_el2") & !CPTR_TFP);
    crate::cpu::isb();
}

/// Event counters; all are the host's.
fn counters(features: Features) -> u64 {
    if features.has(Features::PMU) {
        get!("pmcr_el0") >> 11 & 0x1f
    } else {
        0
    }
}

/// Stops the host's counters, so that they do not count a guest's events, and says how they ran.
pub(super) fn stop_pmu(features: Features) -> u64 {
    if !features.has(Features::PMU) {
        return 0;
    }
    let pmcr = get!("pmcr_el0");
    set!("pmcr_el0", pmcr & !PMCR_ENABLE);
    pmcr
}

pub(super) fn start_pmu(pmcr: u64, features: Features) {
    if features.has(Features::PMU) && pmcr & PMCR_ENABLE != 0 {
        set!("pmcr_el0", pmcr);
    }
}

fn pauth_bits(features: Features) -> u64 {
    if features.has(Features::PAUTH) {
        hcr::API | hcr::APK
    } else {
        0
    }
}

/// Controls that are the same whoever runs; once on each CPU.
pub fn init_cpu() {
    set!("vtcr_el2", VTCR.load(Ordering::Acquire));
    set!("hstr_el2", 0);
    set!("cptr_el2", cptr());
    let mmfr1 = get!("id_aa64mmfr1_el1");
    if field(mmfr1, 40) != 0 {
        // HCRX_EL2
        let copies = field(get!("S3_0_C0_C6_2"), 16) != 0;
        set!("S3_4_C1_C2_2", if copies { HCRX_MSCEN } else { 0 });
    }
    let fgt = field(get!("id_aa64mmfr0_el1"), 56);
    if fgt != 0 {
        // HFGRTR, HFGWTR, HFGITR, HDFGRTR, HDFGWTR: 0 traps what "n" bits name, nothing else.
        set!("S3_4_C1_C1_4", 0);
        set!("S3_4_C1_C1_5", 0);
        set!("S3_4_C1_C1_6", 0);
        set!("S3_4_C3_C1_4", 0);
        set!("S3_4_C3_C1_5", 0);
    }
    if fgt >= 2 {
        // HDFGRTR2, HDFGWTR2, HFGRTR2, HFGWTR2, HFGITR2.
        set!("S3_4_C3_C1_0", 0);
        set!("S3_4_C3_C1_1", 0);
        set!("S3_4_C3_C1_2", 0);
        set!("S3_4_C3_C1_3", 0);
        set!("S3_4_C3_C1_7", 0);
    }
    set!("cntvoff_el2", 0);
    set!("cnthctl_el2", super::timer::HOST_CNTHCTL);
}

/// The host runs: its own interrupts, debug registers and counters; SMCs and ID registers trap.
pub fn host(cpu: &PerCpu) {
    let features = cpu.features();
    let bare = cfg!(ward_without = "every-cpu") && cpu.id != 0;
    let stage2 = if host_vttbr() == 0 || bare {
        0
    } else {
        hcr::VM | hcr::PTW
    };
    set!(
        "hcr_el2",
        hcr::RW | hcr::TSC | hcr::TID3 | pauth_bits(features) | stage2
    );
    cpu.guest_hcr.store(guest_hcr(features), Ordering::Relaxed);
    cpu.cptr.store(cptr(), Ordering::Relaxed);
    // E2PB and E2TB 0: the profiling and trace buffers are EL2's, and off.
    set!("mdcr_el2", counters(features) | trace_filter());
    set!("vpidr_el2", get!("midr_el1"));
    set!("vmpidr_el2", cpu_mpidr());
}

fn cpu_mpidr() -> u64 {
    get!("mpidr_el1")
}

fn trace_filter() -> u64 {
    // TTRF exists with FEAT_TRF (ID_AA64DFR0_EL1.TraceFilt).
    if field(get!("id_aa64dfr0_el1"), 40) != 0 {
        mdcr::TTRF
    } else {
        0
    }
}

/// What traps while a guest runs on a CPU with these features, or is true of all of them.
fn guest_hcr(features: Features) -> u64 {
    let ras = if features.has(Features::RAS) {
        hcr::TERR
    } else {
        0
    };
    let lor = if features.has(Features::LOR) {
        hcr::TLOR
    } else {
        0
    };
    let fixed = hcr::VM
        | hcr::SWIO
        | hcr::PTW
        | hcr::FMO
        | hcr::IMO
        | hcr::AMO
        | hcr::FB
        | hcr::BSU_INNER
        | hcr::TID3
        | hcr::TSC
        | hcr::TIDCP
        | hcr::TACR
        | hcr::RW;
    fixed | ras | lor | pauth_bits(features)
}

/// A guest runs: physical interrupts come to EL2, debug and performance registers are closed.
///
/// MDCR_EL2.TDE stays 0: it would bring a guest's own BRK instructions here. TDA, TDOSA and TDRA
/// close every debug register; `MDSCR_EL1` is switched and 0, so no breakpoint of the host's fires.
///
/// The host's own controls are what [`host`] set on this CPU, and are handed back for
/// [`host_again`].
pub(super) fn guest(params: &RunParams, cpu: &PerCpu) -> Controls {
    let host = Controls {
        hcr: get!("hcr_el2"),
        mdcr: get!("mdcr_el2"),
    };
    let fixed = cpu.guest_hcr.load(Ordering::Relaxed);
    set!("hcr_el2", fixed | params.hcr);
    let closed = mdcr::TPMCR | mdcr::TPM | mdcr::TDA | mdcr::TDOSA | mdcr::TDRA;
    set!("mdcr_el2", host.mdcr | closed);
    set!("vmpidr_el2", params.mpidr);
    if cpu.features().has(Features::RAS) {
        // VSESR_EL2; and VDISR_EL2, which a guest writes (as DISR_EL1) and the next would read.
        set!("S3_4_C5_C2_3", params.vsesr);
        set!("S3_4_C12_C1_1", 0);
    }
    host
}

/// Whether the virtual SError that `guest` made pending still is (DDI 0487 D1.3.6: the CPU
/// clears HCR_EL2.VSE when the guest takes it).
pub fn serror_pending() -> bool {
    get!("hcr_el2") & HCR_VSE != 0
}

/// The host's controls on this CPU, while a guest's are in force.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Controls {
    pub(super) hcr: u64,
    pub(super) mdcr: u64,
}

/// The host runs again, under the controls it had.
pub(super) fn host_again(controls: Controls) {
    set!("hcr_el2", controls.hcr);
    set!("mdcr_el2", controls.mdcr);
    set!("vmpidr_el2", cpu_mpidr());
}
