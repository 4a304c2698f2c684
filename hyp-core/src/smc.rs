//! Which SMCs of the host reach the firmware.
//!
//! The host's SMCs trap (`HCR_EL2.TSC`). Power calls are relayed, because a CPU must come up
//! under Ward; a few queries and the workarounds that act on the calling CPU alone pass through;
//! everything else could have the firmware act on memory that is not the host's, and is refused.

use crate::abi::smccc::{self, psci, trng};

/// What becomes of an SMC of the host's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostSmc {
    /// The PSCI relay answers it.
    Psci,
    /// The firmware gets it as it is, `x0..x3`.
    Forward,
    /// NOT_SUPPORTED.
    Refuse,
}

/// Functions that touch no memory and no other CPU (DEN0028 7; entropy: DEN0098, in registers).
const FORWARDED: [u32; 12] = [
    smccc::SMCCC_VERSION,
    smccc::SMCCC_ARCH_FEATURES,
    smccc::SMCCC_ARCH_SOC_ID,
    smccc::SMCCC_ARCH_WORKAROUND_4,
    trng::VERSION,
    trng::FEATURES,
    trng::GET_UUID,
    trng::RND,
    trng::RND64,
    smccc::SMCCC_ARCH_WORKAROUND_1,
    smccc::SMCCC_ARCH_WORKAROUND_2,
    smccc::SMCCC_ARCH_WORKAROUND_3,
];

/// PSCI's function numbers, both widths (DEN0022 5.1: 0x00 to 0x1f of the standard service).
const PSCI: core::ops::RangeInclusive<u32> = psci::VERSION..=psci::VERSION + 0x1f;

/// Sorts an SMC by its function number. Only the low 32 bits of `x0` name it (DEN0028 3.1).
pub fn host_smc(x0: u64) -> HostSmc {
    let id = x0 as u32;
    if FORWARDED.contains(&id) {
        HostSmc::Forward
    } else if PSCI.contains(&(id & !psci::SMC64)) {
        HostSmc::Psci
    } else {
        HostSmc::Refuse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_is_relayed_in_both_widths() {
        for id in [
            0x8400_0000,
            0x8400_0003,
            0xc400_0003,
            0x8400_001f,
            0xc400_0001,
        ] {
            assert_eq!(host_smc(id), HostSmc::Psci, "{id:#x}");
        }
        assert_eq!(
            host_smc(0xffff_ffff_8400_0002),
            HostSmc::Psci,
            "only W0 counts"
        );
    }

    #[test]
    fn what_is_harmless_passes_and_nothing_else() {
        for id in FORWARDED {
            assert_eq!(host_smc(id.into()), HostSmc::Forward);
        }
        // SDEI, FF-A, SiP, OEM, trusted OS, and the neighbours of what passes.
        for id in [
            0x8400_0020,
            0x8400_004f,
            0x8400_0054,
            0xc400_0050,
            0xc400_0020,
            0x8400_0060,
            0x8200_0000,
            0x8300_0000,
            0xb200_0000,
            0x8000_0003,
            0x8000_0005,
            0xc000_0001,
            0x7fff_ffff,
            0x83ff_ffff,
            0,
        ] {
            assert_eq!(host_smc(id), HostSmc::Refuse, "{id:#x}");
        }
    }
}
