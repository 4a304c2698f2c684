//! A CPU: its TLB, and the vCPU loaded on it.

use super::tlb::Tlb;
use hyp_core::abi::run::Gic;
use hyp_core::machine::RunParams;
use hyp_core::vcpu::HCR_VSE;
use hyp_core::vcpu::context::{Context, Fp, SYS_REGS};

/// What the CPU's own registers hold while a vCPU is loaded. `Context` keeps the general
/// registers, PC and PSTATE; the rest is here and nowhere else.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the vCPU was loaded with.
    pub params: RunParams,
    /// EL1 registers.
    pub sys: [u64; SYS_REGS],
    /// FP/SIMD.
    pub fp: Fp,
    /// Virtual CPU interface.
    pub gic: Gic,
    /// The virtual SError that is pending: its syndrome.
    pub serror: Option<u64>,
}

/// One CPU.
#[derive(Debug, Default)]
pub struct Cpu {
    /// Its TLB.
    pub tlb: Tlb,
    /// The vCPU in its registers.
    pub loaded: Option<Loaded>,
}

impl Cpu {
    /// Registers go from `context` into the CPU; what stays in `context` is stale and says so.
    pub fn load(&mut self, context: &mut Context, params: &RunParams) {
        self.loaded = Some(Loaded {
            params: *params,
            sys: context.sys,
            fp: context.fp.clone(),
            gic: context.gic,
            serror: (params.hcr & HCR_VSE != 0).then_some(params.vsesr),
        });
        context.sys = [0xbad_5145; SYS_REGS];
    }

    /// Registers go back into `context`; `false` when none were loaded.
    #[must_use]
    pub fn unload(&mut self, context: &mut Context) -> bool {
        let Some(loaded) = self.loaded.take() else {
            return false;
        };
        context.sys = loaded.sys;
        context.fp = loaded.fp;
        context.gic = loaded.gic;
        true
    }
}

/// ID registers of the fake CPU: 48-bit addresses, 4 KiB granule, GICv3, everything optional
/// claimed where a guest must not see it.
pub const fn id_register(crm: u8, op2: u8) -> u64 {
    match (crm, op2) {
        (4, 0) => 0x1111_0011_1111_1122,
        (4, 1) => 0x0000_0000_0000_0121,
        (5, 0) => 0x0000_0101_1030_5609,
        (6, 0) => 0x1221_1111_1021_2120,
        (6, 1) => 0x0011_1111_1121_1112,
        (7, 0) => 0x0000_0122_2200_1125,
        (7, 1) => 0x0000_0000_1021_2122,
        _ => 0,
    }
}
