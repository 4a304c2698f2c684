//! The image for Ward's own tests: a host can crash it, and have it check its invariants.

use std::path::PathBuf;

use anyhow::Result;

use super::{copy, flatten};
use crate::run::{cargo, say};
use crate::{paths, payload, run};

/// Builds target/ward/ward-test.bin. Its size is not limited: it holds what no product does.
pub(crate) fn build() -> Result<PathBuf> {
    say("building the EL2 image for tests");
    let dir = paths::ward_dir()?;
    let mut command = cargo(&["build", "--target", paths::BARE_TARGET, "-p", "firmware"]);
    command.args(["--release", "--features", "inspect"]);
    // Of its own: each of the two images would else be linked anew after the other.
    let target = paths::target_dir().join("test-image");
    command.env("CARGO_TARGET_DIR", &target);
    command.env("WARD_KEYS", payload::public_key()?);
    command.env("WARD_TEST", "1");
    run::status(&mut command)?;
    let built = target.join(paths::BARE_TARGET).join("release/firmware");
    let (elf, flat) = (dir.join("ward-test.elf"), dir.join("ward-test.bin"));
    copy(&built, &elf)?;
    flatten(&elf, &flat)?;
    Ok(flat)
}
