use super::limits::Verdict;
use super::*;
use crate::bundle::{self, ImageSpec, Spec};
use crate::keys::SecretKey;
use hyp_core::abi::manifest::ImageKind;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

fn spec() -> Spec {
    let mut spec = Spec::new(2);
    spec.ram = vec![(0x4000_0000, 16 << 20), (0x8000_0000, 4 << 20)];
    spec.mmio = vec![(0x0900_0000, 4096)];
    spec.images
        .push(ImageSpec::kernel(0x4020_0000, vec![7; 5000]));
    let tree = ImageSpec::new(ImageKind::DeviceTree, 0x4040_0000, vec![9; 100]);
    spec.images.push(tree);
    spec
}

fn bundle_file() -> Vec<u8> {
    bundle::build(&spec(), &SecretKey::generate().unwrap()).unwrap()
}

#[test]
fn a_bundle_becomes_a_payload() {
    let payload = Payload::from_bundle(&bundle_file()).unwrap();
    assert_eq!(payload.vcpus, 2);
    assert_eq!(
        (payload.entry, payload.boot_arg),
        (0x4020_0000, 0x4040_0000)
    );
    assert_eq!(payload.ram_bytes(), 20 << 20);
    assert_eq!(payload.ram_end(), 0x8040_0000);
    let lengths: Vec<_> = payload
        .pieces
        .iter()
        .map(|p| (p.ipa, p.bytes.len()))
        .collect();
    assert_eq!(lengths, [(0x4020_0000, 8192), (0x4040_0000, 4096)]);
    assert_eq!(payload.pieces[0].bytes[4999..5001], [7, 0]);
    let manifest = payload.manifest.unwrap();
    assert_eq!(manifest[..8], *b"WARDMAN1");
}

#[test]
fn what_is_no_bundle_is_refused() {
    let file = bundle_file();
    assert!(Payload::from_bundle(b"").is_err());
    assert!(Payload::from_bundle(&file[..4096]).is_err());
    for at in [0, 9, 25, 40] {
        let mut bad = file.clone();
        bad[at] ^= 0x80;
        assert!(Payload::from_bundle(&bad).is_err(), "byte {at}");
    }
}

#[test]
fn parts_become_a_payload() {
    let payload = Payload::from_spec(spec());
    assert_eq!(
        (payload.entry, payload.boot_arg),
        (0x4020_0000, 0x4040_0000)
    );
    assert_eq!(payload.pieces[0].bytes, [7; 5000]);
    assert_eq!(payload.manifest, None);
    let mut empty = spec();
    empty.images.clear();
    assert_eq!(Payload::from_spec(empty).entry, 0);
}

#[test]
fn memory_is_where_it_is_asked_for_and_zero() {
    let memory = allocate(&[(0x4000_0000, 4 << 20), (0x8000_0000, 4096)]).unwrap();
    assert_eq!(memory.num_regions(), 2);
    let word: u64 = memory.read_obj(GuestAddress(0x403f_fff8)).unwrap();
    assert_eq!(word, 0);
    memory
        .write_slice(&[1; 8], GuestAddress(0x8000_0ff8))
        .unwrap();
    assert!(
        memory
            .write_slice(&[1; 8], GuestAddress(0x8000_0ff9))
            .is_err()
    );
}

#[test]
fn memory_that_cannot_be_is_an_error() {
    let huge = allocate(&[(0x4000_0000, 1 << 62)]).unwrap_err();
    assert!(
        matches!(
            huge,
            HostError::Memory {
                ipa: 0x4000_0000,
                ..
            }
        ),
        "{huge}"
    );
    let twice = allocate(&[(0, 8192), (4096, 4096)]).unwrap_err();
    assert!(matches!(twice, HostError::System { .. }), "{twice}");
}

#[test]
fn how_much_may_be_locked() {
    let limits = |soft, hard, exempt| Limits { soft, hard, exempt };
    let spare = 1 << 20;
    assert_eq!(limits(0, 0, true).judge(u64::MAX), Verdict::Enough);
    assert_eq!(
        limits(5 << 20, 5 << 20, false).judge(4 << 20),
        Verdict::Enough
    );
    assert_eq!(
        limits(0, u64::MAX, false).judge(100),
        Verdict::Raise(100 + spare)
    );
    let need = (5 << 20) + spare;
    assert_eq!(
        limits(0, 5 << 20, false).judge(5 << 20),
        Verdict::TooLittle { need }
    );
    let error = HostError::Locked { need, may: 8 << 20 };
    assert!(
        error.remedy().contains("ulimit -l 6144`"),
        "{}",
        error.remedy()
    );
    assert!(error.to_string().contains("6 MiB") && error.to_string().contains("8 MiB"));
}

#[test]
fn a_capability_is_read_from_the_status() {
    use super::limits::test_capability;
    assert!(test_capability("Name:\tx\nCapEff:\t000001ffffffffff\n"));
    assert!(!test_capability(
        "CapEff:\t0000000000003fff\nCapBnd:\t000001ffffffffff\n"
    ));
    assert!(!test_capability("CapEff:\tnonsense\n"));
    assert!(!test_capability(""));
}

/// Each refusal of Ward's says which step, why, and what to do.
#[test]
fn refusals_are_told_apart() {
    let mut seen = Vec::new();
    for errno in [
        libc::EBADMSG,
        libc::EKEYREJECTED,
        libc::ENOKEY,
        libc::EILSEQ,
        libc::ENOEXEC,
        libc::EEXIST,
        libc::EPERM,
        libc::ENOMEM,
        libc::EIO,
    ] {
        for step in [Step::Manifest, Step::Image(3), Step::Verify] {
            let error = HostError::Refused { step, errno };
            assert!(error.to_string().starts_with("Ward refused "), "{error}");
            assert!(!error.remedy().is_empty());
        }
        let error = HostError::Refused {
            step: Step::Image(3),
            errno,
        };
        assert!(error.to_string().contains("image 3"));
        seen.push(error.to_string());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 9);
    let blames = |step, errno| HostError::Refused { step, errno }.blames_the_guest();
    assert!(blames(Step::Manifest, libc::ENOKEY) && blames(Step::Verify, libc::EILSEQ));
    assert!(!blames(Step::Image(0), libc::ENOMEM) && !HostError::NoWard.blames_the_guest());
}

#[test]
fn versions() {
    use super::ward::Version;
    assert_eq!(Version::from_bits(0x0001_0002).to_string(), "1.2");
    assert!(Version::OURS.is_usable());
    assert!(
        Version {
            major: Version::OURS.major,
            minor: 9
        }
        .is_usable()
    );
    assert!(
        !Version {
            major: Version::OURS.major + 1,
            minor: 0
        }
        .is_usable()
    );
}

#[test]
fn the_first_end_counts() {
    let ending = Ending::new().unwrap();
    assert_eq!(ending.outcome(), None);
    assert!(ending.event().read().is_err());
    ending.end(Outcome::Panicked);
    ending.end(Outcome::PowerOff);
    assert_eq!(ending.outcome(), Some(Outcome::Panicked));
    assert_eq!(ending.event().read().unwrap(), 2);
}

#[test]
fn exit_codes_are_apart() {
    let outcomes = [
        Outcome::PowerOff,
        Outcome::Panicked,
        Outcome::Reset,
        Outcome::Stopped(Stop::Signal),
        Outcome::Failed(String::new()),
    ];
    let codes = outcomes.map(|outcome| outcome.exit_code());
    assert_eq!(codes, [0, 4, 5, 6, 7]);
}
