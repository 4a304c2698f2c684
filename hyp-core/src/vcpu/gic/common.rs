//! The registers of the virtual CPU interface that both groups share, as functions of what holds
//! their state at EL2. `ICH_HCR_EL2.TC` traps them: a host asks for it where the CPU cannot trap
//! `ICC_DIR_EL1` alone (`ICH_VTR_EL2.TDS` 0). That one exits; these are answered here.

use crate::vcpu::encoding::Encoding;

/// State of the interface (IHI 0069 12.4).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Interface {
    /// `ICH_VTR_EL2`.
    pub vtr: u64,
    /// `ICH_VMCR_EL2`.
    pub vmcr: u64,
    /// `ICH_AP0R<n>_EL2 | ICH_AP1R<n>_EL2`; those that are not there are zero.
    pub active: [u64; 4],
}

/// One of the registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Common {
    /// `ICC_PMR_EL1`.
    Mask,
    /// `ICC_CTLR_EL1`.
    Control,
    /// `ICC_RPR_EL1`.
    Running,
}

/// The lowest priority: nothing is active.
const IDLE: u64 = 0xff;
/// `ICH_VMCR_EL2`.
const VCBPR: u32 = 4;
const VEOIM: u32 = 9;
const VPMR: u32 = 24;
/// `ICC_CTLR_EL1`.
const CBPR: u32 = 0;
const EOIMODE: u32 = 1;

impl Common {
    /// The register with this encoding.
    pub fn from_encoding(reg: Encoding) -> Option<Self> {
        const MASK: Encoding = Encoding::new(3, 0, 4, 6, 0);
        const CONTROL: Encoding = Encoding::new(3, 0, 12, 12, 4);
        const RUNNING: Encoding = Encoding::new(3, 0, 12, 11, 3);
        match reg {
            MASK => Some(Common::Mask),
            CONTROL => Some(Common::Control),
            RUNNING => Some(Common::Running),
            _ => None,
        }
    }
}

impl Interface {
    /// What MRS reads.
    pub fn read(&self, register: Common) -> u64 {
        match register {
            Common::Mask => self.vmcr >> VPMR & 0xff,
            Common::Control => self.control(),
            Common::Running => self.running(),
        }
    }

    /// What MSR leaves in `ICH_VMCR_EL2`. `None`: the register cannot be written.
    pub fn written(&self, register: Common, value: u64) -> Option<u64> {
        let put = |shift: u32, mask: u64, value: u64| {
            self.vmcr & !(mask << shift) | (value & mask) << shift
        };
        match register {
            Common::Mask => Some(put(VPMR, 0xff, value)),
            Common::Control => {
                let vmcr = put(VCBPR, 1, value >> CBPR);
                Some(vmcr & !(1 << VEOIM) | (value >> EOIMODE & 1) << VEOIM)
            }
            Common::Running => None,
        }
    }

    /// The capabilities are those of `ICH_VTR_EL2`: PRIbits, IDbits, SEIS and A3V.
    fn control(&self) -> u64 {
        let vtr = |shift: u32, mask: u64| self.vtr >> shift & mask;
        let fixed = vtr(29, 7) << 8 | vtr(23, 7) << 11 | vtr(22, 1) << 14 | vtr(21, 1) << 15;
        fixed | (self.vmcr >> VCBPR & 1) << CBPR | (self.vmcr >> VEOIM & 1) << EOIMODE
    }

    /// The highest active priority: a bit for each that preempts, `ICH_VTR_EL2.PREbits` + 1 bits wide.
    fn running(&self) -> u64 {
        let unused = 7 - (self.vtr >> 26 & 7);
        let words = (0_u64..)
            .zip(self.active)
            .map(|(n, word)| (n, word & 0xffff_ffff));
        match words.into_iter().find(|(_, word)| *word != 0) {
            Some((n, word)) => (32 * n + u64::from(word.trailing_zeros())) << unused & 0xff,
            None => IDLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 5 bits of priority, 16 bits of number, A3V; as QEMU and many CPUs have it.
    const VTR: u64 = 4 << 29 | 4 << 26 | 1 << 21 | 3;

    fn with(vmcr: u64, active: [u64; 4]) -> Interface {
        Interface {
            vtr: VTR,
            vmcr,
            active,
        }
    }

    #[test]
    fn the_registers_are_told_by_their_encodings() {
        let found: std::vec::Vec<Common> = (0..16_u8)
            .flat_map(|crm| (0..8_u8).map(move |op2| (crm, op2)))
            .flat_map(|(crm, op2)| [(4, crm, op2), (12, crm, op2)])
            .filter_map(|(crn, crm, op2)| Common::from_encoding(Encoding::new(3, 0, crn, crm, op2)))
            .collect();
        assert_eq!(found, [Common::Mask, Common::Running, Common::Control]);
    }

    #[test]
    fn the_mask_is_a_byte() {
        let interface = with(0xa5 << 24 | 0x203, [0; 4]);
        assert_eq!(interface.read(Common::Mask), 0xa5);
        let written = interface.written(Common::Mask, 0xffff_ff18);
        assert_eq!(written, Some(0x18 << 24 | 0x203));
    }

    #[test]
    fn control_keeps_two_bits_and_shows_what_there_is() {
        let fixed = 4 << 8 | 1 << 15;
        assert_eq!(with(0, [0; 4]).read(Common::Control), fixed);
        assert_eq!(with(1 << 4, [0; 4]).read(Common::Control), fixed | 1);
        assert_eq!(with(1 << 9, [0; 4]).read(Common::Control), fixed | 2);
        let interface = with(0xf0 << 24 | 1 << 9 | 2, [0; 4]);
        for (value, bits) in [
            (0, 0),
            (1, 1 << 4),
            (2, 1 << 9),
            (u64::MAX, 1 << 4 | 1 << 9),
        ] {
            let written = interface.written(Common::Control, value);
            assert_eq!(written, Some(0xf0 << 24 | 2 | bits), "{value:#x}");
        }
    }

    #[test]
    fn the_running_priority_is_the_highest_active() {
        assert_eq!(with(0, [0; 4]).read(Common::Running), 0xff);
        assert_eq!(with(0, [1 << 20, 0, 0, 0]).read(Common::Running), 0xa0);
        assert_eq!(with(0, [1 << 31 | 1, 0, 0, 0]).read(Common::Running), 0);
        // 7 bits: four words, and no shift but one.
        let interface = Interface {
            vtr: 6 << 26,
            vmcr: 0,
            active: [0, 0, 1 << 3, 1],
        };
        assert_eq!(interface.read(Common::Running), (64 + 3) << 1);
        assert_eq!(interface.written(Common::Running, 0), None);
    }
}
