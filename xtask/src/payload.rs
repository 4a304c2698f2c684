//! What is loaded beside the EL2 image: the test host, and the guest that it starts.
//!
//! The guest comes in two forms. As a signed bundle, made by `ward bundle` with a key made by
//! `ward keygen`, as an owner does it: the demo. Or as its bare program with the signing key in
//! the boot arguments, so that the test host can also sign what is wrong: the tests.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::image::{ImageArgs, cargo_build, flatten};
use crate::paths;
use crate::run::{self, cargo, say};

/// Where the test host is loaded. It lies within the smallest machine (512 MiB of RAM from
/// 0x4000_0000), above the EL2 image (at 0x4020_0000) and QEMU's device tree (at 0x4800_0000).
const HOST_ADDRESS: u64 = 0x5000_0000;
/// Where the guest is loaded, in either form.
const GUEST_ADDRESS: u64 = 0x5400_0000;
/// How a secret key file begins (vmm-frontend's `keys::SECRET_PREFIX`).
const SECRET_PREFIX: &str = "ward-secret-key-ed25519:";

/// One file that QEMU's `guest-loader` puts into memory and names under `/chosen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    /// Load address.
    pub(crate) address: u64,
    /// The file.
    pub(crate) file: PathBuf,
    /// How the device tree describes it.
    pub(crate) kind: Kind,
}

/// How the device tree describes a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `multiboot,kernel`: the host, which also gets the boot arguments.
    Kernel,
    /// `multiboot,ramdisk`: data for the host, such as a signed guest bundle.
    Data,
}

/// In which form the test host gets its guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guest {
    /// As a bundle that its owner signed.
    Bundle,
    /// As a program, and the owner's key with it.
    WithKey,
}

/// The payloads of all runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payload {
    host: PathBuf,
    bundle: PathBuf,
    program: PathBuf,
    seed: String,
}

impl Payload {
    /// What to load where.
    pub(crate) fn modules(&self, guest: Guest) -> [Module; 2] {
        let file = match guest {
            Guest::Bundle => &self.bundle,
            Guest::WithKey => &self.program,
        };
        let module = |address, file: &Path, kind| Module {
            address,
            file: file.into(),
            kind,
        };
        [
            module(HOST_ADDRESS, &self.host, Kind::Kernel),
            module(GUEST_ADDRESS, file, Kind::Data),
        ]
    }

    /// The signed guest.
    pub(crate) fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// The boot arguments that tell the test host what to do, and how to sign.
    pub(crate) fn bootargs(&self, what: &str, guest: Guest) -> String {
        match guest {
            Guest::Bundle => what.to_owned(),
            Guest::WithKey => format!("{what} signing-key={}", self.seed),
        }
    }

    /// Payloads for tests of what is made of them.
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Payload {
            host: "/a,b/host".into(),
            bundle: "/bundle".into(),
            program: "/program".into(),
            seed: "00ff".to_owned(),
        }
    }
}

/// The owner's key pair of this workspace, made when it is missing. Test guests are signed with
/// it, and the test image trusts it and no other.
pub(crate) fn owner_key() -> Result<PathBuf> {
    let key = paths::ward_dir()?.join("owner.key");
    if !key.exists() {
        say("making a key pair to sign test guests with");
        ward(&["keygen", "--out", &key.to_string_lossy()])?;
    }
    Ok(key)
}

/// The public half's file.
pub(crate) fn public_key() -> Result<PathBuf> {
    let mut name = owner_key()?.into_os_string();
    name.push(".pub");
    Ok(name.into())
}

/// Builds the payloads, flattens them to target/ward/, and signs the guest.
pub(crate) fn build(args: &ImageArgs) -> Result<Payload> {
    say("building the EL1 test host and test guest");
    let programs = cargo_build("ward-payload", args.debug_build, None)?;
    let dir = paths::ward_dir()?;
    let file = |name: &str| dir.join(name);
    for name in ["testhost", "testguest"] {
        flatten(&programs.join(name), &file(name).with_extension("bin"))?;
    }
    let key = owner_key()?;
    let payload = Payload {
        host: file("testhost.bin"),
        bundle: file("testguest.bundle"),
        program: file("testguest.bin"),
        seed: seed(&key)?,
    };
    bundle(&payload, &key, &file("testguest.data"))?;
    Ok(payload)
}

/// Signs the test guest. Its address space is what `tests/payload/src/protocol.rs` says.
fn bundle(payload: &Payload, key: &Path, data: &Path) -> Result<()> {
    let bytes: Vec<u8> = (0..5000_u64).map(data_byte).collect();
    fs::write(data, bytes).with_context(|| format!("cannot write {}", data.display()))?;
    let program = format!("kernel={}@0x40000000", payload.program.display());
    let data = format!("other={}@0x40400000", data.display());
    ward(&[
        "bundle",
        "--image",
        &program,
        "--image",
        &data,
        "--ram",
        "0x40000000+64M",
        "--mmio",
        "0x09000000+0x2000",
        // Where a KVM emulates the guest's interrupt controller; the test host has none there.
        "--mmio",
        "0x08000000+0x10000",
        "--mmio",
        "0x080a0000+0x40000",
        "--vcpus",
        "2",
        "--boot-arg",
        "0x40400000",
        "--image-version",
        "1",
        "--key",
        &key.to_string_lossy(),
        "--out",
        &payload.bundle.to_string_lossy(),
    ])
}

/// `protocol::data_byte` of the payloads: the guest checks it.
fn data_byte(index: u64) -> u8 {
    (index * 7 + index / 256 + 3) as u8
}

/// Runs the program `ward` of vmm-frontend on this machine.
pub(crate) fn ward(args: &[&str]) -> Result<()> {
    let mut command = cargo(&[
        "run",
        "--quiet",
        "-p",
        "vmm-frontend",
        "--bin",
        "ward",
        "--",
    ]);
    run::output(command.args(args)).map(drop)
}

fn seed(key: &Path) -> Result<String> {
    let text = fs::read_to_string(key).with_context(|| format!("cannot read {}", key.display()))?;
    let Some(seed) = text.trim().strip_prefix(SECRET_PREFIX) else {
        bail!(
            "{} is not a secret key file; delete it and its .pub, and new ones are made",
            paths::display(key)
        );
    };
    Ok(seed.to_owned())
}
