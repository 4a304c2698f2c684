use super::{Done, PIECE, failed, read};
use crate::args::{BundleArgs, DigestArg, Output};
use crate::progress::Progress;
use crate::report::Report;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use vmm_frontend::Error;
use vmm_frontend::bundle::{self, Algorithm, ImageSpec, Spec};
use vmm_frontend::keys::{PublicKey, SecretKey};
use vmm_frontend::size::Size;

mod linux;
mod options;

use linux::Linux;
use options::Options;

struct Bundle {
    file: PathBuf,
    bytes: u64,
    signer: PublicKey,
    /// What was found in the kernel, and where everything is; not of guests laid out by hand.
    linux: Option<Linux>,
}

pub fn run(args: &BundleArgs, output: Output) -> Done {
    let options = Options::new(args)?;
    let key = SecretKey::load(&options.key)?;
    let (mut spec, linux) = if args.images.is_empty() {
        let (spec, linux) = linux::prepare(&options, output)?;
        (spec, Some(linux))
    } else {
        (by_hand(args, output)?, None)
    };
    spec.image_version = options.image_version;
    spec.limits.ipa_bits = args.ipa_bits;
    for image in &mut spec.images {
        image.algorithm = match args.digest {
            DigestArg::Sha256 => Algorithm::Sha256,
            DigestArg::Sha512 => Algorithm::Sha512,
        };
    }
    let mut progress = Progress::new("hashing", output);
    let file = bundle::build_with(&spec, &key, &mut |done, total| progress.tell(done, total))?;
    drop(progress);
    write(&options.out, &file, output)?;
    Ok(Box::new(Bundle {
        file: options.out,
        bytes: file.len() as u64,
        signer: key.public(),
        linux,
    }))
}

fn by_hand(args: &BundleArgs, output: Output) -> Result<Spec, Error> {
    let mut spec = Spec::new(args.cpus.unwrap_or(1));
    (spec.entry, spec.boot_arg) = (args.entry, args.boot_arg);
    spec.ram = args.ram.iter().map(|r| (r.0, r.1)).collect();
    spec.mmio = args.mmio.iter().map(|r| (r.0, r.1)).collect();
    for arg in &args.images {
        spec.images
            .push(ImageSpec::new(arg.kind, arg.ipa, read(&arg.file, output)?));
    }
    Ok(spec)
}

/// Writes a file whole or not at all: an older bundle stays when the disk is full.
fn write(path: &Path, bytes: &[u8], output: Output) -> Result<(), Error> {
    if fs::metadata(path).is_ok_and(|old| !old.is_file()) {
        // A pipe or a device: nothing to keep.
        return fs::write(path, bytes).map_err(failed("write", path));
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let written = pieces(&part, bytes, output).and_then(|()| fs::rename(&part, path));
    written.map_err(|source| {
        // Ours, and useless.
        let _ = fs::remove_file(&part);
        failed("write", path)(source)
    })
}

/// Writes a file by pieces, with a bar when that takes long.
fn pieces(path: &Path, bytes: &[u8], output: Output) -> io::Result<()> {
    let mut progress = Progress::new("writing", output);
    let mut file = File::create(path)?;
    for (number, piece) in bytes.chunks(PIECE as usize).enumerate() {
        file.write_all(piece)?;
        progress.tell(number as u64 * PIECE, bytes.len() as u64);
    }
    Ok(())
}

impl Report for Bundle {
    fn text(&self) -> String {
        let about = self.linux.as_ref().map(Linux::text).unwrap_or_default();
        let (file, size, bytes) = (self.file.display(), Size(self.bytes), self.bytes);
        format!(
            "{about}wrote {file} ({size}, {bytes} bytes), signed by {}\n",
            self.signer
        )
    }

    fn json(&self) -> Value {
        let mut object = json!({
            "file": self.file.display().to_string(),
            "bytes": self.bytes,
            "signer": self.signer.to_string(),
        });
        if let Some(linux) = &self.linux {
            object["guest"] = linux.json();
        }
        object
    }

    fn warnings(&self) -> Vec<String> {
        self.linux
            .as_ref()
            .and_then(Linux::warning)
            .into_iter()
            .collect()
    }
}
