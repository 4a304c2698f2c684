//! What each command does.

use crate::args::{BundleArgs, Command, DigestArg};
use crate::report::Report;
use std::fs;
use std::path::Path;
use vmm_frontend::Error;
use vmm_frontend::bundle::{self, Algorithm, ImageSpec, Spec};
use vmm_frontend::keys::{PublicKey, SecretKey};

pub fn run(command: &Command) -> Result<Report, Error> {
    match command {
        Command::Keygen { out } => keygen(out),
        Command::Bundle(args) => make(args),
        Command::Inspect { bundle } => inspect(bundle),
        Command::Verify {
            bundle,
            trust,
            ipa_bits,
        } => verify(bundle, trust, *ipa_bits),
    }
}

fn keygen(out: &Path) -> Result<Report, Error> {
    let key = SecretKey::generate()?;
    let public_file = key.save(out)?;
    Ok(Report::Keygen {
        secret_file: out.into(),
        public_file,
        public: key.public(),
    })
}

fn make(args: &BundleArgs) -> Result<Report, Error> {
    let key = SecretKey::load(&args.key)?;
    let mut spec = Spec::new(args.vcpus);
    (spec.entry, spec.boot_arg) = (args.entry, args.boot_arg);
    spec.image_version = args.image_version;
    spec.limits.ipa_bits = args.ipa_bits;
    spec.ram = args.ram.iter().map(|r| (r.0, r.1)).collect();
    spec.mmio = args.mmio.iter().map(|r| (r.0, r.1)).collect();
    for arg in &args.images {
        let mut image = ImageSpec::new(arg.kind, arg.ipa, read(&arg.file)?);
        image.algorithm = match args.digest {
            DigestArg::Sha256 => Algorithm::Sha256,
            DigestArg::Sha512 => Algorithm::Sha512,
        };
        spec.images.push(image);
    }
    let file = bundle::build(&spec, &key)?;
    let failed = |source| Error::File {
        doing: "write",
        path: args.out.clone(),
        source,
    };
    fs::write(&args.out, &file).map_err(failed)?;
    Ok(Report::Bundle {
        file: args.out.clone(),
        bytes: file.len() as u64,
        signer: key.public(),
    })
}

fn inspect(path: &Path) -> Result<Report, Error> {
    let file = read(path)?;
    let manifest = bundle::read_manifest(&file)?;
    // Trusting the key it names leaves the question whether it is whole.
    let verdict = bundle::verify(&file, &[PublicKey(manifest.key)], &bundle::WIDEST);
    Ok(Report::Inspect {
        file: path.into(),
        manifest: Box::new(manifest),
        problem: verdict.err().map(|error| error.to_string()),
    })
}

fn verify(path: &Path, trust: &[std::path::PathBuf], ipa_bits: u32) -> Result<Report, Error> {
    let trusted: Result<Vec<_>, _> = trust.iter().map(|file| PublicKey::load(file)).collect();
    let trusted = trusted?;
    let mut limits = bundle::LIMITS;
    limits.ipa_bits = ipa_bits;
    let manifest = bundle::verify(&read(path)?, &trusted, &limits)?;
    Ok(Report::Verify {
        file: path.into(),
        signer: PublicKey(manifest.key),
        image_version: manifest.image_version,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::File {
        doing: "read",
        path: path.into(),
        source,
    })
}
