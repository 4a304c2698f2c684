use super::{Done, read};
use crate::args::Output;
use crate::progress::Progress;
use crate::report::Report;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use vmm_frontend::bundle;
use vmm_frontend::keys::PublicKey;

struct Verify {
    file: PathBuf,
    signer: PublicKey,
    image_version: u64,
}

pub fn run(path: &Path, trust: &[PathBuf], ipa_bits: u32, output: Output) -> Done {
    let trusted: Result<Vec<_>, _> = trust.iter().map(|file| PublicKey::load(file)).collect();
    let trusted = trusted?;
    let mut limits = bundle::LIMITS;
    limits.ipa_bits = ipa_bits;
    let file = read(path, output)?;
    let mut progress = Progress::new("hashing", output);
    let mut tell = |done, total| progress.tell(done, total);
    let manifest = bundle::verify_with(&file, &trusted, &limits, &mut tell)?;
    Ok(Box::new(Verify {
        file: path.into(),
        signer: PublicKey(manifest.key),
        image_version: manifest.image_version,
    }))
}

impl Report for Verify {
    fn text(&self) -> String {
        let (file, version, signer) = (self.file.display(), self.image_version, self.signer);
        format!("{file}: verified, image version {version}, signed by {signer}\n")
    }

    fn json(&self) -> Value {
        json!({
            "file": self.file.display().to_string(),
            "verified": true,
            "signer": self.signer.to_string(),
            "image_version": self.image_version,
        })
    }
}
