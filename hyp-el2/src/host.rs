//! What the host traps to EL2 for, and what becomes of it.

pub mod idregs;
mod inject;
pub(crate) mod once;

use crate::cpu::get;
use crate::{crash, gic, glue, psci, smc, smmu, switch};
use hyp_core::abi::{Call, smccc};
use hyp_core::addr::Ipa;
use hyp_core::memory::{HostFault, HostFaultAction};
use hyp_core::smc::{HostSmc, host_smc};
use hyp_core::vcpu::context;
use hyp_core::vcpu::esr::{Class, Esr, Fault};
use hyp_core::vcpu::inject::Kind;

/// The host's registers on this CPU's stack; laid out by vectors.s.
#[repr(C)]
#[derive(Debug)]
pub struct Frame {
    /// x0 to x30.
    pub x: [u64; 31],
    /// `ELR_EL2`.
    pub pc: u64,
    /// `SPSR_EL2`.
    pub pstate: u64,
    pad: u64,
}

impl Frame {
    /// Steps over the instruction that trapped: it has been done for the host.
    pub(crate) fn skip(&mut self, esr: Esr) {
        context::skip(&mut self.pc, &mut self.pstate, esr.is_long());
    }
}

/// What Linux's EL2 stub answers to functions it does not have (`HVC_STUB_ERR`).
const STUB_ERROR: u64 = 0xbad_ca11;
/// The stub's functions: 0 set vectors, 1 soft restart, 2 reset vectors, 3 finalise EL2.
const STUB_LAST_REFUSED: u64 = 3;
/// `HVC_GET_ICH_VTR_EL2`.
const STUB_GET_ICH_VTR: u64 = 4;

#[unsafe(no_mangle)]
extern "C" fn ward_host_trap(frame: &mut Frame) {
    if crash::happened() {
        crash::stop();
    }
    let raw = get!("esr_el2");
    let esr = Esr::new(raw);
    match esr.class() {
        Class::Hvc64 => call(frame),
        Class::Smc64 => {
            // The SMC itself trapped, it did not execute (DDI 0487 D1.3.6): skip it.
            frame.skip(esr);
            firmware_call(frame);
        }
        Class::DataAbortLower | Class::InstructionAbortLower => abort(frame, esr),
        Class::Sys64 => system_register(frame, esr),
        _ => {
            if once::first(raw >> 26) {
                let pc = frame.pc;
                glue::ward().log(format_args!("host: UNDEF for {esr} at {pc:#x}"));
            }
            inject::take(frame, Kind::Undefined);
        }
    }
    if smmu::due() {
        smmu::look();
    }
}

fn call(frame: &mut Frame) {
    match frame.x[0] {
        0..=STUB_LAST_REFUSED => frame.x[0] = STUB_ERROR,
        STUB_GET_ICH_VTR => {
            frame.x[0] = 0;
            frame.x[1] = switch::sanitised_vtr();
        }
        _ => {
            let registers = frame
                .x
                .first_chunk_mut()
                .expect("x0 to x7 are of x0 to x30");
            if registers[0] == u64::from(Call::LogRead.function_id()) {
                // Who reads the log finds in it what devices tried until now.
                smmu::look();
            }
            if !crate::boot::test_call(registers) {
                glue::ward().host_call(registers);
            }
        }
    }
}

/// SMCs: hyp-core says which; power through the relay, the rest is not there.
fn firmware_call(frame: &mut Frame) {
    let args = [frame.x[0], frame.x[1], frame.x[2], frame.x[3]];
    let results = match host_smc(args[0]) {
        HostSmc::Answer(answer) => Some(answer),
        HostSmc::Psci => psci::relay(args),
        HostSmc::Forward => Some(smc::call(args)),
        HostSmc::Refuse => None,
    };
    match results {
        Some(results) => frame.x[..4].copy_from_slice(&results),
        None => frame.x[0] = smccc::NOT_SUPPORTED,
    }
}

fn abort(frame: &mut Frame, esr: Esr) {
    let far = get!("far_el2");
    let permission = matches!(esr.fault(), Fault::Permission(_));
    let ipa = if esr.hpfar_valid() {
        Some(esr.fault_ipa(get!("hpfar_el2"), far))
    } else if esr.fault().is_stage2() {
        switch::translate(far)
    } else {
        None
    };
    if let Some(ipa) = ipa
        && esr.class() == Class::DataAbortLower
        && (gic::access(frame, esr, ipa) || smmu::access(frame, esr, ipa))
    {
        return;
    }
    let action = match ipa {
        Some(ipa) => glue::ward().host_fault(HostFault {
            ipa: Ipa::containing(ipa),
            permission,
        }),
        // The host's own tables changed meanwhile: its next try tells. Anything that is no
        // stage-2 abort came here by hardware's error report: it is the host's.
        None if esr.fault().is_stage2() => HostFaultAction::Retry,
        None => HostFaultAction::Abort,
    };
    if action == HostFaultAction::Abort {
        inject::take(
            frame,
            Kind::HostAbort {
                esr: esr.raw(),
                far,
            },
        );
    }
}

fn system_register(frame: &mut Frame, esr: Esr) {
    let access = esr.sys_access();
    let raw = esr.raw();
    // ISS of EC 0x18 (DDI 0487 D24.2.44): Op0 21:20, Op2 19:17, Op1 16:14, CRn 13:10, CRm 4:1.
    let (op0, op1, crn) = (raw >> 20 & 3, raw >> 14 & 7, raw >> 10 & 0xf);
    let (crm, op2) = (raw >> 1 & 0xf, raw >> 17 & 7);
    if !access.write && (op0, op1, crn) == (3, 0, 0) && (1..=7).contains(&crm) {
        let value = idregs::read(crm as u8, op2 as u8);
        if let Some(register) = frame.x.get_mut(usize::from(access.rt)) {
            *register = value;
        }
        frame.skip(esr);
        return;
    }
    if once::first(1 << 32 | raw & 0x3f_fc1e) {
        let pc = frame.pc;
        glue::ward().log(format_args!(
            "host: UNDEF for S{op0}_{op1}_C{crn}_C{crm}_{op2} at {pc:#x}: hidden feature"
        ));
    }
    inject::take(frame, Kind::Undefined);
}
