//! The world switch: what belongs to a vCPU goes into the CPU, what belongs to the host comes
//! out, and back.
//!
//! The host's EL1 state stays in the CPU while Ward answers it; it moves only when a vCPU is
//! loaded, which hyp-core does around a run, not around each exit. [`load`] and [`unload`] are
//! the halves of that; [`enter`] runs the vCPU between them. While a vCPU is loaded `VBAR_EL2`
//! holds the guest's vectors.
//!
//! The order keeps EL1's translation unusable while half of it is the host's and half the
//! guest's: first `TCR_EL1.EPD0/EPD1` forbid walks, then everything moves, `TCR_EL1` last
//! (needed where a speculative AT may walk out of context, Cortex-A76 erratum 1165522 and kin).

mod gic;
mod sysregs;
mod timer;
pub mod traps;

use crate::cpu::{Features, get, isb, set};
use crate::percpu;
use core::sync::atomic::Ordering;
use hyp_core::addr::VcpuId;
use hyp_core::machine::{RunParams, Stage2Root, Trap};
use hyp_core::vcpu::context::{Context, Fp, SYS_REGS, SysReg};
use hyp_core::vcpu::esr::{Class, Esr};

pub use gic::{init_cpu as init_gic, list_registers, sanitised_vtr};
pub use sysregs::{guest_register, reset_el1, set_guest_register};
pub use traps::serror_pending;

/// `TCR_EL1.EPD0` and `EPD1` (DDI 0487 D24.2.190): no walk of either table.
pub const NO_WALKS: u64 = 1 << 23 | 1 << 7;

/// The host's EL1 state while a vCPU is loaded.
#[repr(C)]
#[derive(Debug)]
pub struct HostState {
    sys: [u64; SYS_REGS],
    fp: Fp,
    /// `fp` is what the host had: the FP registers are the guest's.
    fp_is_out: bool,
    sp_el0: u64,
    pmcr: u64,
    controls: traps::Controls,
}

impl HostState {
    /// Nothing saved.
    pub const fn new() -> Self {
        HostState {
            sys: [0; SYS_REGS],
            fp: Fp {
                v: [0; 32],
                fpcr: 0,
                fpsr: 0,
            },
            fp_is_out: false,
            sp_el0: 0,
            pmcr: 0,
            controls: traps::Controls { hcr: 0, mdcr: 0 },
        }
    }
}

impl Default for HostState {
    fn default() -> Self {
        Self::new()
    }
}

unsafe extern "C" {
    fn ward_fp_save(fp: *mut Fp);
    fn ward_fp_restore(fp: *const Fp);
    fn ward_guest_enter(context: *mut Context, cpu: *const percpu::PerCpu) -> u64;
    fn ward_set_guest_vectors();
    fn ward_translate(far: u64) -> u64;
    fn ward_set_host_vectors();
}

/// `VTTBR_EL2` of a regime (DDI 0487 D24.2.213): VMID 63:48, table 47:1.
pub const fn vttbr(root: Stage2Root) -> u64 {
    (root.vm.0 as u64) << 48 | root.root.pa()
}

fn set_stage2(value: u64, cpu: &percpu::PerCpu) {
    cpu.vttbr.store(value, Ordering::Relaxed);
    set!("vttbr_el2", value);
}

/// This CPU leaves the host's EL1 state for the vCPU's.
pub fn load(context: &mut Context, params: &RunParams) {
    let cpu = percpu::this();
    // SAFETY: this CPU's own record, and no other reference to its `host` is live: load, unload
    // and nothing else take one, and hyp-core does not nest them.
    let host = unsafe { &mut *cpu.host.get() };
    let features = cpu.features();
    let pauth = features.has(Features::PAUTH);

    sysregs::save(&mut host.sys, pauth);
    host.sp_el0 = get!("sp_el0");
    host.pmcr = traps::stop_pmu(features);

    set!("tcr_el1", host.sys[SysReg::TcrEl1 as usize] | NO_WALKS);
    isb();
    set_stage2(vttbr(params.stage2), cpu);
    let vcpu = VcpuId::from_affinity(params.mpidr & 0xffff).map_or(0, |id| u32::from(id.0));
    let runs = u32::from(params.stage2.vm.0) << 16 | 1 << 8 | vcpu;
    let last = cpu.last_guest.load(Ordering::Relaxed);
    let left_out = cfg!(ward_without = "switch") && last != 0 && last != runs;
    if last != runs {
        cpu.last_guest.store(runs, Ordering::Relaxed);
        forget_other_vcpus();
    }
    host.controls = traps::guest(params, cpu);
    if !left_out {
        sysregs::restore(&context.sys, pauth);
    }
    timer::load(context, params);
    gic::load(&context.gic, features);
    traps::close_fp(cpu);
    // SAFETY: the guest's table handles every exception until `unload`.
    unsafe { ward_set_guest_vectors() };
    isb();
    set!("tcr_el1", context[SysReg::TcrEl1]);
    isb();
    cpu.runs.store(runs, Ordering::Relaxed);
}

/// Drops this CPU's translations under the VMID just loaded. vCPUs of one VM share the VMID, but
/// each may use an ASID for tables of its own, as each CPU may: what one left in this TLB is not
/// the other's (DDI 0487 D8.16.2, translations are private to a PE).
fn forget_other_vcpus() {
    isb();
    // SAFETY: TLB maintenance only makes the CPU walk again.
    unsafe { core::arch::asm!("tlbi vmalle1", options(nostack, preserves_flags)) }
    crate::cpu::dsb_nsh();
}

/// Runs the loaded vCPU until it traps.
pub fn enter(context: &mut Context) -> Trap {
    let cpu = percpu::this();
    if crate::crash::happened() {
        crate::crash::stop();
    }
    loop {
        // SAFETY: the vCPU is loaded, the guest's vectors are in place and save into `context`.
        let code = unsafe { ward_guest_enter(context, cpu) };
        match code {
            0 => {}
            3 => return Trap::SError,
            _ => return Trap::Irq,
        }
        let (esr, far) = (get!("esr_el2"), get!("far_el2"));
        if Esr::new(esr).class() == Class::Fp && take_fp(context, cpu) {
            continue;
        }
        if Esr::new(esr).class() == Class::Sys64 && gic::answer(context, Esr::new(esr)) {
            continue;
        }
        if let Some(hpfar) = fault_page(Esr::new(esr), far) {
            return Trap::Sync { esr, far, hpfar };
        }
        // The guest's tables changed under the fault: it tries again.
    }
}

/// The vCPU's first use of FP in this run: the registers become its own. Most runs end without one,
/// so until then the host's state stays in them, closed. `false`: they are the vCPU's already.
#[cold]
fn take_fp(context: &Context, cpu: &percpu::PerCpu) -> bool {
    // SAFETY: as in `load`.
    let host = unsafe { &mut *cpu.host.get() };
    if host.fp_is_out {
        return false;
    }
    traps::open_fp(cpu);
    isb();
    host.fp_is_out = true;
    // SAFETY: `host.fp` is room for a whole FP state.
    unsafe { ward_fp_save(&mut host.fp) };
    // SAFETY: `context.fp` is a whole FP state.
    unsafe { ward_fp_restore(&context.fp) };
    true
}

/// `HPFAR_EL2`, filled in for the stage-2 permission faults that leave it unwritten (DDI 0487
/// D24.2.60). `None` when the address has no translation any more.
fn fault_page(esr: Esr, far: u64) -> Option<u64> {
    match esr.class() {
        Class::DataAbortLower | Class::InstructionAbortLower
            if esr.fault().is_stage2() && !esr.hpfar_valid() =>
        {
            translate(far).map(|ipa| ipa >> 8)
        }
        _ => Some(get!("hpfar_el2")),
    }
}

/// The page that EL1's own tables make of an address: none when they make nothing of it, or are in
/// memory that answers with an error. The syndrome of the exception that is being handled is lost:
/// who needs it has read it.
pub fn translate(far: u64) -> Option<u64> {
    // SAFETY: a translation by EL1's stage 1, as for a read. It touches no memory of Ward's, and
    // brings its own vectors for what the walk may meet.
    let par = unsafe { ward_translate(far) };
    (par & 1 == 0).then_some(par & 0x000f_ffff_ffff_f000)
}

/// The reverse of [`load`]; nothing of the guest's is left in any register but the deadline of
/// its armed timer (`timer`).
pub fn unload(context: &mut Context, _params: &RunParams) {
    let cpu = percpu::this();
    // SAFETY: as in `load`.
    let host = unsafe { &mut *cpu.host.get() };
    let features = cpu.features();
    let pauth = features.has(Features::PAUTH);

    sysregs::save(&mut context.sys, pauth);
    timer::unload(context);
    gic::unload(&mut context.gic, features);
    if host.fp_is_out {
        host.fp_is_out = false;
        // SAFETY: `context.fp` is room for a whole FP state.
        unsafe { ward_fp_save(&mut context.fp) };
        if !cfg!(ward_without = "host-fp") {
            // SAFETY: `host.fp` is what `take_fp` saved.
            unsafe { ward_fp_restore(&host.fp) };
        }
    } else {
        traps::open_fp(cpu);
    }

    set!("tcr_el1", context[SysReg::TcrEl1] | NO_WALKS);
    isb();
    set_stage2(traps::host_vttbr(), cpu);
    traps::host_again(host.controls);
    sysregs::restore(&host.sys, pauth);
    set!("sp_el0", host.sp_el0);
    // SAFETY: the host's table handles every exception from here.
    unsafe { ward_set_host_vectors() };
    isb();
    set!("tcr_el1", host.sys[SysReg::TcrEl1 as usize]);
    traps::start_pmu(host.pmcr, features);
    isb();
    cpu.guest.store(0, Ordering::Relaxed);
    cpu.runs.store(0, Ordering::Relaxed);
}

/// Zeroes the FP state: no guest's value outlives a crash in it.
pub fn scrub_fp() {
    let zero = Fp {
        v: [0; 32],
        fpcr: 0,
        fpsr: 0,
    };
    traps::open_fp_anyhow();
    // SAFETY: a whole FP state, open.
    unsafe { ward_fp_restore(&zero) };
}
