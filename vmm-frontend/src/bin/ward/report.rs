//! Results and errors on the terminal, for people and for programs.

use crate::args::Output;
use crate::values::kind_name;
use hyp_core::abi::manifest::{Digest, Image, Manifest, Region, RegionKind};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use vmm_frontend::Error;
use vmm_frontend::keys::PublicKey;

pub enum Report {
    Keygen {
        secret_file: PathBuf,
        public_file: PathBuf,
        public: PublicKey,
    },
    Bundle {
        file: PathBuf,
        bytes: u64,
        signer: PublicKey,
    },
    Inspect {
        file: PathBuf,
        manifest: Box<Manifest>,
        problem: Option<String>,
    },
    Verify {
        file: PathBuf,
        signer: PublicKey,
        image_version: u64,
    },
}

/// Prints a result.
pub fn print(report: &Report, output: Output) -> ExitCode {
    let text = match output {
        Output::Text => report.text(),
        Output::Json => format!("{:#}\n", report.json()),
    };
    // A reader that went away (`ward inspect x | head -1`) has what it wanted.
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::from(3),
        _ => ExitCode::SUCCESS,
    }
}

/// Prints an error and gives its exit code.
pub fn complain(error: &Error, output: Output) -> ExitCode {
    let text = match output {
        Output::Text => format!("error: {error}\n help: {}\n", error.remedy()),
        Output::Json => {
            let object = json!({ "error": error.to_string(), "help": error.remedy() });
            format!("{object:#}\n")
        }
    };
    // Nobody to tell that telling failed.
    let _ = std::io::stderr().write_all(text.as_bytes());
    match error {
        Error::File { .. } => ExitCode::from(3),
        _ => ExitCode::from(1),
    }
}

impl Report {
    fn text(&self) -> String {
        match self {
            Report::Keygen {
                secret_file,
                public_file,
                public,
            } => format!(
                "secret key: {}\npublic key: {}\n            {public}\n\
                 Keep the secret key to yourself, with a copy in a safe place: it signs your guests, and a\n\
                 lost key cannot be made again. Give the public key to whoever builds the Ward image: guests\n\
                 signed by it will start there.\n",
                secret_file.display(),
                public_file.display(),
            ),
            Report::Bundle {
                file,
                bytes,
                signer,
            } => {
                format!(
                    "wrote {} ({bytes} bytes), signed by {signer}\n",
                    file.display()
                )
            }
            Report::Verify {
                file,
                signer,
                image_version,
            } => format!(
                "{}: verified, image version {image_version}, signed by {signer}\n",
                file.display()
            ),
            Report::Inspect {
                file,
                manifest,
                problem,
            } => inspect_text(&file.display().to_string(), manifest, problem.as_deref()),
        }
    }

    fn json(&self) -> Value {
        match self {
            Report::Keygen {
                secret_file,
                public_file,
                public,
            } => json!({
                "secret_file": secret_file.display().to_string(),
                "public_file": public_file.display().to_string(),
                "public_key": public.to_string(),
            }),
            Report::Bundle {
                file,
                bytes,
                signer,
            } => json!({
                "file": file.display().to_string(),
                "bytes": bytes,
                "signer": signer.to_string(),
            }),
            Report::Verify {
                file,
                signer,
                image_version,
            } => json!({
                "file": file.display().to_string(),
                "verified": true,
                "signer": signer.to_string(),
                "image_version": image_version,
            }),
            Report::Inspect {
                file,
                manifest,
                problem,
            } => json!({
                "file": file.display().to_string(),
                "intact": problem.is_none(),
                "problem": problem,
                "signer": PublicKey(manifest.key).to_string(),
                "image_version": manifest.image_version,
                "vcpus": manifest.vcpus,
                "entry": address(manifest.entry),
                "boot_arg": address(manifest.boot_arg),
                "regions": manifest.regions().iter().map(region_json).collect::<Vec<_>>(),
                "images": manifest.images().iter().map(image_json).collect::<Vec<_>>(),
            }),
        }
    }
}

/// JSON's numbers lose digits past 2^53; addresses are strings.
fn address(value: u64) -> String {
    format!("{value:#x}")
}

fn region_json(region: &Region) -> Value {
    json!({ "kind": region_name(region), "ipa": address(region.ipa), "size": region.size })
}

fn image_json(image: &Image) -> Value {
    let (algorithm, digest) = digest(image);
    json!({
        "kind": kind_name(image.kind),
        "ipa": address(image.ipa),
        "size": image.size,
        "algorithm": algorithm,
        "digest": digest,
    })
}

fn region_name(region: &Region) -> &'static str {
    match region.kind {
        RegionKind::Ram => "ram",
        RegionKind::Mmio => "mmio",
    }
}

fn digest(image: &Image) -> (&'static str, String) {
    let (name, bytes) = match &image.digest {
        Digest::Sha256(bytes) => ("sha256", &bytes[..]),
        Digest::Sha512(bytes) => ("sha512", &bytes[..]),
    };
    (
        name,
        bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    )
}

fn inspect_text(file: &str, manifest: &Manifest, problem: Option<&str>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{file}");
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<14}{value}");
    };
    line(
        "state",
        match problem {
            None => "intact (says nothing about trust: see `ward verify`)".into(),
            Some(problem) => format!("BROKEN: {problem}"),
        },
    );
    line("signer", PublicKey(manifest.key).to_string());
    line("image version", manifest.image_version.to_string());
    line("vcpus", manifest.vcpus.to_string());
    line("entry", address(manifest.entry));
    line("boot argument", address(manifest.boot_arg));
    for region in manifest.regions() {
        let name = region_name(region);
        line(name, format!("{:#012x}  {} bytes", region.ipa, region.size));
    }
    for image in manifest.images() {
        let (algorithm, digest) = digest(image);
        let place = format!("{:#012x}  {} bytes", image.ipa, image.size);
        line(kind_name(image.kind), place);
        line("", format!("{algorithm} {digest}"));
    }
    text
}
