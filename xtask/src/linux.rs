//! `cargo xtask linux`: the small host kernel, built from Debian's kernel source and cached.
//!
//! What a build depends on goes into its key ([`build`]); the same key is never built twice. The
//! parts are [`source`] (where the source comes from), [`build`] (configuration, make), [`kit`]
//! (what is kept so that modules can be built), [`modules`] (building them) and [`stock`] (Debian's
//! own kernel, downloaded and not built).

pub(crate) mod apt;
mod build;
pub(crate) mod cache;
mod kit;
pub(crate) mod modules;
mod source;
pub(crate) mod stock;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::{paths, setup};

pub(crate) use build::cross_compile;

/// Build target/ward/linux/Image, the small host kernel.
#[derive(Args, Default)]
#[command(after_help = "\
Examples:
  cargo xtask linux                          from Debian's package, about 10 minutes the first time
  cargo xtask linux --source linux-7.3.tar.xz
  cargo xtask linux --source ~/linux         a source directory: built outside it, and only
                                             what changed is compiled again
  cargo xtask linux --path                   print where the kernel and its build tree are

The source is looked for in this order: --source, the environment's WARD_LINUX_SOURCE, the
cache, a tarball beside the checkout (../linux-source-7.3.tar.xz or
../shared/linux/linux-source-7.3.tar.xz), Debian's package linux-source-7.3 from the mirror that
apt uses here. Its SHA-256 is pinned, except for what you name yourself. The configuration is
linux/config/host.config, applied to `make allnoconfig`; patches of linux/patches are applied in
the order of their names.

Builds are cached in ~/.cache/ward (XDG_CACHE_HOME is honoured) by source, configuration,
patches and compiler. WARD_CROSS_COMPILE names another compiler prefix than aarch64-linux-gnu-.
An interrupted build goes on where it was.")]
pub(crate) struct LinuxArgs {
    /// Kernel source: a tarball or a directory
    #[arg(long, value_name = "FILE|DIR")]
    source: Option<PathBuf>,
    /// Print the paths, build only when there is nothing yet
    #[arg(long)]
    path: bool,
}

/// A finished kernel.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// The arm64 `Image`.
    pub(crate) image: PathBuf,
    /// What external modules are built against.
    pub(crate) tree: PathBuf,
    /// The configuration it was built with.
    pub(crate) config: PathBuf,
}

/// Does `cargo xtask linux`.
pub(crate) fn run(args: &LinuxArgs) -> Result<()> {
    let kernel = small(args)?;
    if args.path {
        println!("{}\n{}", kernel.image.display(), kernel.tree.display());
    } else {
        println!(
            "linux: {}; for modules: {}",
            paths::display(&kernel.image),
            kernel.tree.display()
        );
    }
    Ok(())
}

/// The small kernel, built when the cache doesn't have it, and its image and configuration in
/// target/ward/linux.
pub(crate) fn small(args: &LinuxArgs) -> Result<Kernel> {
    setup::ensure(setup::Scope::Linux)?;
    let built = build::kernel(args.source.as_deref())?;
    let dir = paths::ward_dir()?.join("linux");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let kernel = Kernel {
        image: dir.join("Image"),
        config: dir.join("config"),
        tree: built.tree,
    };
    replace(&built.image, &kernel.image)?;
    replace(&built.config, &kernel.config)?;
    Ok(kernel)
}

/// Copies a file so that a reader sees the old one or the new one, never a part; two processes
/// may do so at once.
pub(crate) fn replace(from: &Path, to: &Path) -> Result<()> {
    let part = to.with_extension(format!("{}.part", std::process::id()));
    fs::copy(from, &part)
        .and_then(|_| fs::rename(&part, to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
