//! The virtual CPU interface of GICv3 (IHI 0069 chapter 6, registers 12.4). hyp-core has
//! sanitised what is loaded.

use crate::cpu::{get, set};
use hyp_core::abi::run::Gic;

/// ICC_SRE_EL1: SRE, DFB, DIB. ICC_SRE_EL2: also Enable.
const SRE: u64 = 7;
const SRE_ENABLE: u64 = 1 << 3;

/// A getter and a setter of a numbered register.
macro_rules! indexed {
    ($read:ident $write:ident $($n:literal $name:literal)*) => {
        fn $read(index: usize) -> u64 {
            match index {
                $($n => get!($name),)*
                _ => 0,
            }
        }
        fn $write(index: usize, value: u64) {
            match index {
                $($n => set!($name, value),)*
                _ => {}
            }
        }
    };
}

// ICH_AP0R<n>_EL2, ICH_AP1R<n>_EL2, ICH_LR<n>_EL2.
indexed!(ap0r set_ap0r 0 "S3_4_C12_C8_0" 1 "S3_4_C12_C8_1" 2 "S3_4_C12_C8_2" 3 "S3_4_C12_C8_3");
indexed!(ap1r set_ap1r 0 "S3_4_C12_C9_0" 1 "S3_4_C12_C9_1" 2 "S3_4_C12_C9_2" 3 "S3_4_C12_C9_3");
indexed!(lr set_lr
    0 "S3_4_C12_C12_0" 1 "S3_4_C12_C12_1" 2 "S3_4_C12_C12_2" 3 "S3_4_C12_C12_3"
    4 "S3_4_C12_C12_4" 5 "S3_4_C12_C12_5" 6 "S3_4_C12_C12_6" 7 "S3_4_C12_C12_7"
    8 "S3_4_C12_C13_0" 9 "S3_4_C12_C13_1" 10 "S3_4_C12_C13_2" 11 "S3_4_C12_C13_3"
    12 "S3_4_C12_C13_4" 13 "S3_4_C12_C13_5" 14 "S3_4_C12_C13_6" 15 "S3_4_C12_C13_7"
);

/// List registers of this CPU: ICH_VTR_EL2.ListRegs + 1.
pub fn list_registers() -> u8 {
    (get!("ich_vtr_el2") & 0x1f) as u8 + 1
}

/// ICH_VTR_EL2 as a host may see it: the fields of IHI 0069 12.4.10 that say how many list and
/// priority registers there are, and no more.
pub fn sanitised_vtr() -> u64 {
    get!("ich_vtr_el2") & 0xfff8_001f
}

/// Active-priority registers in each group: PREbits (28:26) + 1 bits of preemption priority,
/// 32 levels a register.
fn priority_registers() -> usize {
    match get!("ich_vtr_el2") >> 26 & 7 {
        6 => 4,
        5 => 2,
        _ => 1,
    }
}

/// System-register access to the GIC for EL2 and EL1; the virtual interface off. The boot stops
/// before this where there is no GICv3 CPU interface.
pub fn init_cpu() {
    set!("S3_4_C12_C9_5", SRE | SRE_ENABLE); // ICC_SRE_EL2
    crate::cpu::isb();
    set!("S3_0_C12_C12_5", SRE); // ICC_SRE_EL1
    crate::cpu::isb();
    clear();
}

/// The virtual interface off and empty.
fn clear() {
    set!("ich_hcr_el2", 0);
    for n in 0..usize::from(list_registers()) {
        set_lr(n, 0);
    }
    for n in 0..priority_registers() {
        set_ap0r(n, 0);
        set_ap1r(n, 0);
    }
    set!("ich_vmcr_el2", 0);
}

pub(super) fn load(gic: &Gic) {
    set!("ich_vmcr_el2", gic.vmcr);
    for n in 0..priority_registers() {
        set_ap0r(n, gic.ap0r[n]);
        set_ap1r(n, gic.ap1r[n]);
    }
    let used = gic.used.min(u64::from(list_registers())) as usize;
    for n in 0..used {
        set_lr(n, gic.lr[n]);
    }
    set!("ich_hcr_el2", gic.hcr);
}

pub(super) fn unload(gic: &mut Gic) {
    // The interface's effects are complete before it is read (IHI 0069 6.5).
    crate::cpu::isb();
    gic.hcr = get!("ich_hcr_el2");
    gic.vmcr = get!("ich_vmcr_el2");
    for n in 0..priority_registers() {
        gic.ap0r[n] = ap0r(n);
        gic.ap1r[n] = ap1r(n);
    }
    let used = gic.used.min(u64::from(list_registers())) as usize;
    for n in 0..used {
        gic.lr[n] = lr(n);
    }
    clear();
    // A guest may have cleared SRE where that is possible; the host's access depends on it.
    set!("S3_0_C12_C12_5", SRE);
}
