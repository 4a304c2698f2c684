//! Attacks on the way a guest is built: wrong signatures, wrong images, wrong layouts.

use crate::host::calls::{host_call, ok, refused};
use crate::host::env::Env;
use crate::host::owner::{IMAGES, Signed};
use crate::host::tally::{Test, smp_test, test};
use crate::host::text::{Fail, Outcome};
use crate::host::vm::Vm;
use crate::host::{attack, others};
use crate::protocol::{MMIO, NOWHERE, RAM, RAM_SIZE};
use crate::rt::pages::{self, PAGE};
use crate::rt::{memory, probe, smp};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use hyp_core::abi::calls::vm_state;
use hyp_core::abi::manifest::{
    HEADER_BYTES, IMAGE_BYTES, Image, Manifest, REGION_BYTES, Region, RegionKind,
};
use hyp_core::abi::{Call, Error};

/// The tests.
pub(super) const TESTS: &[Test] = &[
    test("wrong-key", wrong_key),
    test("wrong-signature", wrong_signature),
    test("flipped-bit-in-entry-point", |env| {
        flipped_field(env, 24..32)
    }),
    test("flipped-bit-in-vcpu-count", |env| {
        flipped_field(env, 20..24)
    }),
    test("flipped-bit-in-boot-argument", |env| {
        flipped_field(env, 32..40)
    }),
    test("flipped-bit-in-image-version", |env| {
        flipped_field(env, 40..48)
    }),
    test("flipped-bit-in-key", |env| flipped_field(env, 56..88)),
    test("flipped-bit-in-memory-layout", flipped_layout),
    test("flipped-bit-in-image-description", flipped_description),
    test("flipped-bit-in-signature", flipped_signature),
    test("flipped-bit-anywhere-in-manifest", flipped_anywhere),
    test("flipped-bit-in-each-image", flipped_image),
    test("manifest-lengths", lengths),
    test("signed-but-overlapping-images", overlapping_images),
    test("signed-but-impossible", impossible),
    test("other-vcpu-count-than-signed", other_vcpu_count),
    test("image-page-given-twice", page_twice),
    test("image-page-given-to-two-vms", page_to_two_vms),
    test("image-page-owned-by-another-vm", page_of_another_vm),
    test("image-page-out-of-image", page_out_of_image),
    test("images-incomplete", incomplete),
    test("verification-after-failure-stays-failed", no_second_chance),
    test("image-given-is-lost-to-the-host", image_is_lost),
    smp_test("image-changed-from-another-cpu", changed_from_another_cpu),
];

/// The manifest must be refused, and the VM can still take the right one.
fn refuse(env: &Env, signed: &Signed, errors: &[Error]) -> Outcome {
    let vm = Vm::protected(env)?;
    let result = vm.boot_info(signed);
    let right = vm.boot_info(&env.owner.signed());
    vm.end()?;
    match result {
        Err(error) if errors.contains(&error) => {}
        other => fail!("expected {errors:?}, got {other:?}"),
    }
    ensure!(
        right.is_ok(),
        "the right manifest after a wrong one: {right:?}"
    );
    Ok(())
}

fn refuse_bytes(env: &Env, signed: &Signed, bytes: impl Iterator<Item = usize>) -> Outcome {
    let vm = Vm::protected(env)?;
    for byte in bytes {
        let bit = (byte * 5 + 3) as u32 % 8;
        match vm.boot_info(&signed.flipped(byte, bit)) {
            Err(Error::BadManifest | Error::BadSignature | Error::UntrustedKey) => {}
            other => fail!("bit {bit} of byte {byte} flipped: {other:?}"),
        }
    }
    ensure!(
        vm.boot_info(signed).is_ok(),
        "the right manifest after wrong ones"
    );
    vm.end()
}

fn wrong_key(env: &Env) -> Outcome {
    refuse(
        env,
        &env.owner.sign_as_stranger(&env.owner.manifest(), true),
        &[Error::UntrustedKey],
    )
}

fn wrong_signature(env: &Env) -> Outcome {
    refuse(
        env,
        &env.owner.sign_as_stranger(&env.owner.manifest(), false),
        &[Error::BadSignature],
    )
}

fn flipped_field(env: &Env, bytes: core::ops::Range<usize>) -> Outcome {
    refuse_bytes(env, &env.owner.signed(), bytes)
}

fn flipped_layout(env: &Env) -> Outcome {
    let end = HEADER_BYTES + env.owner.manifest().regions().len() * REGION_BYTES;
    refuse_bytes(env, &env.owner.signed(), (HEADER_BYTES..end).step_by(3))
}

fn flipped_description(env: &Env) -> Outcome {
    let start = HEADER_BYTES + env.owner.manifest().regions().len() * REGION_BYTES;
    refuse_bytes(
        env,
        &env.owner.signed(),
        (start..start + IMAGES * IMAGE_BYTES).step_by(9),
    )
}

fn flipped_signature(env: &Env) -> Outcome {
    let len = env.owner.signed().get().len();
    refuse_bytes(env, &env.owner.signed(), (len - 64..len).step_by(5))
}

fn flipped_anywhere(env: &Env) -> Outcome {
    let len = env.owner.signed().get().len();
    refuse_bytes(env, &env.owner.signed(), (0..len).step_by(7))
}

fn flipped_image(env: &Env) -> Outcome {
    for image in 0..IMAGES {
        let size = env.owner.image(image).len() as u64;
        for byte in [0, size / 2, size - 1] {
            let vm = Vm::protected(env)?;
            ensure!(
                vm.boot_info(&env.owner.signed()).is_ok(),
                "manifest refused"
            );
            for index in 0..IMAGES {
                vm.load_image(env, index, |frames, _| {
                    if index == image {
                        let word = (frames + byte) & !7;
                        memory::poke(word, memory::peek(word) ^ 1 << (byte % 8 * 8));
                    }
                })?;
            }
            same!(
                vm.verify(),
                Err(Error::BadDigest),
                "verification of a changed image"
            );
            same!(vm.life(), vm_state::POWER_OFF, "state after it");
            vm.must_be_off()?;
            vm.destroy()?;
        }
    }
    Ok(())
}

fn lengths(env: &Env) -> Outcome {
    let vm = Vm::protected(env)?;
    let page = pages::take_one();
    let signed = env.owner.signed();
    let len = signed.get().len() as u64;
    memory::fill(page, PAGE, 0);
    memory::copy_in(page, signed.get());
    let id = vm.id;
    for wrong in [0, 4097, u64::MAX, 1 << 32] {
        refused(
            Call::VmSetBootInfo,
            &[id, page, wrong],
            Error::InvalidArgument,
        )?;
    }
    for wrong in [1, 87, len - 1, len + 1, 4096] {
        refused(Call::VmSetBootInfo, &[id, page, wrong], Error::BadManifest)?;
    }
    ok(Call::VmSetBootInfo, &[id, page, len])?;
    refused(Call::VmSetBootInfo, &[id, page, len], Error::Exists)?;
    pages::give(page, 1);
    vm.end()
}

fn overlapping_images(env: &Env) -> Outcome {
    let manifest = env.owner.manifest();
    let regions = manifest.regions();
    let [first, second] = [manifest.images()[0], manifest.images()[1]];
    // At the same address; at the first one's last page.
    for ipa in [first.ipa, first.ipa + (first.pages() - 1) * PAGE] {
        let moved = Image { ipa, ..second };
        let mut wrong = env.owner.rebuilt(regions, &[first, moved]);
        wrong.boot_arg = 0;
        refuse(env, &env.owner.sign(&wrong), &[Error::BadManifest])?;
    }
    Ok(())
}

fn impossible(env: &Env) -> Outcome {
    let manifest = env.owner.manifest();
    let (regions, images) = (manifest.regions(), manifest.images());
    let bad = |wrong: &Manifest| refuse(env, &env.owner.sign(wrong), &[Error::BadManifest]);
    let twice = Region {
        kind: RegionKind::Mmio,
        ipa: RAM,
        size: PAGE,
    };
    bad(&env.owner.rebuilt(&[regions[0], regions[1], twice], images))?; // overlapping regions
    let far = Region {
        kind: RegionKind::Mmio,
        ipa: !0xfff,
        size: PAGE,
    };
    bad(&env.owner.rebuilt(&[regions[0], regions[1], far], images))?; // wraps
    let beyond = Region {
        kind: RegionKind::Mmio,
        ipa: 1 << 52,
        size: PAGE,
    };
    bad(&env.owner.rebuilt(&[regions[0], regions[1], beyond], images))?; // outside the IPA space
    bad(&env.owner.rebuilt(&regions[1..], images))?; // images outside RAM
    for ipa in [MMIO, NOWHERE, RAM + RAM_SIZE, RAM + 8, !0xfff] {
        bad(&env
            .owner
            .rebuilt(regions, &[images[0], Image { ipa, ..images[1] }]))?;
    }
    for size in [0, RAM_SIZE + 1, u64::MAX] {
        bad(&env
            .owner
            .rebuilt(regions, &[images[0], Image { size, ..images[1] }]))?;
    }
    for entry in [
        NOWHERE,
        images[1].ipa,
        images[0].ipa + 2,
        images[0].ipa + images[0].size,
    ] {
        let mut wrong = manifest;
        wrong.entry = entry;
        bad(&wrong)?;
    }
    let mut wrong = manifest;
    wrong.boot_arg = NOWHERE;
    bad(&wrong)?;
    bad(&env.owner.rebuilt(regions, &[]))
}

fn other_vcpu_count(env: &Env) -> Outcome {
    for vcpus in [0, 1, 3, 65, u32::MAX] {
        let mut wrong = env.owner.manifest();
        wrong.vcpus = vcpus;
        refuse(env, &env.owner.sign(&wrong), &[Error::BadManifest])?;
    }
    Ok(())
}

fn with_boot_info(env: &Env) -> Outcome<Vm> {
    let vm = Vm::protected(env)?;
    match vm.boot_info(&env.owner.signed()) {
        Ok(()) => Ok(vm),
        Err(error) => fail!("manifest refused: {error:?}"),
    }
}

fn page_twice(env: &Env) -> Outcome {
    let vm = with_boot_info(env)?;
    let frame = pages::take_one();
    memory::copy_in(frame, &env.owner.image(0)[..4096]);
    ok(Call::VmRemapImage, &[vm.id, 0, 0, frame, 0])?;
    vm.took(frame, 1, env.owner.manifest().images()[0].ipa);
    refused(Call::VmRemapImage, &[vm.id, 0, 1, frame, 0], Error::Denied)?;
    refused(Call::VmRemapImage, &[vm.id, 0, 0, frame, 0], Error::Denied)?;
    let other = pages::take_one();
    refused(Call::VmRemapImage, &[vm.id, 0, 0, other, 0], Error::Exists)?;
    ensure!(probe::read(other).is_ok(), "a refused page was taken");
    pages::give(other, 1);
    vm.end()
}

fn page_to_two_vms(env: &Env) -> Outcome {
    let (one, two) = (with_boot_info(env)?, with_boot_info(env)?);
    let frames = one.load_image(env, 1, |_, _| {})?;
    for page in 0..2 {
        refused(
            Call::VmRemapImage,
            &[two.id, 1, page, frames + page * PAGE, 0],
            Error::Denied,
        )?;
    }
    two.end()?;
    one.end()
}

fn page_of_another_vm(env: &Env) -> Outcome {
    let (one, two) = (Vm::verified(env)?, with_boot_info(env)?);
    let memory = one.give(crate::protocol::SPARE, 0)?;
    let Some(record) = one.frame_of_ward() else {
        fail!("no record")
    };
    for frame in [memory, record] {
        refused(Call::VmRemapImage, &[two.id, 0, 0, frame, 0], Error::Denied)?;
        refused(Call::VmDonate, &[two.id, frame, 1], Error::Denied)?;
        refused(Call::HostDonate, &[frame, 1], Error::Denied)?;
        refused(
            Call::VcpuRegister,
            &[two.id, 0, frame, frame],
            Error::BadAddress,
        )?;
        refused(Call::VmSetBootInfo, &[two.id, frame, 400], Error::Exists)?;
    }
    two.end()?;
    one.end()
}

fn page_out_of_image(env: &Env) -> Outcome {
    let vm = with_boot_info(env)?;
    let frame = pages::take_one();
    let pages_of = env.owner.manifest().images()[1].pages();
    for page in [pages_of, u64::MAX, u64::MAX / 4096, 1 << 52] {
        crate::host::calls::refused_as(
            Call::VmRemapImage,
            &[vm.id, 1, page, frame, 0],
            &[Error::BadAddress, Error::InvalidArgument],
        )?;
    }
    for image in [IMAGES as u64, 16, u64::MAX] {
        crate::host::calls::refused_as(
            Call::VmRemapImage,
            &[vm.id, image, 0, frame, 0],
            &[Error::BadAddress, Error::InvalidArgument],
        )?;
    }
    pages::give(frame, 1);
    vm.end()
}

fn incomplete(env: &Env) -> Outcome {
    let vm = with_boot_info(env)?;
    refused(Call::VmVerifyImages, &[vm.id], Error::BadState)?;
    vm.load_image(env, 0, |_, _| {})?;
    refused(Call::VmVerifyImages, &[vm.id], Error::BadState)?;
    refused(Call::VcpuRun, &[vm.id, 0], Error::BadState)?;
    vm.load_image(env, 1, |_, _| {})?;
    ensure!(vm.verify().is_ok(), "verification with all images");
    vm.end()
}

fn no_second_chance(env: &Env) -> Outcome {
    let vm = with_boot_info(env)?;
    vm.load_image(env, 0, |frames, _| memory::poke(frames, 0))?;
    vm.load_image(env, 1, |_, _| {})?;
    same!(vm.verify(), Err(Error::BadDigest), "verification");
    refused(Call::VmVerifyImages, &[vm.id], Error::BadState)?;
    refused(
        Call::VmSetBootInfo,
        &[vm.id, pages::window().start, 400],
        Error::BadState,
    )?;
    vm.destroy()
}

fn image_is_lost(env: &Env) -> Outcome {
    let vm = with_boot_info(env)?;
    let frames = vm.load_image(env, 0, |_, _| {})?;
    attack::must_abort_everywhere(frames, "an image before verification")?;
    vm.load_image(env, 1, |_, _| {})?;
    ensure!(vm.verify().is_ok(), "verification");
    attack::must_abort_everywhere(frames + 8, "an image after verification")?;
    vm.end()
}

fn changed_from_another_cpu(env: &Env) -> Outcome {
    let Some(cpu) = others().next() else {
        return Ok(());
    };
    let vm = with_boot_info(env)?;
    let frames = [
        vm.load_image(env, 0, |_, _| {})?,
        vm.load_image(env, 1, |_, _| {})?,
    ];
    let (stop, aborts, writes) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let hammer = || {
        while !stop.load(Ordering::Relaxed) {
            for (n, start) in frames.iter().enumerate() {
                for page in (0..env.owner.image(n).len() as u64).step_by(PAGE as usize) {
                    let lost = probe::write(start + page, 0).is_err();
                    if lost { &aborts } else { &writes }.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    };
    let result = smp::while_on(cpu, &hammer, || {
        let result = vm.verify();
        while aborts.load(Ordering::Relaxed) < 100 && writes.load(Ordering::Relaxed) == 0 {
            core::hint::spin_loop();
        }
        stop.store(true, Ordering::Relaxed);
        result
    });
    same!(
        writes.load(Ordering::Relaxed),
        0,
        "writes that went through"
    );
    ensure!(
        result.is_ok(),
        "verification while the images are attacked: {result:?}"
    );
    vm.shut_down()
        .map_err(|why| Fail::new(format_args!("the guest does not run: {}", why.text().get())))?;
    let _ = host_call(Call::VmPowerOff, &[vm.id]);
    vm.destroy()
}
