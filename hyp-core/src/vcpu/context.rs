//! The registers of a vCPU, as they rest while it does not run.

/// EL1 system registers that belong to a vCPU, in the order of [`Context::sys`].
///
/// `hyp-el2` saves and restores each of them on every switch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
#[allow(missing_docs)] // each is named as in DDI 0487 D24.2
pub enum SysReg {
    SctlrEl1,
    CpacrEl1,
    Ttbr0El1,
    Ttbr1El1,
    TcrEl1,
    EsrEl1,
    Afsr0El1,
    Afsr1El1,
    FarEl1,
    MairEl1,
    VbarEl1,
    ContextidrEl1,
    TpidrEl1,
    TpidrEl0,
    TpidrroEl0,
    AmairEl1,
    CntkctlEl1,
    ParEl1,
    MdscrEl1,
    CsselrEl1,
    SpEl1,
    ElrEl1,
    SpsrEl1,
    /// `ACTLR_EL1`: implementation defined; guests read the reset value and cannot write it.
    ActlrEl1,
    /// Pointer-authentication keys, present where the CPU has them (FEAT_PAuth).
    ApiaKeyLo,
    ApiaKeyHi,
    ApibKeyLo,
    ApibKeyHi,
    ApdaKeyLo,
    ApdaKeyHi,
    ApdbKeyLo,
    ApdbKeyHi,
    ApgaKeyLo,
    ApgaKeyHi,
    /// Virtual timer.
    CntvCtl,
    CntvCval,
}

/// Registers in [`Context::sys`].
pub const SYS_REGS: usize = SysReg::CntvCval as usize + 1;

/// FP/SIMD state (DDI 0487 B1.2.2).
#[derive(Clone, PartialEq, Eq, Debug)]
#[repr(C, align(16))]
pub struct Fp {
    /// V0 to V31.
    pub v: [u128; 32],
    /// `FPCR`.
    pub fpcr: u64,
    /// `FPSR`.
    pub fpsr: u64,
}

/// All of a vCPU that its guest can see or influence. `hyp-el2` reaches into it from assembly:
/// the layout is C's.
#[derive(Clone, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Context {
    /// X0 to X30.
    pub x: [u64; 31],
    /// `SP_EL0`.
    pub sp_el0: u64,
    /// Where it goes on: `ELR_EL2` at entry.
    pub pc: u64,
    /// `SPSR_EL2` at entry.
    pub pstate: u64,
    /// EL1 registers, by [`SysReg`].
    pub sys: [u64; SYS_REGS],
    /// FP/SIMD.
    pub fp: Fp,
    /// The virtual CPU interface, sanitised.
    pub gic: crate::abi::run::Gic,
}

/// Words of the register window a normal VM's host reads and writes: x0..x30, sp_el0, pc,
/// pstate, then [`SYS_REGS`] words by [`SysReg`].
pub const WINDOW_WORDS: usize = 34 + SYS_REGS;

/// PSTATE of a vCPU at its first instruction: EL1h, DAIF masked (DDI 0487 C5.2.19).
pub const RESET_PSTATE: u64 = 0x3c5;

/// `SCTLR_EL1` at reset: MMU and caches off, little endian, RES1 bits of Armv8.0 set
/// (DDI 0487 D24.2.175).
pub const RESET_SCTLR: u64 = 0x30c5_0838;

impl Context {
    /// A vCPU at its first instruction: everything zero but what the boot protocol and the
    /// architecture name.
    pub fn reset(pc: u64, x0: u64) -> Self {
        let mut context = Context {
            x: [0; 31],
            sp_el0: 0,
            pc,
            pstate: RESET_PSTATE,
            sys: [0; SYS_REGS],
            fp: Fp {
                v: [0; 32],
                fpcr: 0,
                fpsr: 0,
            },
            gic: Default::default(),
        };
        context.x[0] = x0;
        context[SysReg::SctlrEl1] = RESET_SCTLR;
        context
    }

    /// General register `rt` as an instruction names it: 31 is XZR and reads as zero.
    pub fn gpr(&self, rt: u8) -> u64 {
        self.x.get(usize::from(rt)).copied().unwrap_or(0)
    }

    /// Writes general register `rt`; 31 is XZR and takes no write (it is never SP here).
    pub fn set_gpr(&mut self, rt: u8, value: u64) {
        if let Some(x) = self.x.get_mut(usize::from(rt)) {
            *x = value;
        }
    }

    /// Steps over the instruction at PC, which has been done for the guest. `is_long` is
    /// `ESR_EL2.IL`.
    pub fn skip(&mut self, is_long: bool) {
        skip(&mut self.pc, &mut self.pstate, is_long);
    }
}

/// Steps over the instruction at `pc`, which has been done for whoever is there: a guest, or the
/// host. It may be the last of the address space: PC wraps. A completed instruction also advances
/// software step and leaves BTYPE 0 (DDI 0487 D2.11, D8.4.3); in AArch32 it advances the IT block
/// (F1.2).
pub fn skip(pc: &mut u64, pstate: &mut u64, is_long: bool) {
    *pstate &= !PSTATE_SS;
    if *pstate & PSTATE_AARCH32 == 0 {
        *pstate &= !PSTATE_BTYPE;
        *pc = pc.wrapping_add(4);
    } else {
        *pstate = advance_it(*pstate);
        let length = if is_long { 4 } else { 2 };
        *pc = pc.wrapping_add(length) & 0xffff_ffff;
    }
}

/// M\[4\] of a saved PSTATE: the state is AArch32's.
pub const PSTATE_AARCH32: u64 = 1 << 4;
/// The mode field M\[3:0\]: 0 is EL0, 4 EL1t, 5 EL1h.
pub const PSTATE_MODE: u64 = 0xf;
/// A software step is active.
const PSTATE_SS: u64 = 1 << 21;
/// The last instruction was an indirect branch of this kind.
const PSTATE_BTYPE: u64 = 3 << 10;

/// `SPSR_EL2` of AArch32 keeps IT\[7:2\] in bits 15:10 and IT\[1:0\] in 26:25 (DDI 0487
/// C5.2.19). The last instruction of a block clears it, any other shifts IT\[4:0\].
fn advance_it(pstate: u64) -> u64 {
    let it = (pstate >> 10 & 0x3f) << 2 | pstate >> 25 & 3;
    let next = if it & 7 == 0 {
        0
    } else {
        it & 0xe0 | it << 1 & 0x1f
    };
    pstate & !(0x3f << 10 | 3 << 25) | next >> 2 << 10 | (next & 3) << 25
}

impl core::ops::Index<SysReg> for Context {
    type Output = u64;
    fn index(&self, reg: SysReg) -> &u64 {
        &self.sys[reg as usize]
    }
}

impl core::ops::IndexMut<SysReg> for Context {
    fn index_mut(&mut self, reg: SysReg) -> &mut u64 {
        &mut self.sys[reg as usize]
    }
}

#[cfg(test)]
mod tests;
