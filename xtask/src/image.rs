//! `cargo xtask image`: builds the EL2 image and the payloads, and checks what must hold of them.

mod append;
mod checks;
mod elf;
mod fp;
mod test_image;
mod unpack;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

pub(crate) use append::{Payload, PayloadArgs, check_bootargs};
pub(crate) use checks::load_address;
pub(crate) use elf::Sizes;
pub(crate) use test_image::{build as build_test, build_without};
pub(crate) use unpack::kernel_file;

use crate::run::{cargo, say};
use crate::{paths, payload, run, setup};

/// Build target/ward/ward.bin, the EL2 image, and check it.
#[derive(Args, Default)]
#[command(after_help = "\
Examples:
  cargo xtask image                   build, check, and print the sizes
  cargo xtask image --debug-build     unoptimised, for stepping through; no size limit
  cargo xtask image --test            also ward-test.bin, which a host can crash, and have
                                      check the invariants: for tests alone

  cargo xtask image --payload Image --initrd initrd.gz --append 'console=ttyAMA0'
                                      also ward-with-payload.bin: Ward and its host in one file.
                                      The kernel may be packed (gzip, zstd, EFI zboot)

Writes to target/ward/ (CARGO_TARGET_DIR is honoured):
  ward.elf, ward.bin      the EL2 image with symbols, and as a boot loader takes it
  ward-with-payload.bin   with --payload: the image, the host's kernel, its RAM disk and command
                          line; boots like ward.bin (QEMU: -kernel ward-with-payload.bin)
  testhost.bin, …         what QEMU boots beside it
  owner.key, owner.key.pub  made once; demo and tests sign their guest with it

Checked: the arm64 Image header; that no code outside `ward_fp_*` and `ward_crypto_*` touches
FP or SIMD registers; that every relocation is a relative one; that no segment is both
writable and executable; that code and read-only data stay below the limit.")]
pub(crate) struct ImageArgs {
    /// Build without optimisation
    #[arg(long)]
    pub(crate) debug_build: bool,
    /// Build target/ward/ward-test.bin too
    #[arg(long)]
    pub(crate) test: bool,
    /// File of the public keys that may sign guests, 64 hexadecimal digits a line [default: the
    /// file that the environment's WARD_KEYS names, else target/ward/owner.key.pub]
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// What to append
    #[command(flatten)]
    pub(crate) payload: PayloadArgs,
}

/// The finished files.
pub(crate) struct Images {
    /// The flat EL2 image.
    pub(crate) ward: PathBuf,
    /// The same with symbols.
    pub(crate) elf: PathBuf,
    /// What is loaded beside it.
    pub(crate) payload: payload::Payload,
    /// How large the EL2 image is.
    pub(crate) sizes: Sizes,
    /// Too large an image still boots, so only `image` itself fails for it.
    too_large: Option<String>,
}

impl Images {
    /// Finished images for tests of what is made of them.
    #[cfg(test)]
    pub(crate) fn sample(ward: &str) -> Self {
        Images {
            ward: ward.into(),
            elf: PathBuf::new(),
            payload: payload::Payload::sample(),
            sizes: Sizes::default(),
            too_large: None,
        }
    }

    /// Fails when the EL2 image is above the limit.
    pub(crate) fn check_size(&self) -> Result<()> {
        self.too_large.clone().map_or(Ok(()), |what| {
            bail!("{}: {what}", paths::display(&self.elf))
        })
    }
}

/// Does `cargo xtask image`.
pub(crate) fn run(args: &ImageArgs) -> Result<()> {
    // Before a minute of building: what is wrong with it is found at once.
    let payload = args.payload.read()?;
    setup::ensure(setup::Scope::Build)?;
    let chosen = args
        .keys
        .clone()
        .or_else(|| std::env::var_os("WARD_KEYS").map(Into::into));
    let keys = chosen.map(std::path::absolute).transpose()?;
    keys.as_deref().map(run::named_file).transpose()?;
    let images = build(&ImageArgs {
        keys,
        debug_build: args.debug_build,
        ..ImageArgs::default()
    })?;
    images.check_size()?;
    if args.test {
        println!("image: {} for tests", paths::display(&build_test()?));
    }
    println!(
        "image: {} with symbols in {}",
        paths::display(&images.ward),
        paths::display(&images.elf)
    );
    if let Some(payload) = payload {
        let file = with_payload(&images, &payload)?;
        println!("image: {} with its host", paths::display(&file));
    }
    Ok(())
}

/// Makes ward-with-payload.bin.
pub(crate) fn with_payload(images: &Images, payload: &Payload) -> Result<PathBuf> {
    let ward = &images.ward;
    let image = fs::read(ward).with_context(|| format!("cannot read {}", ward.display()))?;
    let file = paths::ward_dir()?.join("ward-with-payload.bin");
    fs::write(&file, payload.behind(&image)?)
        .with_context(|| format!("cannot write {}: is the disk full?", file.display()))?;
    Ok(file)
}

/// Builds and checks everything that QEMU boots.
pub(crate) fn build(args: &ImageArgs) -> Result<Images> {
    let dir = paths::ward_dir()?;
    say("building the EL2 image");
    let keys = args.keys.clone().map_or_else(payload::public_key, Ok)?;
    let built = cargo_build("firmware", args.debug_build, Some(&keys))?.join("firmware");
    let (elf, ward) = (dir.join("ward.elf"), dir.join("ward.bin"));
    copy(&built, &elf)?;
    let sizes = check(&elf, &ward)?;
    println!("image: {sizes}");
    let too_large = sizes.over_limit().filter(|_| !args.debug_build);
    if let Some(what) = &too_large {
        eprintln!("warning: {what}");
    }
    let payload = payload::build(args)?;
    Ok(Images {
        ward,
        elf,
        payload,
        sizes,
        too_large,
    })
}

/// Builds one bare-metal package, the firmware with the keys it is to trust; returns the
/// directory of its programs.
pub(crate) fn cargo_build(package: &str, debug: bool, keys: Option<&Path>) -> Result<PathBuf> {
    let mut command = cargo(&["build", "--target", paths::BARE_TARGET, "-p", package]);
    if !debug {
        command.arg("--release");
    }
    if let Some(keys) = keys {
        command.env("WARD_KEYS", keys);
    }
    run::status(&mut command)?;
    Ok(paths::target_dir()
        .join(paths::BARE_TARGET)
        .join(if debug { "debug" } else { "release" }))
}

/// Writes the flat form of the program `elf` to `flat`.
pub(crate) fn flatten(elf: &Path, flat: &Path) -> Result<()> {
    let bytes = elf::Image::read(elf)?.flat()?;
    fs::write(flat, bytes)
        .with_context(|| format!("cannot write {}: is the disk full?", flat.display()))
}

/// Flattens and checks the EL2 image; every finding is reported, not only the first.
fn check(elf: &Path, flat: &Path) -> Result<Sizes> {
    flatten(elf, flat)?;
    say("checking the EL2 image: header, segments, relocations, FP/SIMD use, size");
    let image = elf::Image::read(elf)?;
    let mut wrong = checks::all(&image)?;
    wrong.extend(fp::check(elf)?);
    if !wrong.is_empty() {
        bail!(
            "{} is not fit to boot:\n  * {}",
            paths::display(elf),
            wrong.join("\n  * ")
        );
    }
    Ok(image.sizes)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
