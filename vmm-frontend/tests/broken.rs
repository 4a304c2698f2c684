//! A corpus of broken bundles, kernels and configurations, each with a name: none gets through, and each
//! is told apart, with what to do about it.

use ed25519_dalek::{Signer, SigningKey};
use hyp_core::abi::bundle::{ENTRY_BYTES, HEADER_BYTES};
use hyp_core::abi::manifest::{MAX_BYTES, Manifest, SIGN_PREFIX};
use std::fs;
use std::path::Path;
use std::process::Command;
use vmm_frontend::bundle::{self, ImageSpec, Spec};
use vmm_frontend::keys::SecretKey;

const SEED: [u8; 32] = [9; 32];
const PAGE: usize = 4096;
/// Where the manifest is in [`good`], and its length.
const MANIFEST: usize = HEADER_BYTES + 2 * ENTRY_BYTES;
/// Where the first region and the first image are in the manifest.
const REGIONS: usize = 88;
const IMAGES: usize = REGIONS + 2 * 24;

/// A kernel in page 1 of the file, a tree in page 2.
fn good() -> Vec<u8> {
    let mut spec = Spec::new(2);
    spec.ram.push((0x4000_0000, 64 << 20));
    spec.mmio.push((0x0900_0000, 4096));
    spec.images
        .push(ImageSpec::kernel(0x4000_0000, vec![1; 4000]));
    let kind = hyp_core::abi::manifest::ImageKind::DeviceTree;
    spec.images
        .push(ImageSpec::new(kind, 0x4200_0000, vec![2; 4000]));
    bundle::build(&spec, &SecretKey::from_seed(SEED)).expect("good")
}

fn put(file: &mut [u8], at: usize, number: u64, bytes: usize) {
    file[at..at + bytes].copy_from_slice(&number.to_le_bytes()[..bytes]);
}

/// Changes the manifest and signs it again: what its owner himself got wrong.
fn signed_again(change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut file = good();
    let size = Manifest::parse(&file[MANIFEST..][..length(&file)])
        .expect("good")
        .encoded_bytes();
    let body = size - 64;
    change(&mut file[MANIFEST..][..body]);
    let message = [SIGN_PREFIX, &file[MANIFEST..][..body]].concat();
    let signature = SigningKey::from_bytes(&SEED).sign(&message).to_bytes();
    file[MANIFEST + body..][..64].copy_from_slice(&signature);
    file
}

fn length(file: &[u8]) -> usize {
    let bytes = file[16..24].first_chunk().expect("eight");
    usize::try_from(u64::from_le_bytes(*bytes)).expect("small")
}

fn with(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut file = good();
    change(&mut file);
    file
}

/// Runs `ward` in a directory and gives status and error text.
fn ward(dir: &Path, args: &str) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ward"))
        .args(args.split_whitespace())
        .current_dir(dir)
        .output()
        .expect("ward runs");
    let error = String::from_utf8(output.stderr).expect("text");
    assert!(!error.contains("panicked"), "{args}: {error}");
    (output.status.code().expect("no signal"), error)
}

/// Name, file, what `ward verify` says of it.
type Case = (&'static str, Vec<u8>, &'static str);

fn wrappers() -> Vec<Case> {
    vec![
        ("empty", vec![], "bundle magic"),
        ("one byte", vec![b'W'], "bundle magic"),
        ("magic alone", b"WARDBND1".to_vec(), "manifest offset"),
        ("another file", vec![0x7f; 8192], "not a Ward bundle"),
        (
            "cut in the header",
            with(|f| f.truncate(40)),
            "past the end",
        ),
        (
            "cut in the manifest",
            with(|f| f.truncate(MANIFEST + 100)),
            "past the end",
        ),
        (
            "cut before the images",
            with(|f| f.truncate(PAGE)),
            "pass the end of the file",
        ),
        (
            "cut in the last image",
            with(|f| f.truncate(3 * PAGE - 1)),
            "pass the end of the file",
        ),
        (
            "manifest elsewhere",
            with(|f| put(f, 8, u64::MAX, 8)),
            "past the end",
        ),
        (
            "manifest too long",
            with(|f| put(f, 16, u64::MAX - 8, 8)),
            "past the end",
        ),
        (
            "manifest of no bytes",
            with(|f| put(f, 16, 0, 8)),
            "manifest",
        ),
        ("17 images", with(|f| put(f, 24, 17, 4)), "more than 16"),
        (
            "fewer images than signed",
            with(|f| put(f, 24, 1, 4)),
            "not as many",
        ),
        (
            "reserved bytes used",
            with(|f| put(f, 28, 1, 4)),
            "bundle reserved",
        ),
        (
            "image between pages",
            with(|f| put(f, 32, 4097, 8)),
            "not page aligned",
        ),
        (
            "image behind the file",
            with(|f| put(f, 32, 1 << 40, 8)),
            "pass the end",
        ),
        (
            "image around the end",
            with(|f| put(f, 32, u64::MAX - 4095, 8)),
            "pass the end",
        ),
        (
            "image too long",
            with(|f| put(f, 40, u64::MAX, 8)),
            "pass the end",
        ),
        (
            "image longer than signed",
            with(|f| put(f, 40, 4001, 8)),
            "other address or size",
        ),
        (
            "image elsewhere",
            with(|f| put(f, 48, 0x4100_0000, 8)),
            "other address or size",
        ),
        (
            "images swapped",
            with(|f| {
                let (first, second) = (PAGE as u64, 2 * PAGE as u64);
                put(f, 32, second, 8);
                put(f, 32 + ENTRY_BYTES, first, 8);
            }),
            "images[0]: not the signed bytes",
        ),
    ]
}

fn changed_after_signing() -> Vec<Case> {
    let last = |file: &[u8]| MANIFEST + length(file) - 1;
    vec![
        (
            "a bit of the kernel",
            with(|f| f[PAGE] ^= 1),
            "images[0]: not the signed bytes",
        ),
        (
            "the kernel's last byte",
            with(|f| f[PAGE + 3999] ^= 128),
            "images[0]",
        ),
        (
            "a bit of the tree",
            with(|f| f[2 * PAGE + 17] ^= 1),
            "images[1]: not the signed bytes (the device tree at 0x42000000)",
        ),
        (
            "more CPUs",
            with(|f| put(f, MANIFEST + 20, 3, 4)),
            "bad signature",
        ),
        (
            "another entry",
            with(|f| put(f, MANIFEST + 24, 0x4000_0040, 8)),
            "bad signature",
        ),
        (
            "an older version",
            with(|f| put(f, MANIFEST + 40, 1, 8)),
            "bad signature",
        ),
        (
            "a signature of zeros",
            with(|f| {
                let at = last(f);
                f[at - 63..=at].fill(0);
            }),
            "bad signature",
        ),
        (
            "a bit of the signature",
            with(|f| {
                let at = last(f);
                f[at] ^= 1;
            }),
            "bad signature",
        ),
        (
            "another key",
            with(|f| f[MANIFEST + 56] ^= 1),
            "untrusted key",
        ),
        ("no manifest", with(|f| f[MANIFEST] ^= 1), "manifest"),
        (
            "a later format",
            with(|f| put(f, MANIFEST + 8, 2, 4)),
            "version",
        ),
        (
            "a length that lies",
            with(|f| put(f, MANIFEST + 12, 4000, 4)),
            "length",
        ),
    ]
}

/// Each of these Ward would refuse although its owner signed it.
fn signed_wrongly() -> Vec<Case> {
    let number =
        |at: usize, number: u64, bytes: usize| signed_again(move |m| put(m, at, number, bytes));
    vec![
        ("flags of a later format", number(16, 1, 4), "flags"),
        ("no CPU", number(20, 0, 4), "vcpus"),
        ("65 CPUs", number(20, 65, 4), "vcpus"),
        ("entry in the tree", number(24, 0x4200_0000, 8), "entry"),
        (
            "entry between instructions",
            number(24, 0x4000_0002, 8),
            "entry",
        ),
        (
            "boot argument nowhere",
            number(32, 0x5000_0000, 8),
            "boot argument",
        ),
        (
            "a kind of region nobody knows",
            number(REGIONS, 3, 4),
            "regions[0]",
        ),
        (
            "RAM between pages",
            number(REGIONS + 8, 0x4000_0001, 8),
            "regions[0].ipa",
        ),
        (
            "RAM of no bytes",
            number(REGIONS + 16, 0, 8),
            "regions[0].size",
        ),
        (
            "RAM without end",
            number(REGIONS + 16, u64::MAX - 4095, 8),
            "regions[0].size",
        ),
        (
            "RAM over devices",
            number(REGIONS + 24 + 8, 0x4000_0000, 8),
            "regions[1].ipa",
        ),
        (
            "a kind of image nobody knows",
            number(IMAGES, 9, 4),
            "images[0]",
        ),
        (
            "a digest nobody knows",
            number(IMAGES + 4, 9, 4),
            "images[0]",
        ),
        (
            "an image on devices",
            number(IMAGES + 88 + 8, 0x0900_0000, 8),
            "images[1]",
        ),
        (
            "an image on the kernel",
            number(IMAGES + 88 + 8, 0x4000_0000, 8),
            "images[1]",
        ),
        (
            "an image of no bytes",
            number(IMAGES + 88 + 16, 0, 8),
            "images[1]",
        ),
        ("a manifest of 17 regions", number(48, 17, 4), "regions"),
    ]
}

#[test]
fn broken_bundles_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("directory");
    let dir = dir.path();
    SecretKey::from_seed(SEED)
        .save(&dir.join("k"))
        .expect("saved");
    fs::write(dir.join("good"), good()).expect("written");
    assert_eq!(ward(dir, "verify good --trust k.pub"), (0, String::new()));
    for (name, file, says) in [wrappers(), changed_after_signing(), signed_wrongly()].concat() {
        fs::write(dir.join("b"), &file).expect("written");
        let (status, error) = ward(dir, "verify b --trust k.pub");
        assert_eq!(status, 1, "{name}: {error}");
        assert!(error.contains(says), "{name}: {error}");
        assert!(error.contains("\n help: "), "{name}: {error}");
        // Looking at it is no risk either, and never says that it is whole.
        let (status, _) = ward(dir, "inspect b --output json");
        let intact = bundle::read_manifest(&file).is_ok_and(|manifest| {
            let signer = [vmm_frontend::keys::PublicKey(manifest.key)];
            bundle::verify(&file, &signer, &bundle::WIDEST).is_ok()
        });
        assert!(!intact, "{name}");
        assert!(status <= 1, "{name}");
    }
}

#[test]
fn a_manifest_signed_again_without_change_is_good() {
    const { assert!(MAX_BYTES <= PAGE) };
    let dir = tempfile::tempdir().expect("directory");
    let dir = dir.path();
    SecretKey::from_seed(SEED)
        .save(&dir.join("k"))
        .expect("saved");
    fs::write(dir.join("b"), signed_again(|_| ())).expect("written");
    assert_eq!(ward(dir, "verify b --trust k.pub").0, 0);
    assert_eq!(signed_again(|_| ()), good());
}

/// An arm64 kernel of 100 bytes that takes 64 KiB.
fn kernel() -> Vec<u8> {
    let mut kernel = vec![0; 100];
    put(&mut kernel, 16, 0x1_0000, 8);
    kernel[0x38..0x3c].copy_from_slice(b"ARM\x64");
    kernel
}

#[test]
fn broken_configurations_point_at_their_line() {
    let dir = tempfile::tempdir().expect("directory");
    let dir = dir.path();
    SecretKey::from_seed(SEED)
        .save(&dir.join("k"))
        .expect("saved");
    fs::create_dir(dir.join("sub")).expect("made");
    fs::write(dir.join("sub/Image"), kernel()).expect("written");
    fs::write(dir.join("sub/rd"), b"070701").expect("written");
    fs::write(dir.join("sub/empty"), b"").expect("written");
    let base = "kernel = \"Image\"\nkey = \"../k\"\nout = \"../o\"\n";
    let cases = [
        (
            "an unknown key",
            "colour = \"blue\"",
            "guest.toml:4:1",
            "colour",
        ),
        (
            "a key twice",
            "key = \"k\"",
            "guest.toml:4:1",
            "duplicate key",
        ),
        ("no CPU", "cpus = 0", "guest.toml:4:8", "1 to 64"),
        ("too many CPUs", "cpus = 65", "guest.toml:4:8", "1 to 64"),
        ("a fraction of a CPU", "cpus = 1.5", "guest.toml:4:8", "u32"),
        (
            "memory in words",
            "memory = \"lots\"",
            "guest.toml:4:10",
            "not a number",
        ),
        (
            "odd memory",
            "memory = \"33M\"",
            "guest.toml:4:10",
            "multiple of 2 MiB",
        ),
        (
            "too little memory",
            "memory = \"14M\"",
            "guest.toml:4:10",
            "from 16 MiB",
        ),
        (
            "no such initrd",
            "initrd = \"none\"",
            "guest.toml:4:10",
            "none",
        ),
        (
            "an empty initrd",
            "initrd = \"empty\"",
            "guest.toml:4:10",
            "is empty",
        ),
        (
            "a kernel as initrd",
            "initrd = \"Image\"",
            "guest.toml:4:10",
            "is a kernel",
        ),
        ("no value", "append =", "guest.toml:4:9", "string"),
        ("a table", "[guest]", "guest.toml:4:2", "guest"),
        ("not TOML", "?", "guest.toml:4:2", "key"),
    ];
    let file = dir.join("sub/guest.toml");
    let append = format!("append = \"{}\"", "x".repeat(2048));
    let long = (
        "a long command line",
        append.as_str(),
        "guest.toml:4:10",
        "2047",
    );
    for (name, line, place, says) in cases.into_iter().chain([long]) {
        fs::write(&file, format!("{base}{line}\n")).expect("written");
        let (status, error) = ward(dir, "bundle --config sub/guest.toml");
        assert_eq!(status, 1, "{name}: {error}");
        assert!(
            error.contains(place) && error.contains(says),
            "{name}: {error}"
        );
        assert!(error.contains("\n help: "), "{name}: {error}");
        assert!(!dir.join("o").exists(), "{name}");
    }
    let wrong = base.replace("Image", "rd");
    for (name, text, says) in [
        ("an initrd as kernel", wrong.as_str(), "is a cpio archive"),
        (
            "no kernel",
            "key = \"../k\"\nout = \"../o\"\n",
            "names no kernel",
        ),
        (
            "no key",
            "kernel = \"Image\"\nout = \"../o\"\n",
            "names no key",
        ),
        (
            "no out",
            "kernel = \"Image\"\nkey = \"../k\"\n",
            "names no out",
        ),
        ("nothing", "", "names no key"),
    ] {
        fs::write(&file, text).expect("written");
        let (status, error) = ward(dir, "bundle --config sub/guest.toml");
        assert_eq!(status, 1, "{name}: {error}");
        assert!(error.contains(says), "{name}: {error}");
    }
    fs::write(&file, [0xff, 0xfe, 0]).expect("written");
    let (status, error) = ward(dir, "bundle --config sub/guest.toml");
    assert_eq!(
        (status, error.contains("is not text")),
        (1, true),
        "{error}"
    );
    assert_eq!(ward(dir, "bundle --config none").0, 3);

    fs::write(&file, base).expect("written");
    assert_eq!(
        ward(dir, "bundle --config sub/guest.toml"),
        (0, String::new())
    );
    assert!(dir.join("o").exists());
}
