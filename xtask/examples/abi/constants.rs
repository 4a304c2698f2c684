//! The named numbers of the interface, in groups, as the manual and the header list them.

use hyp_core::abi::calls::{info, stat, vm_state};
use hyp_core::abi::run::{exit, in_flags};

/// A group of numbers.
pub(super) struct Group {
    /// What the names in the C header start with, after `WARD_`.
    pub(super) prefix: &'static str,
    /// What the numbers are, for a reader.
    pub(super) what: &'static str,
    /// Name and number.
    pub(super) values: &'static [(&'static str, u64)],
}

macro_rules! group {
    ($prefix:literal, $what:literal, $module:ident: $($name:ident)*) => {
        Group { prefix: $prefix, what: $what, values: &[$((stringify!($name), $module::$name)),*] }
    };
}

/// All groups.
pub(super) const GROUPS: &[Group] = &[
    group!("EXIT", "Reasons for which a run returns", exit:
        IRQ WAIT MMIO MEMORY CPU_ON CPU_OFF SYSTEM_OFF SYSTEM_RESET SYSREG CALL POOL SERROR),
    group!("IN", "Flags of a run's input", in_flags: INJECT_ABORT INJECT_UNDEF REGS_DIRTY RETRY ALL),
    group!("VM_STATE", "States of a VM", vm_state: UNUSED READY VERIFIED POWER_OFF),
    group!("INFO", "Keys of `info`", info: ROOT_FRAMES IPA_BITS MAX_VMS LIST_REGISTERS HOST_POOL),
    group!("STAT", "Keys of `stat_read`", stat:
        FRAMES HOST_FRAMES HYP_FRAMES VM_FRAMES CALLS REFUSED HOST_ABORTS
        VM_STATE VM_MAPPED VM_POOL VM_EXITS VM_ANSWERED VM_SHARED),
];

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
