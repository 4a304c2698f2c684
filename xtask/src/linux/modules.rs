//! Kernel modules of the tests, built against the small kernel.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{Kernel, build};
use crate::paths;
use crate::run::{self, say};

/// Builds `tests/linux/modules/NAME` and returns `NAME.ko`. Its sources are copied first, so that
/// the tree stays clean; what has not changed is not compiled again.
pub(crate) fn build(kernel: &Kernel, name: &str) -> Result<PathBuf> {
    let source = paths::root().join("tests/linux/modules").join(name);
    if !source.join("Kbuild").is_file() {
        bail!("{} is no module: it has no Kbuild", source.display());
    }
    say(&format!("building the kernel module {name}"));
    let dir = paths::ward_dir()?.join("linux/modules").join(name);
    // Objects of another kernel would not be looked at, but their names would be.
    let key = dir.join("kernel");
    let tree = kernel.tree.to_string_lossy().into_owned();
    if fs::read_to_string(&key).is_ok_and(|built_for| built_for != tree) {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    fs::write(&key, &tree).with_context(|| format!("cannot write {}", key.display()))?;
    for entry in fs::read_dir(&source)
        .with_context(|| format!("cannot read {}", source.display()))?
        .flatten()
    {
        copy_if_changed(&entry.path(), &dir.join(entry.file_name()))?;
    }
    let mut make = build::make(&kernel.tree, &kernel.tree);
    make.arg("-s").arg(format!("M={}", dir.display()));
    make.arg(format!(
        "WARD_INCLUDE={}",
        paths::root().join("linux/include").display()
    ));
    run::output(make.arg("modules"))?;
    let module = dir.join(name).with_extension("ko");
    if !module.is_file() {
        bail!("{} makes no {name}.ko", source.join("Kbuild").display());
    }
    Ok(module)
}

/// Keeps the time stamp of what did not change, by which make judges.
fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))
}
