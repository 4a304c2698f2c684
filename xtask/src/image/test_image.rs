//! The images for Ward's own tests: a host can crash them, and have them check their invariants.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::{checks, copy, flatten};
use crate::run::{cargo, say};
use crate::{paths, payload, run};

/// Builds target/ward/ward-test.bin. Its size is not limited: it holds what no product does.
pub(crate) fn build() -> Result<PathBuf> {
    say("building the EL2 image for tests");
    make("test", None)
}

/// Builds target/ward/ward-without.bin, which lacks this protection of `hyp-core/src/without.rs`.
pub(crate) fn build_without(protection: &str) -> Result<PathBuf> {
    say(&format!(
        "building an EL2 image without the protection {protection}"
    ));
    let flat = make("without", Some(protection))?;
    let bytes = fs::read(&flat).with_context(|| format!("cannot read {}", flat.display()))?;
    if !checks::lacks_protection(&bytes) {
        bail!("{} does not say that it lacks one", paths::display(&flat));
    }
    Ok(flat)
}

fn make(name: &str, without: Option<&str>) -> Result<PathBuf> {
    let dir = paths::ward_dir()?;
    let mut command = cargo(&["build", "--target", paths::BARE_TARGET, "-p", "firmware"]);
    command.args(["--release", "--features", "inspect"]);
    if let Some(protection) = without {
        // Added to those of .cargo/config.toml; RUSTFLAGS would replace them.
        command.arg("--config").arg(format!(
            "target.{}.rustflags=['--cfg', 'ward_without=\"{protection}\"']",
            paths::BARE_TARGET
        ));
    }
    // Of its own: each of the images would else be linked anew after the other.
    let target = paths::target_dir().join(format!("{name}-image"));
    command.env("CARGO_TARGET_DIR", &target);
    command.env("WARD_KEYS", payload::public_key()?);
    command.env("WARD_TEST", "1");
    run::status(&mut command)?;
    let built = target.join(paths::BARE_TARGET).join("release/firmware");
    let file = |kind: &str| dir.join(format!("ward-{name}.{kind}"));
    let (elf, flat) = (file("elf"), file("bin"));
    copy(&built, &elf)?;
    flatten(&elf, &flat)?;
    Ok(flat)
}
