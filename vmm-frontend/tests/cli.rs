//! The program `ward`, run as a user runs it.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

fn ward(dir: &Path, args: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ward"))
        .args(args.split_whitespace())
        .current_dir(dir)
        .output()
        .expect("ward runs")
}

/// What a command that works prints.
fn good(dir: &Path, args: &str) -> String {
    let output = ward(dir, args);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{args}: {error}");
    assert_eq!(error, "");
    String::from_utf8(output.stdout).expect("text")
}

/// Exit code and error text of a command that must not work.
fn bad(dir: &Path, args: &str) -> (i32, String) {
    let output = ward(dir, args);
    assert!(output.stdout.is_empty(), "{args}: output of a failure");
    let error = String::from_utf8(output.stderr).expect("text");
    assert!(!error.contains("panicked"), "{args}: {error}");
    (output.status.code().expect("no signal"), error)
}

const BUNDLE: &str = "bundle --key k --out g.ward --vcpus 2 --ram 0x40000000+64M \
    --mmio 0x09000000+4K --image kernel=Image@0x40200000 --image initrd=rd@0x42000000 \
    --image device-tree=dtb@0x43000000 --image-version 7";

/// A directory with a key and a bundle.
fn prepared() -> TempDir {
    let dir = tempfile::tempdir().expect("directory");
    for (name, bytes) in [("Image", 10_000), ("rd", 4096), ("dtb", 100)] {
        fs::write(dir.path().join(name), vec![0x5a; bytes]).expect("written");
    }
    good(dir.path(), "keygen --out k");
    good(dir.path(), BUNDLE);
    dir
}

#[test]
fn from_key_to_verified_guest() {
    let dir = prepared();
    let dir = dir.path();
    let public = fs::read_to_string(dir.join("k.pub")).expect("key");
    let text = good(dir, "verify g.ward --trust k.pub");
    assert!(text.contains("verified, image version 7"), "{text}");
    assert!(text.contains(public.trim()));
    let text = good(dir, "inspect g.ward");
    for part in ["intact", "0x40200000", "device-tree", "10000 bytes", "mmio"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let json: Value = serde_json::from_str(&good(dir, "inspect g.ward --output json")).unwrap();
    assert_eq!(json["intact"], true);
    assert_eq!(json["signer"], public.trim());
    assert_eq!(json["boot_arg"], "0x43000000");
    assert_eq!(json["images"][0]["size"], 10_000);
    assert_eq!(json["images"].as_array().map(Vec::len), Some(3));
    assert_eq!(json["regions"][1]["kind"], "mmio");
    let verdict = good(dir, "--output json verify g.ward --trust k.pub");
    let json: Value = serde_json::from_str(&verdict).unwrap();
    assert_eq!(
        (&json["verified"], &json["image_version"]),
        (&true.into(), &7.into())
    );
}

#[test]
fn sha512_entry_and_boot_argument() {
    let dir = prepared();
    let dir = dir.path();
    good(
        dir,
        &format!("{BUNDLE} --digest sha512 --entry 0x40200040 --boot-arg 0x42000000"),
    );
    let json: Value = serde_json::from_str(&good(dir, "inspect g.ward --output json")).unwrap();
    assert_eq!(
        (&json["entry"], &json["boot_arg"]),
        (&"0x40200040".into(), &"0x42000000".into())
    );
    assert_eq!(json["images"][0]["algorithm"], "sha512");
    good(dir, "verify g.ward --trust k.pub");
}

#[test]
fn a_secret_key_is_secret_and_never_lost() {
    let dir = prepared();
    let secret = fs::read_to_string(dir.path().join("k")).expect("key");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(dir.path().join("k"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let (code, error) = bad(dir.path(), "keygen --out k");
    assert_eq!(code, 3);
    assert!(error.contains("never overwritten"), "{error}");
    assert_eq!(fs::read_to_string(dir.path().join("k")).unwrap(), secret);
}

#[test]
fn what_ward_would_refuse_is_refused() {
    let dir = prepared();
    let dir = dir.path();
    good(dir, "keygen --out other");
    let (code, error) = bad(dir, "verify g.ward --trust other.pub");
    assert_eq!(code, 1);
    assert!(
        error.contains("untrusted key") && error.contains("--trust"),
        "{error}"
    );
    good(dir, "verify g.ward --trust other.pub --trust k.pub");

    let file = fs::read(dir.join("g.ward")).expect("bundle");
    // Somewhere in the kernel, in the manifest, and cut short.
    let mut changed = file.clone();
    changed[4096 + 9999] ^= 1;
    fs::write(dir.join("g.ward"), &changed).unwrap();
    let (code, error) = bad(dir, "verify g.ward --trust k.pub");
    assert_eq!(
        (code, error.contains("images[0]: not the signed bytes")),
        (1, true),
        "{error}"
    );
    let text = good(dir, "inspect g.ward");
    assert!(text.contains("BROKEN: images[0]"), "{text}");

    let mut changed = file.clone();
    changed[104 + 40] ^= 1;
    fs::write(dir.join("g.ward"), &changed).unwrap();
    let (code, error) = bad(dir, "verify g.ward --trust k.pub --output json");
    let json: Value = serde_json::from_str(&error).expect("JSON error");
    assert_eq!(
        (code, &json["error"]),
        (1, &"bad signature of the manifest".into())
    );
    assert!(json["help"].is_string());

    fs::write(dir.join("g.ward"), &file[..file.len() - 1]).unwrap();
    for command in ["verify g.ward --trust k.pub", "inspect g.ward"] {
        let (code, error) = bad(dir, command);
        assert_eq!(
            (code, error.contains("not a usable bundle")),
            (1, true),
            "{error}"
        );
    }
    fs::write(dir.join("g.ward"), b"").unwrap();
    assert_eq!(bad(dir, "inspect g.ward").0, 1);
}

#[test]
fn wrong_parts_are_named_and_leave_no_file() {
    let dir = prepared();
    let dir = dir.path();
    fs::remove_file(dir.join("g.ward")).unwrap();
    fs::write(dir.join("empty"), b"").unwrap();
    let cases = [
        ("--image other=rd@0x40202000", 1, "shares a page"),
        ("--image other=rd@0x50000000", 1, "RAM region"),
        ("--image other=rd@0x40300001", 1, "multiples of 4096"),
        ("--image other=empty@0x40300000", 1, "check the file"),
        ("--image other=none@0x40300000", 3, "none"),
        ("--image disk=rd@0x40300000", 2, "device-tree"),
        ("--image other=rd", 2, "kernel=Image@0x40200000"),
        ("--image other=rd@here", 2, "not a number"),
        ("--ram 0x41000000+4K", 1, "overlaps"),
        ("--ram 0x80000000", 2, "0x40000000+512M"),
        ("--ram 0x80000000+18446744073709551615G", 2, "64 bits"),
        ("--entry 0x42000000", 1, "not inside a kernel"),
        ("--boot-arg 1", 1, "--boot-arg"),
        ("--ipa-bits 99", 2, "32..=52"),
        ("--colour blue", 2, "--colour"),
    ];
    for (more, code, text) in cases {
        let (status, error) = bad(dir, &format!("{BUNDLE} {more}"));
        assert_eq!(status, code, "{more}: {error}");
        assert!(error.contains(text), "{more}: {error}");
        assert!(!dir.join("g.ward").exists(), "{more}");
    }
    let swapped = BUNDLE.replace("--vcpus 2", "--vcpus 65");
    assert!(bad(dir, &swapped).1.contains("1 to 64"));
    let public = BUNDLE.replace("--key k", "--key k.pub");
    assert_eq!(bad(dir, &public).0, 1);
    let nowhere = BUNDLE.replace("--out g.ward", "--out no/g.ward");
    assert_eq!(bad(dir, &nowhere).0, 3);
    let (code, error) = bad(dir, "verify none --trust k");
    assert_eq!(
        (code, error.contains("this is a secret key")),
        (1, true),
        "{error}"
    );
    assert_eq!(bad(dir, "verify none --trust k.pub").0, 3);
    assert_eq!(bad(dir, "verify none").0, 2);
}

#[test]
fn every_command_has_help_with_an_example() {
    let dir = tempfile::tempdir().expect("directory");
    for command in ["keygen", "bundle", "inspect", "verify", "completion", "man"] {
        let help = good(dir.path(), &format!("{command} --help"));
        assert!(help.contains(&format!("ward {command} ")), "{help}");
        assert!(help.contains("Example"), "{help}");
    }
    let help = good(dir.path(), "--help");
    assert!(help.contains("Exit codes:"));
    assert!(good(dir.path(), "--version").starts_with("ward "));
}

/// An arm64 kernel of 100 bytes that takes `memory`.
fn kernel(memory: u64) -> Vec<u8> {
    let mut kernel = vec![0; 64];
    kernel[16..24].copy_from_slice(&memory.to_le_bytes());
    kernel[0x38..0x3c].copy_from_slice(b"ARM\x64");
    kernel.extend(b"Linux version 6.1.0-test (x) of no configuration...");
    kernel
}

const LINUX: &str = "bundle --kernel Image --initrd rd --cpus 2 --memory 64M --key k --out l.ward";

#[test]
fn a_linux_guest_is_laid_out() {
    let dir = prepared();
    let dir = dir.path();
    fs::write(dir.join("Image"), kernel(9 << 20)).expect("written");
    let output = ward(dir, LINUX);
    let warning = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{warning}");
    assert!(
        warning.contains("no virtio in a protected guest"),
        "{warning}"
    );
    assert!(warning.contains("CONFIG_DMA_RESTRICTED_POOL"), "{warning}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("2 CPUs, 64 MiB of memory"), "{text}");
    assert!(
        text.contains("0x40a00000"),
        "the initrd is behind the kernel's memory: {text}"
    );
    good(dir, "verify l.ward --trust k.pub");
    let tree = good(dir, "inspect l.ward --tree");
    assert!(tree.contains("restricted-dma-pool@43800000"), "{tree}");

    let json = good(dir, "inspect l.ward --output json");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["kernel"]["release"], "6.1.0-test");
    assert_eq!(json["kernel"]["virtio_when_protected"], false);
    assert_eq!(json["device_tree"]["cpus"], 2);
    assert_eq!(json["warnings"].as_array().map(Vec::len), Some(1));
    let json = good(dir, &format!("{LINUX} --output json --append a=b"));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["guest"]["command_line"], "a=b");
    assert_eq!(json["guest"]["initrd"]["ipa"], "0x40a00000");
}

#[test]
fn a_linux_guest_that_cannot_be_is_refused() {
    let dir = prepared();
    let dir = dir.path();
    fs::write(dir.join("Image"), kernel(60 << 20)).expect("written");
    let (code, error) = bad(dir, LINUX);
    assert_eq!(code, 1);
    assert!(
        error.contains("the kernel takes 60 MiB") && error.contains("at least 70 MiB"),
        "{error}"
    );
    for (change, code, says) in [
        ("--kernel rd", 1, "no kernel for arm64"),
        ("--kernel none", 3, "cannot read none"),
        ("--initrd none", 3, "cannot read none"),
        ("--key k.pub", 1, "this is a public key"),
        ("--cpus 0", 1, "1 to 64"),
        ("--memory 1T", 2, "not a number"),
        ("--memory 3M", 1, "16 MiB"),
        ("--image kernel=Image@0", 2, "cannot be used with"),
        ("--ram 0+4K", 2, "cannot be used with"),
    ] {
        let option = change.split(' ').next().expect("a word");
        let kept: Vec<_> = LINUX.split(" --").collect();
        let kept = kept
            .iter()
            .filter(|part| format!("--{part}").split(' ').next() != Some(option));
        let line = kept.copied().collect::<Vec<_>>().join(" --");
        let (status, error) = bad(dir, &format!("{line} {change}"));
        assert_eq!(
            (status, error.contains(says)),
            (code, true),
            "{change}: {error}"
        );
    }
    assert!(!dir.join("l.ward").exists());
    assert_eq!(bad(dir, "bundle --key k --out l.ward").0, 2);
    assert_eq!(bad(dir, "bundle --kernel Image --out l.ward").0, 2);
}

#[test]
fn an_older_bundle_stays_when_a_new_one_cannot_be_written() {
    let dir = prepared();
    let dir = dir.path();
    let before = fs::read(dir.join("g.ward")).unwrap();
    fs::create_dir(dir.join("g.ward.part")).unwrap();
    assert_eq!(bad(dir, BUNDLE).0, 3);
    assert_eq!(fs::read(dir.join("g.ward")).unwrap(), before);
}

#[test]
fn manual_pages_and_completion_come_from_the_same_source() {
    let dir = tempfile::tempdir().expect("directory");
    let dir = dir.path();
    good(dir, "man .");
    let page = fs::read_to_string(dir.join("ward-bundle.1")).expect("a page");
    assert!(
        page.contains(".TH") && page.contains("guest.toml"),
        "{page}"
    );
    let page = fs::read_to_string(dir.join("ward.1")).expect("a page");
    assert!(page.contains("could not be read"), "{page}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            good(dir, &format!("completion {shell}")).contains("keygen"),
            "{shell}"
        );
    }
    assert_eq!(bad(dir, "man none").0, 3);
    assert_eq!(bad(dir, "completion tcsh").0, 2);
}
