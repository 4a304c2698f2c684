//! What guests do, and what their hosts tell Ward when they run them.

use super::images::Plan;
use super::{Inner, Rng};
use crate::fake::Step;
use crate::spec::{ID_READ, ID_WRITE, Open, SGI1R_WRITE, UNKNOWN_READ, Vcpu};
use hyp_core::abi::run::{FP_OFFSET, FP_WORDS, IN_OFFSET, REGS_OFFSET, RunIn, in_flags};
use hyp_core::abi::smccc;
use hyp_core::abi::smccc::psci;
use hyp_core::vcpu::context::{RESET_PSTATE, RESET_SCTLR};

/// A page of the guest's address space: mostly RAM, mostly the same few.
fn page(rng: &mut Rng, known: &[u64]) -> u64 {
    match rng.below(16) {
        12..16 if !known.is_empty() => rng.pick(known),
        0 => Plan::MMIO_PAGE + rng.below(Plan::MMIO_PAGES),
        1 => 0xb_000 + rng.below(4),
        2 => Plan::RAM_PAGE + rng.below(Plan::RAM_PAGES),
        _ => Plan::RAM_PAGE + rng.below(48),
    }
}

fn address(rng: &mut Rng, known: &[u64]) -> u64 {
    (page(rng, known) << 12)
        + if rng.percent(70) {
            0
        } else {
            rng.below(512) * 8
        }
}

fn call(rng: &mut Rng, known: &[u64]) -> [u64; 4] {
    let on = u64::from(psci::CPU_ON | psci::SMC64);
    let info = u64::from(psci::AFFINITY_INFO | psci::SMC64);
    let bad = if rng.percent(5) {
        rng.next() & 0xfff
    } else {
        0
    };
    let at = page(rng, known) << 12;
    match rng.below(40) {
        0 => [smccc::SMCCC_VERSION.into(), 0, 0, 0],
        1 => [smccc::VENDOR_UID.into(), 0, 0, 0],
        2 => [smccc::KVM_FEATURES.into(), 0, 0, 0],
        3 => [smccc::KVM_MEMINFO.into(), bad, 0, 0],
        4..14 => [smccc::KVM_MEM_SHARE.into(), at | bad, 0, 0],
        14..20 => [smccc::KVM_MEM_UNSHARE.into(), at, bad, 0],
        20..23 => [smccc::KVM_MMIO_GUARD.into(), at, 0, bad],
        23 | 36 => [smccc::KVM_MEM_RELINQUISH.into(), at, 0, bad],
        24..29 => [on, rng.below(4), at, rng.next()],
        29 => [info, rng.below(4), 0, 0],
        30 => [psci::VERSION.into(), 0, 0, 0],
        31 => [psci::CPU_OFF.into(), 0, 0, 0],
        32 if rng.percent(20) => [psci::SYSTEM_OFF.into(), 0, 0, 0],
        33 if rng.percent(20) => [psci::SYSTEM_RESET.into(), 0, 0, 0],
        34 => [psci::MIGRATE_INFO_TYPE.into(), 0, 0, 0],
        35 => [smccc::KVM_MEM_SHARE.into(), 1 << 52, 0, 0],
        _ => [rng.next() & 0xffff | 0x8600_2000, 0, 0, 0],
    }
}

fn register(rng: &mut Rng) -> u8 {
    rng.below(32) as u8
}

/// A few steps.
pub(super) fn steps(rng: &mut Rng, hooks: bool, known: &[u64]) -> Vec<Step> {
    (0..1 + rng.below(5))
        .map(|_| match rng.below(40) {
            0..9 => Step::Load {
                ipa: address(rng, known),
                rt: register(rng),
            },
            9..18 => Step::Store {
                ipa: address(rng, known),
                rt: register(rng),
                value: rng.next(),
            },
            18 => Step::LoadPair {
                ipa: address(rng, known),
            },
            19 => Step::Fetch {
                ipa: address(rng, known),
            },
            20..29 => Step::Hvc(call(rng, known)),
            29 => Step::Smc(call(rng, known)),
            30 if rng.percent(50) => Step::Wfe,
            30 => Step::Wfi,
            31 => Step::Sysreg(SGI1R_WRITE, rng.next()),
            32 => Step::Sysreg(rng.pick(&[UNKNOWN_READ, ID_READ, ID_READ, ID_WRITE]), 0),
            33 => Step::Other(rng.pick(&[0, 0x7, 0x19, 0x1d, 0x3c]) << 26 | 1 << 25),
            34 => Step::Irq,
            35 => Step::SError,
            36 if rng.percent(50) => Step::TakeSError,
            36 => Step::Set(rng.below(31) as u8, rng.next()),
            37 if rng.percent(50) => Step::Poisoned {
                ipa: address(rng, known),
            },
            37 => Step::Caches(true),
            _ if hooks => Step::Hook,
            _ => Step::Irq,
        })
        .collect()
}

/// Steps for a vCPU that has few left.
pub(super) fn more(inner: &mut Inner, vm: u16, vcpu: &Vcpu) -> Vec<Step> {
    let hooks = inner.depth == 0;
    if vcpu.steps.len() - vcpu.at > 4 {
        return Vec::new();
    }
    // A few pages that are mapped now, wherever that is.
    let maps = &inner.spec.vms[&vm].maps;
    let known: Vec<u64> = (0..3)
        .filter_map(|_| {
            let from = Plan::RAM_PAGE + inner.rng.below(Plan::RAM_PAGES);
            maps.range(from..).next().map(|(page, _)| *page)
        })
        .collect();
    steps(&mut inner.rng, hooks, &known)
}

/// What the host writes into the run page before a run: offset and value.
pub(super) fn run_words(inner: &mut Inner, vm: u16, index: u64) -> Vec<(u64, u64)> {
    let rng = &mut inner.rng;
    let it = &inner.spec.vms[&vm];
    let vcpu = &it.vcpus[&index];
    let mut words = Vec::new();
    let mut flags = match rng.below(20) {
        0 => in_flags::INJECT_ABORT,
        1 => in_flags::INJECT_UNDEF,
        2 => in_flags::RETRY,
        3 => rng.below(32),
        4 if rng.percent(10) => 1 << (5 + rng.below(59)),
        5..8 => in_flags::LAZY,
        _ => 0,
    };
    if !it.protected {
        if vcpu.base == 0 {
            // The host of a normal VM chooses where it starts.
            flags = in_flags::REGS_DIRTY;
            let mut put = |word: u64, value: u64| words.push((REGS_OFFSET + 8 * word, value));
            put(32, Plan::RAM_PAGE << 12);
            let bad = rng.percent(10);
            put(
                33,
                if bad {
                    rng.pick(&[0x10, 0x1d0, 9, 0xd, 0xf, 1])
                } else {
                    RESET_PSTATE
                },
            );
            put(34, RESET_SCTLR);
        } else {
            // The window may be another vCPU's; it is taken only by a host that wrote it.
            flags &= !in_flags::REGS_DIRTY;
            if vcpu.open == Open::Memory
                || matches!(vcpu.open, Open::DeviceRead(_)) && rng.percent(50)
            {
                flags |= in_flags::RETRY;
            }
        }
    }
    let run = vcpu.run;
    if inner.spec.word(run, (IN_OFFSET / 8) as u16) != flags {
        words.push((IN_OFFSET, flags));
    }
    if rng.percent(30) {
        words.push((IN_OFFSET + 8, rng.next()));
    }
    if rng.percent(5) {
        words.push((FP_OFFSET + 8 * rng.below(FP_WORDS as u64), rng.next()));
    }
    if rng.percent(10) {
        words.push((IN_OFFSET + 16, rng.next()));
        words.push((IN_OFFSET + 8 * (RunIn::WORDS as u64 - 1), rng.next()));
    }
    words
}
