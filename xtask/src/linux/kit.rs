//! What the cache keeps of a build: the image, its configuration, and of 2 GB of source and objects
//! the 80 MB that building a module needs.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::{self, say};

/// Of the source.
const SOURCE: &[&str] = &[
    "Makefile",
    "Kbuild",
    "scripts",
    "include",
    "arch/arm64/Makefile",
    "arch/arm64/include",
];
/// Of the objects; laid over the source, as in a kernel that was built in place.
const OBJECTS: &[&str] = &[
    ".config",
    "Module.symvers",
    "System.map",
    "include",
    "scripts",
    "arch/arm64/include",
];

/// Puts a finished build into the cache: `to` appears whole or not at all.
pub(super) fn publish(source: &Path, objects: &Path, to: &Path) -> Result<()> {
    say(&format!("keeping the kernel in {}", to.display()));
    let part = to.with_extension("part");
    for old in [&part, to] {
        // Left by an interruption, or by the last build of a source directory.
        let _ = fs::remove_dir_all(old);
    }
    let tree = part.join("tree");
    fs::create_dir_all(&tree).with_context(|| format!("cannot make {}", tree.display()))?;
    for (from, names) in [(source, SOURCE), (objects, OBJECTS)] {
        let mut copy = Command::new("cp");
        copy.current_dir(from)
            .args(["-a", "--parents", "--no-preserve=ownership"]);
        run::status(copy.args(names).arg(&tree))?;
    }
    for (from, name) in [("arch/arm64/boot/Image", "Image"), (".config", "config")] {
        let (from, to) = (objects.join(from), part.join(name));
        fs::copy(&from, &to)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    }
    fs::rename(&part, to).with_context(|| format!("cannot make {}", to.display()))
}
