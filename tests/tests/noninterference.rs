//! Two runs that differ only in what a protected guest keeps to itself: the host must not be
//! able to tell them apart.

use hyp_core::abi::Call;
use hyp_core::abi::smccc::{
    KVM_MEM_RELINQUISH, KVM_MEM_SHARE, KVM_MEM_UNSHARE, KVM_MMIO_GUARD, psci,
};
use ward_tests::fake::Step;
use ward_tests::harness::{Plan, Rng, Scene, Shape};
use ward_tests::spec::SGI1R_WRITE;

/// Pages that hold secrets, and pages that the guest shares (and keeps secrets out of).
const SECRET: u64 = Plan::RAM_PAGE + 8;
const PUBLIC: u64 = Plan::RAM_PAGE + 32;

/// A guest's next steps. Every `hidden()` is a secret; all else is the same in both runs.
fn steps(rng: &mut Rng, mut hidden: impl FnMut() -> u64) -> Vec<Step> {
    let secret = |rng: &mut Rng| ((SECRET + rng.below(8)) << 12) + rng.below(512) * 8;
    let public = |rng: &mut Rng| (PUBLIC + rng.below(8)) << 12;
    (0..1 + rng.below(6))
        .map(|_| {
            // Secrets live in x8..x30; x0..x7 are for what is said.
            let rt = 8 + rng.below(23) as u8;
            match rng.below(19) {
                0..4 => Step::Store {
                    ipa: secret(rng),
                    rt,
                    value: hidden(),
                },
                4..6 => Step::Load {
                    ipa: secret(rng),
                    rt,
                },
                6..8 => Step::Set(rt, hidden()),
                8 => Step::Store {
                    ipa: public(rng),
                    rt: 4,
                    value: rng.next(),
                },
                9 => Step::Hvc([KVM_MEM_SHARE.into(), public(rng), 0, 0]),
                10 => Step::Hvc([KVM_MEM_UNSHARE.into(), public(rng), 0, 0]),
                11 => Step::Store {
                    ipa: Plan::MMIO_PAGE << 12,
                    rt: 5,
                    value: rng.next(),
                },
                12 => Step::Load {
                    ipa: Plan::MMIO_PAGE << 12 | 8,
                    rt: 6,
                },
                13 => Step::Wfi,
                14 => Step::Sysreg(SGI1R_WRITE, rng.next()),
                15 => Step::Hvc([psci::VERSION.into(), 0, 0, 0]),
                17 => Step::Hvc([KVM_MEM_RELINQUISH.into(), secret(rng) & !0xfff, 0, 0]),
                16 => Step::Hvc([KVM_MMIO_GUARD.into(), (0xb_000 + rng.below(4)) << 12, 0, 0]),
                _ => Step::Irq,
            }
        })
        .collect()
}

/// All a host gets to see of one run: results, exits, memory, the log.
fn transcript(seed: u64, secret: u64) -> Vec<u64> {
    let scene: Scene = Scene::new(Shape {
        hardware_af: seed.is_multiple_of(2),
        ..Shape::default()
    });
    let (mut rng, mut hidden) = (Rng::new(seed), Rng::new(secret));
    let vm = scene.protected(2);
    let mut seen = Vec::new();
    for _ in 0..120 {
        let vcpu = rng.below(2);
        match rng.below(10) {
            0..6 => {
                let steps = steps(&mut rng, || hidden.next());
                let result = scene.run(vm, vcpu, &steps);
                seen.push(result.map_or(u64::MAX, |reason| reason));
                let run = scene.run_page(vm, vcpu);
                seen.extend(
                    (0..512).map(|n| scene.world.fake.host_read((run << 12) + n * 8).unwrap_or(0)),
                );
            }
            6 => {
                let page = if rng.percent(50) { SECRET } else { PUBLIC } + rng.below(8);
                seen.push(scene.map(vm, page, 0).map_or(u64::MAX, |pfn| pfn));
            }
            7 => scene.run_in(vm, vcpu, rng.below(3), rng.below(4)),
            _ => {
                // Anything in RAM: the guest's pages too, of which the host sees the shared ones.
                let pfn = 0x4_0000 + rng.below(2560);
                seen.push(
                    scene
                        .load((pfn << 12) + rng.below(512) * 8)
                        .unwrap_or(u64::MAX),
                );
            }
        }
    }
    let mut cursor = 0;
    loop {
        let mut x = [Call::LogRead.function_id().into(), cursor, 0, 0, 0, 0, 0, 0];
        scene.world.ward.host_call(&mut x);
        seen.extend(x);
        if x[2] == 0 || x[0] != 0 {
            break;
        }
        cursor = x[1];
    }
    scene.destroy(vm);
    for pfn in (0x4_0000..0x4_0000 + 2560).chain(0x8_0103..0x8_0103 + 900) {
        seen.extend([0, 64, 4088].map(|offset| {
            scene
                .world
                .fake
                .host_read((pfn << 12) + offset)
                .unwrap_or(1)
        }));
    }
    scene.check();
    seen
}

#[test]
fn secrets_do_not_show() {
    for seed in 0..12 {
        let (one, two) = (transcript(seed, 1001), transcript(seed, 2002));
        let differs = one.iter().zip(&two).position(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}: the host sees a difference");
        assert_eq!(one.len(), two.len());
    }
}

#[test]
fn what_is_said_does_show() {
    // The test sees differences at all: other public values, another transcript.
    assert_ne!(transcript(1, 1), transcript(2, 1));
}
