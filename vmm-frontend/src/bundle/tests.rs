use super::*;

fn key() -> SecretKey {
    SecretKey::from_seed([5; 32])
}

fn spec() -> Spec {
    let mut spec = Spec::new(2);
    spec.image_version = 9;
    spec.ram.push((0x4000_0000, 64 << 20));
    spec.mmio.push((0x0900_0000, 0x1000));
    spec.images
        .push(ImageSpec::kernel(0x4000_0000, vec![0xaa; 4097]));
    let mut initrd = ImageSpec::new(ImageKind::Initrd, 0x4100_0000, vec![0xbb; 4096]);
    initrd.algorithm = Algorithm::Sha512;
    spec.images.push(initrd);
    spec.images.push(ImageSpec::new(
        ImageKind::DeviceTree,
        0x4200_0000,
        vec![0xcc; 1],
    ));
    spec
}

fn verified(file: &[u8]) -> Result<Manifest, Error> {
    verify(file, &[key().public()], &LIMITS)
}

#[test]
fn what_is_built_verifies() {
    let file = build(&spec(), &key()).unwrap();
    let manifest = verified(&file).unwrap();
    assert_eq!(
        (manifest.entry, manifest.boot_arg),
        (0x4000_0000, 0x4200_0000)
    );
    assert_eq!((manifest.vcpus, manifest.image_version), (2, 9));
    assert_eq!(manifest.regions().len(), 2);
    assert_eq!(file.len(), 5 * 4096, "header, two pages, one, one");
    assert_eq!(build(&spec(), &key()).unwrap(), file, "reproducible");
    let bundle = Bundle::parse(&file).unwrap();
    assert_eq!(
        bundle.pages(0)[4096..],
        [&[0xaa; 1][..], &[0; 4095]].concat()
    );
}

#[test]
fn no_flipped_bit_of_the_signed_parts_passes() {
    let file = build(&spec(), &key()).unwrap();
    let header = HEADER_BYTES + 3 * ENTRY_BYTES;
    let manifest = Bundle::parse(&file).unwrap().manifest().len();
    let images = [
        4096..4096 + 4097,
        3 * 4096..4 * 4096,
        4 * 4096..4 * 4096 + 1,
    ];
    let sampled = images.into_iter().flat_map(|range| range.step_by(512));
    for at in (0..header + manifest).chain(sampled).chain([4096 + 4096]) {
        let mut file = file.clone();
        file[at] ^= 1 << (at % 8);
        let error = verified(&file).expect_err("refused");
        assert!(!error.to_string().is_empty() && !error.remedy().is_empty());
    }
}

#[test]
fn cut_files_are_refused() {
    let file = build(&spec(), &key()).unwrap();
    for end in (0..file.len()).step_by(37) {
        assert!(matches!(verified(&file[..end]), Err(Error::Bundle(_))));
    }
}

#[test]
fn another_signer_or_a_smaller_machine_is_refused() {
    let file = build(&spec(), &SecretKey::from_seed([6; 32])).unwrap();
    assert!(matches!(
        verified(&file),
        Err(Error::Refused(Refusal::UntrustedKey))
    ));
    let file = build(&spec(), &key()).unwrap();
    let small = Limits {
        ipa_bits: 30,
        ..LIMITS
    };
    let error = verify(&file, &[key().public()], &small).unwrap_err();
    assert!(matches!(error, Error::Refused(Refusal::Manifest(_))));
    assert!(error.remedy().contains("--ipa-bits"));
}

#[test]
fn images_swapped_in_the_wrapper_are_noticed() {
    let mut file = build(&spec(), &key()).unwrap();
    let (a, b) = (HEADER_BYTES, HEADER_BYTES + 2 * ENTRY_BYTES);
    for i in 0..8 {
        file.swap(a + i, b + i);
    }
    let error = verified(&file).unwrap_err();
    assert!(matches!(error, Error::Bundle(_) | Error::Changed { .. }));
}

#[test]
fn what_makes_no_guest_is_refused_with_a_remedy() {
    type Change = fn(&mut Spec);
    let cases: [(Change, &str, &str); 9] = [
        (|s| s.vcpus = 0, "vcpus", "--vcpus"),
        (|s| s.images.clear(), "entry", "--image kernel"),
        (|s| s.ram.clear(), "images[0].size", "--ram"),
        (|s| s.entry = Some(2), "entry", "--entry"),
        (|s| s.boot_arg = Some(2), "boot argument", "--boot-arg"),
        (|s| s.ram.push((0x4000_0000, 4096)), "overlaps", "--ram"),
        (|s| s.ram.push((1 << 41, 4096)), "outside", "--ipa-bits"),
        (
            |s| s.images[1].ipa += 1,
            "images[1].ipa",
            "multiples of 4096",
        ),
        (
            |s| s.images[1].bytes.clear(),
            "images[1].size: zero",
            "check the file",
        ),
    ];
    for (change, what, remedy) in cases {
        let mut spec = spec();
        change(&mut spec);
        let error = build(&spec, &key()).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        assert!(
            error.remedy().contains(remedy),
            "{error}: {}",
            error.remedy()
        );
    }
    let mut many = spec();
    many.ram = (0..16).map(|i| (0x8000_0000 + i * 4096, 4096)).collect();
    assert!(build(&many, &key()).unwrap_err().remedy().contains("16"));
    let mut many = spec();
    many.images = (0..17)
        .map(|i| ImageSpec::kernel(0x4000_0000 + i * 4096, vec![1]))
        .collect();
    assert!(
        build(&many, &key())
            .unwrap_err()
            .remedy()
            .contains("--image")
    );
    many.images.pop();
    many.boot_arg = None;
    assert!(verified(&build(&many, &key()).unwrap()).is_ok());
}
