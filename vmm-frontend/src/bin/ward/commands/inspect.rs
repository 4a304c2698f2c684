use super::{Done, read};
use crate::args::Output;
use crate::progress::Progress;
use crate::report::Report;
use crate::values::kind_name;
use hyp_core::abi::manifest::{Digest, Image, ImageKind, Manifest, Region, RegionKind};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use vmm_frontend::bundle;
use vmm_frontend::fdt::{self, Summary};
use vmm_frontend::kernel::{self, Facts};
use vmm_frontend::keys::PublicKey;
use vmm_frontend::size::Size;
use vmm_frontend::{Error, layout};

struct Inspect {
    file: PathBuf,
    bytes: u64,
    manifest: Manifest,
    problem: Option<String>,
    kernel: Option<Facts>,
    tree: Option<Summary>,
}

/// The source of a device tree.
struct Source(String);

pub fn run(path: &Path, tree: bool, output: Output) -> Done {
    let file = read(path, output)?;
    let manifest = bundle::read_manifest(&file)?;
    let image = |kind| {
        let index = manifest.images().iter().position(|i| i.kind == kind)?;
        bundle::image(&file, index)
    };
    let blob = image(ImageKind::DeviceTree);
    if tree {
        let source = blob.and_then(fdt::source).ok_or_else(|| Error::Input {
            file: path.into(),
            what: "has no device tree, or one that cannot be read".into(),
            remedy: "`ward inspect` without --tree shows what is there".into(),
        })?;
        return Ok(Box::new(Source(source)));
    }
    let mut progress = Progress::new("hashing", output);
    let mut tell = |done, total| progress.tell(done, total);
    // Trusting the key it names leaves the question whether it is whole.
    let signer = [PublicKey(manifest.key)];
    let verdict = bundle::verify_with(&file, &signer, &bundle::WIDEST, &mut tell);
    Ok(Box::new(Inspect {
        file: path.into(),
        bytes: file.len() as u64,
        problem: verdict.err().map(|error| error.to_string()),
        kernel: image(ImageKind::Kernel).and_then(kernel::recognise),
        tree: blob.and_then(fdt::summarise),
        manifest,
    }))
}

impl Report for Source {
    fn text(&self) -> String {
        self.0.clone()
    }

    fn json(&self) -> Value {
        json!({ "source": self.0 })
    }
}

impl Report for Inspect {
    fn text(&self) -> String {
        let manifest = &self.manifest;
        let mut text = format!("{} ({})\n", self.file.display(), Size(self.bytes));
        let mut line = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {name:<14}{value}");
        };
        line(
            "state",
            match &self.problem {
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
            line(region_name(region), place(region.ipa, region.size));
        }
        for image in manifest.images() {
            let (algorithm, digest) = digest(image);
            line(kind_name(image.kind), place(image.ipa, image.size));
            line("", format!("{algorithm} {digest}"));
        }
        self.contents(&mut text);
        text
    }

    fn json(&self) -> Value {
        let manifest = &self.manifest;
        json!({
            "file": self.file.display().to_string(),
            "bytes": self.bytes,
            "intact": self.problem.is_none(),
            "problem": self.problem,
            "signer": PublicKey(manifest.key).to_string(),
            "image_version": manifest.image_version,
            "vcpus": manifest.vcpus,
            "entry": address(manifest.entry),
            "boot_arg": address(manifest.boot_arg),
            "regions": manifest.regions().iter().map(region_json).collect::<Vec<_>>(),
            "images": manifest.images().iter().map(image_json).collect::<Vec<_>>(),
            "kernel": self.kernel.as_ref().map(|kernel| json!({
                "release": kernel.release,
                "memory": kernel.shape.image_size,
                "virtio_when_protected": kernel.sharing.works(),
            })),
            "device_tree": self.tree.as_ref().map(tree_json),
        })
    }

    fn warnings(&self) -> Vec<String> {
        let sharing = self
            .kernel
            .as_ref()
            .and_then(|kernel| kernel.sharing.warning());
        sharing.into_iter().chain(self.overlap()).collect()
    }
}

impl Inspect {
    /// What the kernel and the tree say of themselves.
    fn contents(&self, text: &mut String) {
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<14}{value}");
        };
        if let Some(kernel) = &self.kernel {
            let release = kernel.release.as_deref().unwrap_or("of an unknown release");
            let memory = Size(kernel.shape.image_size);
            line(
                "kernel",
                format!("Linux {release}, takes {memory} when it runs"),
            );
        }
        let Some(tree) = &self.tree else { return };
        let command_line = tree.command_line.as_deref().unwrap_or_default();
        line(
            "tree",
            format!("{} CPUs, command line {command_line:?}", tree.cpus),
        );
        for &(start, size) in &tree.memory {
            line("", format!("memory {}", place(start, size)));
        }
        if let Some((start, size)) = tree.pool {
            line("", format!("shared pool {}", place(start, size)));
        }
        let devices = tree.devices.iter();
        let names = devices.map(|(kind, number)| match number {
            1 => kind.clone(),
            _ => format!("{kind} ({number})"),
        });
        line(
            "",
            format!("devices {}", names.collect::<Vec<_>>().join(", ")),
        );
    }

    /// A guest laid out by hand may have an image where its kernel clears memory.
    fn overlap(&self) -> Option<String> {
        let kernel = self.kernel.as_ref()?;
        let images = self.manifest.images();
        let at = images
            .iter()
            .find(|image| image.kind == ImageKind::Kernel)?;
        let taken = layout::Span::new(at.ipa, kernel.shape.image_size);
        let end = taken.start.checked_add(taken.size)?;
        let hit = images
            .iter()
            .find(|image| image.ipa > at.ipa && image.ipa < end)?;
        Some(format!(
            "the kernel takes memory up to {end:#x} when it runs, and would overwrite the {} at {:#x}",
            kind_name(hit.kind),
            hit.ipa
        ))
    }
}

fn place(start: u64, size: u64) -> String {
    format!("{start:#012x}  {} ({size} bytes)", Size(size))
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

fn tree_json(tree: &Summary) -> Value {
    let span = |(start, size): (u64, u64)| json!({ "ipa": address(start), "size": size });
    let devices = tree.devices.iter();
    json!({
        "command_line": tree.command_line,
        "cpus": tree.cpus,
        "memory": tree.memory.iter().copied().map(span).collect::<Vec<_>>(),
        "pool": tree.pool.map(span),
        "devices": devices.map(|(kind, number)| json!({ "kind": kind, "number": number })).collect::<Vec<_>>(),
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
