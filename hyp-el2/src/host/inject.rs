//! Exceptions the host takes because Ward says so; its EL1 registers are in the CPU.

use super::Frame;
use crate::cpu::{field, get, set};
use hyp_core::vcpu::inject::{Before, Kind, inject};

pub(super) fn take(frame: &mut Frame, kind: Kind) {
    let after = inject(
        Before {
            pc: frame.pc,
            pstate: frame.pstate,
            vbar: get!("vbar_el1"),
            sctlr: get!("sctlr_el1"),
            tagging: field(get!("id_aa64pfr1_el1"), 8) >= 2,
        },
        kind,
    );
    frame.pc = after.pc;
    frame.pstate = after.pstate;
    set!("elr_el1", after.elr);
    set!("spsr_el1", after.spsr);
    set!("esr_el1", after.esr);
    if let Some(far) = after.far {
        set!("far_el1", far);
    }
}
