use super::*;
use crate::bundle::{self, LIMITS};
use crate::kernel;
use crate::keys::SecretKey;

fn guest(mib: u64) -> Guest {
    Guest {
        machine: Machine::new(2, mib << 20).expect("a machine"),
        kernel: kernel::parse(kernel::tests::image(10_000, 8 << 20)).expect("a kernel"),
        initrd: Some(vec![7; 5000]),
        command_line: "root=/dev/vda ro".into(),
        bounce: true,
    }
}

#[test]
fn a_bundle_of_a_guest_verifies_and_says_what_it_is() {
    let key = SecretKey::from_seed([3; 32]);
    let file = bundle::build(&guest(128).into_spec().expect("parts"), &key).expect("a bundle");
    let manifest = bundle::verify(&file, &[key.public()], &LIMITS).expect("good");
    let kinds: Vec<_> = manifest.images().iter().map(|image| image.kind).collect();
    assert_eq!(
        kinds,
        [ImageKind::Kernel, ImageKind::Initrd, ImageKind::DeviceTree]
    );
    assert_eq!((manifest.entry, manifest.vcpus), (0x4000_0000, 2));
    assert_eq!(manifest.boot_arg, manifest.images()[2].ipa);
    assert!(manifest.mmio_contains(0x0a00_f000, 4096));
    let initrd = manifest.images()[1];
    assert_eq!(
        initrd.ipa, 0x4080_0000,
        "behind the kernel's memory, not its file"
    );

    let summary = fdt::summarise(bundle::image(&file, 2).expect("a tree")).expect("readable");
    assert_eq!(summary.command_line.as_deref(), Some("root=/dev/vda ro"));
    assert_eq!(
        (summary.cpus, summary.memory.as_slice()),
        (2, &[(0x4000_0000, 128 << 20)][..])
    );
    assert_eq!(summary.initrd, Some((initrd.ipa, initrd.ipa + 5000)));
    assert_eq!(summary.pool, Some((0x4700_0000, 16 << 20)));
    assert!(
        summary.devices.contains(&("virtio,mmio".into(), 16)),
        "{summary:?}"
    );
    assert!(bundle::image(&file, 3).is_none());
}

#[test]
fn without_an_initrd() {
    let bare = Guest {
        initrd: None,
        ..guest(128)
    };
    let spec = bare.into_spec().expect("parts");
    assert_eq!(spec.images.len(), 2);
    let summary = fdt::summarise(&spec.images[1].bytes).expect("a tree");
    assert_eq!(summary.initrd, None);
}

#[test]
fn what_does_not_fit_is_refused() {
    assert!(guest(16).into_spec().is_ok(), "16 MiB are enough");
    let large = Guest {
        initrd: Some(vec![0; 10 << 20]),
        ..guest(16)
    };
    assert!(matches!(
        large.into_spec(),
        Err(crate::Error::Machine { .. })
    ));
    let long = Guest {
        command_line: "x".repeat(3000),
        ..guest(128)
    };
    assert!(matches!(
        long.into_spec(),
        Err(crate::Error::Machine { .. })
    ));
}

#[test]
fn trees_that_are_none_have_no_summary() {
    for bytes in [&b""[..], b"\xd0\x0d\xfe\xed", &[0; 100]] {
        assert_eq!(fdt::summarise(bytes), None);
        assert_eq!(fdt::source(bytes), None);
    }
}
