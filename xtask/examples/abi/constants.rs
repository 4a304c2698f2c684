//! The named numbers of the interface, in groups, as the manual and the header list them.

use hyp_core::abi::calls::{info, stat, vm_state};
use hyp_core::abi::run::{exit, in_flags, sync};
use hyp_core::abi::{
    AGE_LOOK, IO_READ_ONLY, IO_WRITE_COMBINING, MAX_IMAGES, MAX_LIST_REGISTERS, MAX_RANGE_FRAMES,
    MAX_REGIONS, MAX_VCPUS, VCPU_RECORD_FRAMES, VM_HOST_IDS, VM_PROTECTED, VM_RECORD_FRAMES,
};
use hyp_core::vcpu::context::{SYS_REGS, SysReg};

/// A group of numbers.
pub(super) struct Group {
    /// What the names in the C header start with, after `WARD_`.
    pub(super) prefix: &'static str,
    /// What the numbers are, for a reader.
    pub(super) what: &'static str,
    /// The module of hyp-core that has them, as its source begins it, and that source.
    pub(super) source: (&'static str, &'static str),
    /// Name and number.
    pub(super) values: &'static [(&'static str, u64)],
}

macro_rules! group {
    ($prefix:literal, $what:literal, $file:ident $module:ident: $($name:ident)*) => {
        Group {
            prefix: $prefix,
            what: $what,
            source: (concat!("pub mod ", stringify!($module)), $file),
            values: &[$((stringify!($name), $module::$name)),*],
        }
    };
}

const CALLS: &str = include_str!("../../../hyp-core/src/abi/calls.rs");
const RUN: &str = include_str!("../../../hyp-core/src/abi/run.rs");

/// All groups.
pub(super) const GROUPS: &[Group] = &[
    group!("EXIT", "Reasons for which a run returns", RUN exit:
        IRQ WAIT MMIO MEMORY CPU_ON CPU_OFF SYSTEM_OFF SYSTEM_RESET SYSREG CALL POOL SERROR RELINQUISH),
    group!("IN", "Flags of a run's input", RUN in_flags: INJECT_ABORT INJECT_UNDEF REGS_DIRTY RETRY LAZY ALL),
    group!("SYNC", "What `vcpu_sync` moves", RUN sync: SHOW_REGS SHOW_FP TAKE_FP),
    group!("VM_STATE", "States of a VM", CALLS vm_state: UNUSED READY VERIFIED POWER_OFF),
    group!("INFO", "Keys of `info`", CALLS info: ROOT_FRAMES IPA_BITS MAX_VMS LIST_REGISTERS HOST_POOL MAX_VCPUS
        IOVA_BITS ID_REGISTERS),
    group!("STAT", "Keys of `stat_read`", CALLS stat:
        FRAMES HOST_FRAMES HYP_FRAMES VM_FRAMES CALLS REFUSED HOST_ABORTS
        DEVICE_LOST VM_STATE VM_MAPPED VM_POOL VM_EXITS VM_ANSWERED VM_SHARED),
];

/// Sizes and counts that both sides rely on.
pub(super) const LIMITS: &[(&str, u64)] = &[
    ("VM_RECORD_FRAMES", VM_RECORD_FRAMES),
    ("VCPU_RECORD_FRAMES", VCPU_RECORD_FRAMES),
    ("MAX_VCPUS", MAX_VCPUS as u64),
    ("MAX_IMAGES", MAX_IMAGES as u64),
    ("MAX_REGIONS", MAX_REGIONS as u64),
    ("MAX_RANGE_FRAMES", MAX_RANGE_FRAMES),
    ("VM_PROTECTED", VM_PROTECTED),
    ("VM_HOST_IDS", VM_HOST_IDS),
    ("IO_WRITE_COMBINING", IO_WRITE_COMBINING),
    ("IO_READ_ONLY", IO_READ_ONLY),
    ("AGE_LOOK", AGE_LOOK),
    ("MAX_LIST_REGISTERS", MAX_LIST_REGISTERS as u64),
];

/// What stands in a normal VM's register window before the system registers: name in the C header,
/// words, meaning.
pub(super) const WINDOW_HEAD: &[(&str, usize, &str)] = &[
    ("x", 31, "`X0` to `X30`"),
    ("sp_el0", 1, "`SP_EL0`"),
    ("pc", 1, "Where the vCPU goes on"),
    ("pstate", 1, "PSTATE, as `SPSR_EL2` holds it"),
];

/// The FP/SIMD registers of a normal VM: name in the C header, words, meaning.
pub(super) const FP: [(&str, usize, &str); 3] = [
    ("v", 64, "`V0` to `V31`, the lower half of each first"),
    ("fpcr", 1, "`FPCR`"),
    ("fpsr", 1, "`FPSR`"),
];

/// The system registers of the window, in their order.
#[rustfmt::skip]
pub(super) const SYS_REGISTERS: &[SysReg; SYS_REGS] = {
    use SysReg::*;
    &[
        SctlrEl1, CpacrEl1, Ttbr0El1, Ttbr1El1, TcrEl1, EsrEl1, Afsr0El1, Afsr1El1, FarEl1, MairEl1,
        VbarEl1, ContextidrEl1, TpidrEl1, TpidrEl0, TpidrroEl0, AmairEl1, CntkctlEl1, ParEl1, MdscrEl1,
        CsselrEl1, SpEl1, ElrEl1, SpsrEl1, ActlrEl1, ApiaKeyLo, ApiaKeyHi, ApibKeyLo, ApibKeyHi, ApdaKeyLo,
        ApdaKeyHi, ApdbKeyLo, ApdbKeyHi, ApgaKeyLo, ApgaKeyHi, CntvCtl, CntvCval,
    ]
};

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The groups name their members one by one; this finds a member that was forgotten.
    #[test]
    fn every_number_of_the_interface_is_in_a_group() {
        for file in ["calls.rs", "run.rs"] {
            let path =
                concat!(env!("CARGO_MANIFEST_DIR"), "/../hyp-core/src/abi/").to_owned() + file;
            let source = fs::read_to_string(path).unwrap();
            // Members of a module are indented by one step.
            let members = source
                .lines()
                .filter_map(|line| line.strip_prefix("    pub const "));
            for member in members.filter_map(|member| member.split_once(": u64 =")) {
                let listed = GROUPS
                    .iter()
                    .any(|group| group.values.iter().any(|(name, _)| *name == member.0));
                assert!(
                    listed,
                    "{} of {file} is in no group of xtask/examples/abi/constants.rs",
                    member.0
                );
            }
        }
    }
}
