//! Which SMCs of the host reach the firmware.
//!
//! The host's SMCs trap (`HCR_EL2.TSC`). Power calls are relayed, because a CPU must come up
//! under Ward; a few queries and the workarounds that act on the calling CPU alone pass through;
//! everything else could have the firmware act on memory that is not the host's, and is refused.

use crate::abi::WARD_UID;
use crate::abi::smccc::{self, psci, trng};

/// What becomes of an SMC of the host's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostSmc {
    /// Ward itself: what it is asked is who it is.
    Answer([u64; 4]),
    /// The PSCI relay answers it.
    Psci,
    /// The firmware gets it as it is, `x0..x3`.
    Forward,
    /// NOT_SUPPORTED.
    Refuse,
}

/// Functions that touch no memory and no other CPU (DEN0028 7; entropy: DEN0098, in registers).
const FORWARDED: [u32; 11] = [
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

/// What Ward answers by either conduit: a host asks through the one that firmware declares, and
/// an HVC is not to be tried where nothing may answer it. The version is Ward's own (DEN0028
/// 7.2): with firmware that has none a host would look no further.
pub(crate) fn discovery(function: u32) -> Option<[u64; 4]> {
    match function {
        smccc::VENDOR_UID => Some(WARD_UID.map(u64::from)),
        smccc::SMCCC_VERSION => Some([smccc::SMCCC_1_2, 0, 0, 0]),
        _ => None,
    }
}

/// Sorts an SMC by its function number. Only the low 32 bits of `x0` name it (DEN0028 3.1).
pub fn host_smc(x0: u64) -> HostSmc {
    let id = x0 as u32;
    if let Some(answer) = discovery(id) {
        HostSmc::Answer(answer)
    } else if FORWARDED.contains(&id) {
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
    fn ward_is_found_by_smc_too() {
        let uid = WARD_UID.map(u64::from);
        assert_eq!(host_smc(0x8600_ff01), HostSmc::Answer(uid));
        assert_eq!(
            host_smc(0x8000_0000),
            HostSmc::Answer([0x1_0002, 0, 0, 0]),
            "SMCCC 1.2"
        );
        // Nothing else of the vendor's service: Ward's calls are HVCs.
        for id in [0x8600_ff00, 0x8600_ff02, 0x8600_ff03, 0xc600_0100] {
            assert_eq!(host_smc(id), HostSmc::Refuse, "{id:#x}");
        }
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
