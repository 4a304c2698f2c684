//! The virtual timer (DDI 0487 D12.2). It is the loaded vCPU's; the host keeps to the physical
//! timer, which guests cannot touch (CNTHCTL_EL2.EL1PCEN = 0).
//!
//! A guest that leaves with its timer armed must still be woken. So the timer stays armed after
//! [`unload`], but in the host's time: `CNTVOFF_EL2` is 0 again and `CNTV_CVAL_EL0` holds the
//! deadline plus the guest's offset. When it expires the host takes the timer's interrupt
//! and runs the vCPU again. That deadline is the one thing of a guest's that is left in a
//! register; an unarmed or masked timer leaves nothing.

use crate::cpu::{get, get_pair, set, set_pair};
use hyp_core::machine::RunParams;
use hyp_core::vcpu::context::{Context, SysReg};

/// `CNTV_CTL_EL0`: ENABLE, IMASK, ISTATUS.
const ENABLE: u64 = 1;
const IMASK: u64 = 2;

/// `CNTHCTL_EL2` with E2H = 0 (DDI 0487 D24.10.2): EL1PCTEN, EL1PCEN.
pub(super) const HOST_CNTHCTL: u64 = 3;
const GUEST_CNTHCTL: u64 = 1;

pub(super) fn load(context: &Context, params: &RunParams) {
    set!("cnthctl_el2", GUEST_CNTHCTL);
    // Off while offset and deadline do not belong together.
    set!("cntv_ctl_el0", 0);
    set_pair!(
        "cntvoff_el2",
        params.cntvoff,
        "cntv_cval_el0",
        context[SysReg::CntvCval]
    );
    crate::cpu::isb();
    set!("cntv_ctl_el0", context[SysReg::CntvCtl] & (ENABLE | IMASK));
}

pub(super) fn unload(context: &mut Context) {
    let (control, deadline) = get_pair!("cntv_ctl_el0", "cntv_cval_el0");
    let offset = get!("cntvoff_el2");
    context[SysReg::CntvCtl] = control & (ENABLE | IMASK);
    context[SysReg::CntvCval] = deadline;
    set!("cntv_ctl_el0", 0);
    set!("cntvoff_el2", 0);
    let armed = control & (ENABLE | IMASK) == ENABLE;
    set!(
        "cntv_cval_el0",
        if armed || cfg!(ward_without = "timer") {
            deadline.wrapping_add(offset)
        } else {
            0
        }
    );
    crate::cpu::isb();
    set!("cntv_ctl_el0", if armed { ENABLE } else { 0 });
    set!("cnthctl_el2", HOST_CNTHCTL);
}
