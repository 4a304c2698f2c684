//! Exceptions that Ward makes a guest, or the host, take at EL1.
//!
//! [`inject`] follows AArch64.TakeException (DDI 0487 J1.1.2) for a synchronous exception to an
//! AArch64 EL1: PC is `VBAR_EL1` plus the offset by where it came from, ELR the old PC, SPSR the
//! old PSTATE. An instruction that was emulated is skipped *before* this, never after.

use super::context::{Context, PSTATE_AARCH32, PSTATE_MODE, SysReg};
use super::esr::{Class, Esr};

/// What is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The instruction is not one this CPU has.
    Undefined,
    /// The memory system has nothing at `far` for a load or store.
    DataAbort {
        /// The virtual address.
        far: u64,
        /// A write was refused.
        write: bool,
    },
    /// The memory system has nothing at `far` for an instruction fetch.
    InstructionAbort {
        /// The virtual address.
        far: u64,
    },
    /// The host touched what is not its own: a synchronous external abort, as if nothing
    /// answered at that address. Any kernel ends the process by it. A stage-2 fault's own code
    /// would not do: the kernel finds its tables in order and tries again for ever.
    ///
    /// S1PTW is set as well. It says something in `ESR_EL2` only and is RES0 in `ESR_EL1`, so
    /// no abort of the memory system's has it: a kernel that knows Ward tells the two apart. An
    /// error of the hardware's that was reported to EL2 therefore goes on without it.
    HostAbort {
        /// The trapped `ESR_EL2` of a data or instruction abort.
        esr: u64,
        /// The virtual address.
        far: u64,
    },
}

/// The state of EL1 that taking an exception depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Before {
    /// PC: the instruction to return to.
    pub pc: u64,
    /// PSTATE, as `SPSR_EL2` holds it.
    pub pstate: u64,
    /// `VBAR_EL1`.
    pub vbar: u64,
    /// `SCTLR_EL1`.
    pub sctlr: u64,
    /// Memory tagging is there (FEAT_MTE): tag checks are overridden in the handler.
    pub tagging: bool,
}

/// What the exception leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct After {
    /// PC: the vector.
    pub pc: u64,
    /// PSTATE, for `SPSR_EL2`.
    pub pstate: u64,
    /// `ELR_EL1`.
    pub elr: u64,
    /// `SPSR_EL1`.
    pub spsr: u64,
    /// `ESR_EL1`.
    pub esr: u64,
    /// `FAR_EL1`, where the exception writes it.
    pub far: Option<u64>,
}

/// Vector offsets of a synchronous exception (DDI 0487 D1.3.1): from EL1 on SP_EL0, from EL1 on
/// SP_EL1, from AArch64 EL0, from AArch32 EL0.
const OFFSETS: [u64; 4] = [0x000, 0x200, 0x400, 0x600];
const VBAR_RES0: u64 = 0x7ff;

/// Condition flags and DIT survive.
const KEPT: u64 = 0xf << 28 | 1 << 24;
const PAN: u64 = 1 << 22;
const TCO: u64 = 1 << 25;
const SSBS: u64 = 1 << 12;
/// EL1h with D, A, I and F masked; UAO, SS, IL, BTYPE clear.
const EL1H_MASKED: u64 = 0x3c5;

const SCTLR_SPAN: u64 = 1 << 23;
const SCTLR_DSSBS: u64 = 1 << 44;

const EC_SHIFT: u32 = 26;
const IL: u64 = 1 << 25;
const S1PTW: u64 = 1 << 7;
const WNR: u64 = 1 << 6;
/// CM: cache maintenance did it.
const CM: u64 = 1 << 8;
/// FnV: FAR holds nothing.
const FNV: u64 = 1 << 10;
/// DFSC and IFSC of a synchronous external abort, not on a walk.
const EXTERNAL: u64 = 0x10;
/// The same on a walk of stage 1, at its last level.
const EXTERNAL_ON_WALK: u64 = 0x17;
const EC_INSTRUCTION_ABORT: u64 = 0x20;
const EC_DATA_ABORT: u64 = 0x24;

/// Takes `kind` at EL1.
pub fn inject(before: Before, kind: Kind) -> After {
    let from_el0 = before.pstate & PSTATE_MODE == 0;
    let offset = OFFSETS[origin(before.pstate)];
    let (esr, far) = syndrome(kind, from_el0);
    After {
        pc: (before.vbar & !VBAR_RES0) + offset,
        pstate: handler_pstate(before),
        elr: before.pc,
        spsr: before.pstate,
        esr,
        far,
    }
}

/// The row of [`OFFSETS`].
fn origin(pstate: u64) -> usize {
    if pstate & PSTATE_AARCH32 != 0 {
        return 3;
    }
    match pstate & PSTATE_MODE {
        0 => 2,
        mode if mode & 1 == 0 => 0,
        _ => 1,
    }
}

/// PSTATE in the handler. PAN rises unless `SCTLR_EL1.SPAN` forbids it, SSBS becomes
/// `SCTLR_EL1.DSSBS` (DDI 0487 D1.3.2).
fn handler_pstate(before: Before) -> u64 {
    let mut pstate = before.pstate & (KEPT | PAN) | EL1H_MASKED;
    if before.sctlr & SCTLR_SPAN == 0 {
        pstate |= PAN;
    }
    if before.sctlr & SCTLR_DSSBS != 0 {
        pstate |= SSBS;
    }
    if before.tagging {
        pstate |= TCO;
    }
    pstate
}

/// `ESR_EL1` and `FAR_EL1`. The classes of aborts are odd when taken without a change of level.
fn syndrome(kind: Kind, from_el0: bool) -> (u64, Option<u64>) {
    let class = |ec: u64| (ec | u64::from(!from_el0)) << EC_SHIFT | IL;
    match kind {
        Kind::Undefined => (IL, None),
        Kind::DataAbort { far, write } => {
            let wnr = if write { WNR } else { 0 };
            (class(EC_DATA_ABORT) | wnr | EXTERNAL, Some(far))
        }
        Kind::InstructionAbort { far } => (class(EC_INSTRUCTION_ABORT) | EXTERNAL, Some(far)),
        Kind::HostAbort { esr, far } => {
            let trapped = Esr::new(esr);
            let fetch = trapped.class() == Class::InstructionAbortLower;
            let (ec, direction) = if fetch {
                (EC_INSTRUCTION_ABORT, 0)
            } else {
                (EC_DATA_ABORT, esr & (CM | WNR))
            };
            // At which level of stage 1 the walk was, no register tells.
            let status = if trapped.on_walk() {
                EXTERNAL_ON_WALK
            } else {
                EXTERNAL
            };
            // FAR_EL2 is valid for every stage-2 fault (DDI 0487 D24.2.49). With FnV it may hold
            // what a guest's exception left there.
            let (source, far) = if trapped.fault().is_stage2() {
                (S1PTW, far)
            } else if esr & FNV != 0 {
                (FNV, 0)
            } else {
                (0, far)
            };
            (class(ec) | source | direction | status, Some(far))
        }
    }
}

/// Makes a vCPU take `kind` when its EL1 registers are reached through `read` and `write`: the
/// CPU's own registers while it is loaded, [`Context::sys`] while it is not.
pub fn deliver(
    context: &mut Context,
    kind: Kind,
    read: impl Fn(&Context, SysReg) -> u64,
    mut write: impl FnMut(&mut Context, SysReg, u64),
) {
    let before = Before {
        pc: context.pc,
        pstate: context.pstate,
        vbar: read(context, SysReg::VbarEl1),
        sctlr: read(context, SysReg::SctlrEl1),
        tagging: false, // guests have none, see idregs
    };
    let after = inject(before, kind);
    context.pc = after.pc;
    context.pstate = after.pstate;
    write(context, SysReg::ElrEl1, after.elr);
    write(context, SysReg::SpsrEl1, after.spsr);
    write(context, SysReg::EsrEl1, after.esr);
    if let Some(far) = after.far {
        write(context, SysReg::FarEl1, far);
    }
}

/// Makes a vCPU that is not loaded take `kind`.
pub fn deliver_unloaded(context: &mut Context, kind: Kind) {
    deliver(
        context,
        kind,
        |c, reg| c[reg],
        |c, reg, value| c[reg] = value,
    );
}

#[cfg(test)]
mod tests;
