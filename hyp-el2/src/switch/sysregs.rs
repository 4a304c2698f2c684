//! EL1's system registers, by [`SysReg`] (DDI 0487 D24.2).

use crate::cpu::{Features, get, get_pair, set, set_pair};
use crate::percpu;
use hyp_core::vcpu::context::{Context, RESET_SCTLR, SYS_REGS, SysReg};

/// Registers in pairs of neighbours, which are moved by one access to memory.
macro_rules! registers {
    ($($all:ident: $($one:ident $a:literal $other:ident $b:literal),*;)*) => {
        $(
            mod $all {
                use super::{SYS_REGS, SysReg, get_pair, set_pair};
                pub(super) fn save(sys: &mut [u64; SYS_REGS]) {
                    $(
                        let (one, other) = get_pair!($a, $b);
                        sys[SysReg::$one as usize] = one;
                        sys[SysReg::$other as usize] = other;
                    )*
                }
                pub(super) fn restore(sys: &[u64; SYS_REGS]) {
                    $(set_pair!(
                        $a, sys[SysReg::$one as usize], $b, sys[SysReg::$other as usize]
                    );)*
                }
            }
        )*
        fn read(reg: SysReg) -> Option<u64> {
            match reg {
                $($(
                    SysReg::$one => Some(get!($a)),
                    SysReg::$other => Some(get!($b)),
                )*)*
                SysReg::TcrEl1 => Some(get!("tcr_el1")),
                _ => None,
            }
        }
        fn write(reg: SysReg, value: u64) {
            match reg {
                $($(
                    SysReg::$one => set!($a, value),
                    SysReg::$other => set!($b, value),
                )*)*
                SysReg::TcrEl1 => set!("tcr_el1", value),
                _ => {}
            }
        }
    };
}

// TCR_EL1 is saved here and restored by the switch, last. ACTLR_EL1 is the CPU's, not the
// guest's: accesses trap (HCR_EL2.TACR) and its value never moves. The timer has its own module.
registers! {
    base:
        SctlrEl1 "sctlr_el1" CpacrEl1 "cpacr_el1", Ttbr0El1 "ttbr0_el1" Ttbr1El1 "ttbr1_el1",
        EsrEl1 "esr_el1" Afsr0El1 "afsr0_el1", Afsr1El1 "afsr1_el1" FarEl1 "far_el1",
        MairEl1 "mair_el1" VbarEl1 "vbar_el1", ContextidrEl1 "contextidr_el1" TpidrEl1 "tpidr_el1",
        TpidrEl0 "tpidr_el0" TpidrroEl0 "tpidrro_el0", AmairEl1 "amair_el1" CntkctlEl1 "cntkctl_el1",
        ParEl1 "par_el1" MdscrEl1 "mdscr_el1", CsselrEl1 "csselr_el1" SpEl1 "sp_el1",
        ElrEl1 "elr_el1" SpsrEl1 "spsr_el1";
    keys:
        ApiaKeyLo "S3_0_C2_C1_0" ApiaKeyHi "S3_0_C2_C1_1",
        ApibKeyLo "S3_0_C2_C1_2" ApibKeyHi "S3_0_C2_C1_3",
        ApdaKeyLo "S3_0_C2_C2_0" ApdaKeyHi "S3_0_C2_C2_1",
        ApdbKeyLo "S3_0_C2_C2_2" ApdbKeyHi "S3_0_C2_C2_3",
        ApgaKeyLo "S3_0_C2_C3_0" ApgaKeyHi "S3_0_C2_C3_1";
}

/// Takes the registers out of the CPU.
pub(super) fn save(sys: &mut [u64; SYS_REGS], pauth: bool) {
    base::save(sys);
    sys[SysReg::TcrEl1 as usize] = get!("tcr_el1");
    if pauth {
        keys::save(sys);
    }
}

/// Puts the registers into the CPU, all but `TCR_EL1`.
pub(super) fn restore(sys: &[u64; SYS_REGS], pauth: bool) {
    base::restore(sys);
    if pauth {
        keys::restore(sys);
    }
}

/// EL1 as a kernel expects it at its first instruction: everything a lower level can write is
/// initialised (booting.rst, "all writable architected system registers").
pub fn reset_el1() {
    let mut sys = [0; SYS_REGS];
    sys[SysReg::SctlrEl1 as usize] = RESET_SCTLR & !0x38;
    base::restore(&sys);
    set!("tcr_el1", sys[SysReg::TcrEl1 as usize]);
    if percpu::this().features().has(Features::PAUTH) {
        keys::restore(&sys);
    }
    set!("cntv_ctl_el0", 0);
    set!("cntp_ctl_el0", 0);
    super::scrub_fp();
}

/// A key of a CPU that has no pointer authentication.
fn is_missing_key(reg: SysReg) -> bool {
    let keys = SysReg::ApiaKeyLo as usize..=SysReg::ApgaKeyHi as usize;
    keys.contains(&(reg as usize)) && !percpu::this().features().has(Features::PAUTH)
}

/// A register of the loaded vCPU.
pub fn guest_register(context: &Context, reg: SysReg) -> u64 {
    match reg {
        SysReg::CntvCtl => get!("cntv_ctl_el0"),
        SysReg::CntvCval => get!("cntv_cval_el0"),
        SysReg::ActlrEl1 => get!("actlr_el1"),
        _ if is_missing_key(reg) => context[reg],
        _ => read(reg).unwrap_or(context[reg]),
    }
}

/// Writes a register of the loaded vCPU.
pub fn set_guest_register(context: &mut Context, reg: SysReg, value: u64) {
    context[reg] = value;
    match reg {
        SysReg::CntvCtl => set!("cntv_ctl_el0", value),
        SysReg::CntvCval => set!("cntv_cval_el0", value),
        _ if is_missing_key(reg) => {}
        _ => write(reg, value),
    }
}
