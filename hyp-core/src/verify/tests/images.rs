//! Images in place: pieces, tails, wrong bytes, and no second chance.

use super::*;
use sha2::{Digest as _, Sha256, Sha512};

const PAGE: usize = PAGE_SIZE as usize;
const BASE: u64 = 0x4000_0000;

/// A VM whose images lie one after another from [`BASE`]; even ones SHA-256, odd ones SHA-512.
struct Vm {
    manifest: Manifest,
    ram: Ram,
    progress: Progress,
}

/// Page n of the guest is in frame 3 n + 1, so that frames are not contiguous.
fn frame_of(ipa: Ipa) -> Option<Pfn> {
    Some(Pfn((ipa.as_u64() - BASE) / PAGE_SIZE * 3 + 1))
}

impl Vm {
    fn new(sizes: &[usize]) -> Vm {
        let mut manifest = Manifest::new([0; 32]);
        manifest.entry = BASE;
        let pages: usize = sizes.iter().map(|s| s.div_ceil(PAGE)).sum();
        let size = (pages * PAGE) as u64;
        let region = Region {
            kind: RegionKind::Ram,
            ipa: BASE,
            size,
        };
        manifest.push_region(region).unwrap();
        let mut ram = std::vec![0xee; pages * 3 * PAGE];
        let mut page = 0;
        for (index, &size) in sizes.iter().enumerate() {
            let bytes: Vec<u8> = (0..size).map(|i| (i / 7 + i * index + 1) as u8).collect();
            for (i, piece) in bytes.chunks(PAGE).enumerate() {
                let at = ((page + i) * 3 + 1) * PAGE;
                ram[at..at + piece.len()].copy_from_slice(piece);
            }
            let digest = match index % 2 {
                0 => Digest::Sha256(Sha256::digest(&bytes).into()),
                _ => Digest::Sha512(Sha512::digest(&bytes).into()),
            };
            let ipa = BASE + (page * PAGE) as u64;
            let kind = ImageKind::Kernel;
            let image = Image {
                kind,
                ipa,
                size: size as u64,
                digest,
            };
            manifest.push_image(image).unwrap();
            page += size.div_ceil(PAGE);
        }
        let ram = Ram(RefCell::new(ram));
        Vm {
            manifest,
            ram,
            progress: Progress::new(),
        }
    }

    fn step(&mut self, budget: u64) -> Result<Step, Refusal> {
        self.progress
            .step(&self.ram, &self.manifest, frame_of, budget)
    }

    /// The byte of the guest at `offset` from [`BASE`].
    fn byte(&self, offset: usize) -> std::cell::RefMut<'_, u8> {
        let at = (offset / PAGE * 3 + 1) * PAGE + offset % PAGE;
        std::cell::RefMut::map(self.ram.0.borrow_mut(), |ram| &mut ram[at])
    }
}

#[test]
fn images_of_any_size_verify_and_have_zero_tails() {
    let sizes: &[usize] = if cfg!(miri) {
        &[1, 4097]
    } else {
        &[
            1,
            63,
            64,
            4095,
            4096,
            4097,
            8191,
            8192,
            12289,
            2 << 20,
            (2 << 20) + 1,
        ]
    };
    for &size in sizes {
        let mut vm = Vm::new(&[size, size]);
        vm.manifest
            .check(&crate::abi::manifest::Limits {
                ipa_bits: 40,
                max_vcpus: 1,
            })
            .unwrap();
        assert_eq!(vm.step(u64::MAX), Ok(Step::Done), "{size}");
        assert_eq!(vm.step(u64::MAX), Ok(Step::Done), "done stays done");
        let span = size.next_multiple_of(PAGE);
        for image in 0..2 {
            for at in size..span {
                assert_eq!(*vm.byte(image * span + at), 0, "{size}: {at}");
            }
        }
        // The bytes themselves, and frames of nobody, are as they were.
        let fresh = Vm::new(&[size, size]);
        for at in [0, size - 1, span, span + size - 1] {
            assert_eq!(*vm.byte(at), *fresh.byte(at));
        }
        assert_eq!(vm.ram.0.borrow()[..PAGE], [0xee; PAGE]);
    }
}

#[test]
fn a_budget_is_kept_and_bytes_left_count_down() {
    let sizes = [4097, 4096, 100];
    let all: usize = sizes.iter().sum();
    let mut vm = Vm::new(&sizes);
    let again = |done: usize| {
        Ok(Step::Again {
            bytes_left: (all - done) as u64,
        })
    };
    assert_eq!(vm.step(0), again(0));
    assert_eq!(vm.step(1), again(4096));
    assert_eq!(*vm.byte(4097), 0xee, "page 1 is not reached");
    assert_eq!(vm.step(1), again(4097));
    assert_eq!(*vm.byte(4097), 0);
    assert_eq!(vm.step(1), again(8193));
    assert_eq!(
        vm.step(1),
        Ok(Step::Done),
        "with its last frame, not one call later"
    );
    // Every budget comes to the same end, in the number of steps it must take.
    let most = if cfg!(miri) { 1 } else { 5 };
    for budget in 1..=most {
        let mut vm = Vm::new(&sizes);
        let mut steps = 1;
        while vm.step(budget) != Ok(Step::Done) {
            steps += 1;
        }
        assert_eq!(steps, 4_u64.div_ceil(budget));
    }
}

#[test]
fn one_wrong_byte_anywhere_fails_and_names_the_image() {
    // Where each image begins, and its size. Hashing is slow under Miri.
    let images: &[(usize, usize)] = match cfg!(miri) {
        true => &[(0, 64), (PAGE, 100)],
        false => &[(0, 5000), (2 * PAGE, 5000), (4 * PAGE, 4096)],
    };
    let sizes: Vec<usize> = images.iter().map(|(_, size)| *size).collect();
    for (image, &(start, size)) in images.iter().enumerate() {
        for at in [0, 1, 4095, 4096, size - 1] {
            if at >= size {
                continue;
            }
            let mut vm = Vm::new(&sizes);
            *vm.byte(start + at) ^= 0x80;
            let bad = Err(Refusal::BadDigest { image });
            assert_eq!(vm.step(u64::MAX), bad, "image {image}, byte {at}");
        }
    }
    // What is past the end of an image is not signed: any byte will do.
    let mut vm = Vm::new(&[100]);
    *vm.byte(100) = 1;
    assert_eq!(vm.step(1), Ok(Step::Done));
}

#[test]
fn a_failure_is_final() {
    let mut vm = Vm::new(&[4096, 4096]);
    *vm.byte(0) ^= 1;
    let bad = Err(Refusal::BadDigest { image: 0 });
    assert_eq!(vm.step(1), bad);
    let failed = vm.progress;
    // Putting the byte right again, or any number of calls, changes nothing.
    *vm.byte(0) ^= 1;
    for budget in [0, 1, 2, u64::MAX] {
        assert_eq!(vm.step(budget), bad);
        assert_eq!(vm.progress, failed);
    }
}

/// A digest of the right bytes under the other algorithm's name is a wrong digest.
#[test]
fn the_algorithm_is_part_of_the_digest() {
    let mut vm = Vm::new(&[64]);
    let Digest::Sha256(short) = vm.manifest.images()[0].digest else {
        panic!("the first image has SHA-256");
    };
    let mut long = [0; 64];
    long[..32].copy_from_slice(&short);
    let image = Image {
        digest: Digest::Sha512(long),
        ..vm.manifest.images()[0]
    };
    let mut manifest = Manifest::new([0; 32]);
    manifest.push_image(image).unwrap();
    vm.manifest = manifest;
    assert_eq!(vm.step(1), Err(Refusal::BadDigest { image: 0 }));
}

#[test]
fn a_missing_page_can_come_later() {
    let mut vm = Vm::new(&[3 * PAGE]);
    let ipa = Ipa::page(BASE + 2 * PAGE_SIZE).unwrap();
    let without = |at: Ipa| if at == ipa { None } else { frame_of(at) };
    let before = vm.progress;
    let refused = vm.progress.step(&vm.ram, &vm.manifest, without, 3);
    assert_eq!(refused, Err(Refusal::MissingPage { image: 0, ipa }));
    assert_eq!(vm.progress, before, "the call did not count");
    let step = vm.progress.step(&vm.ram, &vm.manifest, without, 2);
    assert_eq!(
        step,
        Ok(Step::Again {
            bytes_left: PAGE_SIZE
        })
    );
    let half = vm.progress;
    assert!(vm.progress.step(&vm.ram, &vm.manifest, without, 1).is_err());
    assert_eq!(vm.progress, half);
    assert_eq!(vm.step(1), Ok(Step::Done));
}

#[test]
fn an_unchecked_manifest_is_refused_without_a_panic() {
    for (ipa, size) in [(1, 1), (0, 0), (u64::MAX, u64::MAX), (1 << 52, 1)] {
        let mut vm = Vm::new(&[1]);
        let image = Image {
            ipa,
            size,
            ..vm.manifest.images()[0]
        };
        vm.manifest.push_image(image).unwrap();
        assert!(vm.step(0).is_ok());
        let bad = BadField::at("images", 1, "ipa", "unchecked");
        assert_eq!(vm.step(2), Err(Refusal::Manifest(bad)));
    }
}
