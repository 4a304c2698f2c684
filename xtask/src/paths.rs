//! Where things lie: the workspace, cargo's output and the built images.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The bare-metal target of the EL2 image and of the EL1 payloads.
pub(crate) const BARE_TARGET: &str = "aarch64-unknown-none-softfloat";

/// The workspace's top directory.
pub(crate) fn root() -> PathBuf {
    let here =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let here = PathBuf::from(here);
    here.parent()
        .map_or_else(|| here.clone(), Path::to_path_buf)
}

/// Cargo's output directory. Child builds are given it by name, so that this function and cargo
/// cannot disagree.
pub(crate) fn target_dir() -> PathBuf {
    let chosen = env::var_os("CARGO_TARGET_DIR").or_else(|| env::var_os("CARGO_BUILD_TARGET_DIR"));
    root().join(chosen.unwrap_or_else(|| "target".into()))
}

/// The directory of the finished images, made when it is missing.
pub(crate) fn ward_dir() -> Result<PathBuf> {
    let dir = target_dir().join("ward");
    make_dir(&dir)?;
    Ok(dir)
}

/// The directory of console logs, made when it is missing.
pub(crate) fn log_dir() -> Result<PathBuf> {
    let dir = ward_dir()?.join("logs");
    make_dir(&dir)?;
    Ok(dir)
}

/// `path` as a reader of the terminal wants it: relative to the workspace where it lies inside.
pub(crate) fn display(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

fn make_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| {
        format!(
            "cannot make the directory {}: is the disk full or read-only?",
            dir.display()
        )
    })
}
