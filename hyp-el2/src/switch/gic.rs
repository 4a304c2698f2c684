//! The virtual CPU interface of GICv3 (IHI 0069 chapter 6, registers 12.4). hyp-core has
//! sanitised what is loaded.

use crate::cpu::{Features, get, get_pair, set};
use crate::percpu;
use hyp_core::abi::run::Gic;
use hyp_core::vcpu::context::Context;
use hyp_core::vcpu::esr::Esr;
use hyp_core::vcpu::gic::{Common, Interface};

/// ICC_SRE_EL1: SRE, DFB, DIB. ICC_SRE_EL2: also Enable.
const SRE: u64 = 7;
const SRE_ENABLE: u64 = 1 << 3;

/// Does for the loaded vCPU what it asked of a register that `ICH_HCR_EL2.TC` traps. `false`: it is
/// none of those, or cannot be written.
#[cold]
#[inline(never)]
pub(super) fn answer(context: &mut Context, esr: Esr) -> bool {
    let access = esr.sys_access();
    let Some(register) = Common::from_encoding(access.reg) else {
        return false;
    };
    // The interface's effects are complete before it is read (IHI 0069 6.5).
    crate::cpu::isb();
    let mut active = Gic::default();
    let priorities = percpu::this().features().priority_registers();
    save_ap0r(&mut active.ap0r, priorities);
    save_ap1r(&mut active.ap1r, priorities);
    let interface = Interface {
        vtr: get!("ich_vtr_el2"),
        vmcr: get!("ich_vmcr_el2"),
        active: core::array::from_fn(|n| active.ap0r[n] | active.ap1r[n]),
    };
    if !access.write {
        context.set_gpr(access.rt, interface.read(register));
    } else if let Some(vmcr) = interface.written(register, context.gpr(access.rt)) {
        set!("ich_vmcr_el2", vmcr);
    } else {
        return false;
    }
    context.skip(esr.is_long());
    true
}

/// Numbered registers in order: the first `count` are loaded, or saved (and cleared).
macro_rules! numbered {
    ($load:ident $unload:ident $clear:literal $all:literal: $($n:literal $name:literal)*) => {
        fn $load(values: &[u64; $all], count: usize) {
            $(
                if count <= $n {
                    return;
                }
                set!($name, values[$n]);
            )*
        }
        fn $unload(values: &mut [u64; $all], count: usize) {
            $(
                if count <= $n {
                    return;
                }
                values[$n] = get!($name);
                if $clear {
                    set!($name, 0);
                }
            )*
        }
    };
}

// ICH_AP0R<n>_EL2, ICH_AP1R<n>_EL2, ICH_LR<n>_EL2.
numbered!(load_ap0r save_ap0r false 4:
    0 "S3_4_C12_C8_0" 1 "S3_4_C12_C8_1" 2 "S3_4_C12_C8_2" 3 "S3_4_C12_C8_3"
);
numbered!(load_ap1r save_ap1r false 4:
    0 "S3_4_C12_C9_0" 1 "S3_4_C12_C9_1" 2 "S3_4_C12_C9_2" 3 "S3_4_C12_C9_3"
);
numbered!(load_lr unload_lr true 16:
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

/// System-register access to the GIC for EL2 and EL1; the virtual interface off. The boot stops
/// before this where there is no GICv3 CPU interface.
pub fn init_cpu() {
    set!("S3_4_C12_C9_5", SRE | SRE_ENABLE); // ICC_SRE_EL2
    crate::cpu::isb();
    set!("S3_0_C12_C12_5", SRE); // ICC_SRE_EL1
    crate::cpu::isb();
    // Not before: one of them is read from the interface.
    percpu::this().find_features();
    // Off and empty.
    let nothing = Gic {
        used: list_registers().into(),
        ..Gic::default()
    };
    load(&nothing, percpu::this().features());
}

/// List registers of this vCPU; hyp-core has seen to it that they exist.
fn used(gic: &Gic) -> usize {
    gic.used.min(gic.lr.len() as u64) as usize
}

/// List registers beyond [`Gic::used`] stay empty, as [`init_cpu`] and [`unload`] left them.
pub(super) fn load(gic: &Gic, features: Features) {
    let priorities = features.priority_registers();
    set!("ich_vmcr_el2", gic.vmcr);
    load_ap0r(&gic.ap0r, priorities);
    load_ap1r(&gic.ap1r, priorities);
    load_lr(&gic.lr, used(gic));
    set!("ich_hcr_el2", gic.hcr);
}

/// Leaves the virtual interface off and its list registers empty. The rest stays: no level below
/// EL2 reads it, and the next vCPU brings its own for all of it.
pub(super) fn unload(gic: &mut Gic, features: Features) {
    let (priorities, used) = (features.priority_registers(), used(gic));
    // The interface's effects are complete before it is read (IHI 0069 6.5).
    crate::cpu::isb();
    (gic.hcr, gic.vmcr) = get_pair!("ich_hcr_el2", "ich_vmcr_el2");
    set!("ich_hcr_el2", 0);
    save_ap0r(&mut gic.ap0r, priorities);
    save_ap1r(&mut gic.ap1r, priorities);
    unload_lr(&mut gic.lr, used);
    // A guest may have cleared SRE where that is possible; the host's access depends on it.
    set!("S3_0_C12_C12_5", SRE);
}
