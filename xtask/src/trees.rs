//! `cargo xtask trees`: the device trees that hyp-el2's tests read.
//!
//! QEMU writes those of its own machines. For boards that it emulates with a tree from outside,
//! the tree is that of Debian's kernel package, edited by QEMU as it does before a boot: those
//! have their authors' licence and are not kept with the sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::qemu::escape;
use crate::run::say;
use crate::{linux, paths, run, setup};

/// Write the device trees that hyp-el2's tests read.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask trees                 write anew those that are kept in hyp-el2/src/fdt/trees
  cargo xtask trees --all DIR       also those of boards, from Debian's kernel package, to DIR
  WARD_TREES=DIR cargo test -p hyp-el2 --lib fdt      test on them

The trees are QEMU's output (-machine dumpdtb), without random seeds and padding.")]
pub(crate) struct TreesArgs {
    /// Write all trees to this directory, and leave those with the sources alone
    #[arg(long, value_name = "DIR")]
    all: Option<PathBuf>,
}

/// One tree: its name, and QEMU's arguments.
struct Tree {
    name: &'static str,
    machine: &'static str,
    args: &'static [&'static str],
}

const fn tree(name: &'static str, machine: &'static str, args: &'static [&'static str]) -> Tree {
    Tree {
        name,
        machine,
        args,
    }
}

/// Machines of which QEMU makes the tree.
const MACHINES: &[Tree] = &[
    tree("virt-gic2-1cpu", VIRT2, &["-smp", "1", "-m", "512"]),
    tree("virt-gic2-8cpu", VIRT2, &["-smp", "8", "-m", "1024"]),
    tree("virt-gic3-1cpu", VIRT3, &["-smp", "1", "-m", "512"]),
    tree("virt-gic3-2cpu", VIRT3, &["-smp", "2", "-m", "1024"]),
    tree("virt-gic3-8cpu", VIRT3, &["-smp", "8", "-m", "16384"]),
    tree("virt-gic3-smmu", SMMU, &["-smp", "4", "-m", "2048"]),
    tree(
        "virt-gic3-numa",
        VIRT3,
        &[
            "-smp",
            "4",
            "-m",
            "2048",
            "-object",
            "memory-backend-ram,id=m0,size=1G",
            "-object",
            "memory-backend-ram,id=m1,size=512M",
            "-object",
            "memory-backend-ram,id=m2,size=512M",
            "-numa",
            "node,memdev=m0,cpus=0-1,nodeid=0",
            "-numa",
            "node,memdev=m1,cpus=2,nodeid=1",
            "-numa",
            "node,memdev=m2,cpus=3,nodeid=2",
        ],
    ),
    tree(
        "virt-modules",
        VIRT3,
        &[
            "-smp",
            "2",
            "-m",
            "1024",
            "-append",
            "quiet",
            "-device",
            "guest-loader,addr=0x50000000,kernel=/dev/zero.kernel,bootargs=console=ttyAMA0",
            "-device",
            "guest-loader,addr=0x54000000,initrd=/dev/zero.kernel",
        ],
    ),
    tree("xlnx-versal-virt", "xlnx-versal-virt", &["-m", "4096"]),
];
const VIRT2: &str = "virt,virtualization=on,gic-version=2,dtb-randomness=off";
const VIRT3: &str = "virt,virtualization=on,gic-version=3,dtb-randomness=off";
const SMMU: &str = "virt,virtualization=on,gic-version=3,iommu=smmuv3,dtb-randomness=off";

/// Boards of which Debian's kernel package has the tree: the file's name besides.
const BOARDS: &[(Tree, &str)] = &[
    (
        tree("raspi4b", "raspi4b", &[]),
        "broadcom/bcm2711-rpi-4-b.dtb",
    ),
    (
        tree("imx8mp-evk", "imx8mp-evk", &[]),
        "freescale/imx8mp-evk.dtb",
    ),
];

/// Does `cargo xtask trees`.
pub(crate) fn run(args: &TreesArgs) -> Result<()> {
    setup::ensure(setup::Scope::Boot)?;
    let kept = paths::root().join("hyp-el2/src/fdt/trees");
    match &args.all {
        Some(dir) => all(dir),
        None => machines(&kept),
    }
}

/// Writes every tree to `dir`.
pub(crate) fn all(dir: &Path) -> Result<()> {
    machines(dir)?;
    let package = package()?;
    for (tree, file) in BOARDS {
        let board = package.join(file);
        dump(tree, dir, &["-dtb", &board.to_string_lossy()])?;
    }
    Ok(())
}

/// Where Debian's kernel package has its device trees.
fn package() -> Result<PathBuf> {
    let kernel = linux::stock::kernel()?.vmlinuz;
    let unpacked = kernel.parent().and_then(Path::parent);
    let lib = unpacked
        .context("no directory above /boot")?
        .join("usr/lib");
    let entries = fs::read_dir(&lib).with_context(|| format!("cannot read {}", lib.display()))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|dir| dir.join(BOARDS[0].1).is_file())
        .with_context(|| format!("no device tree {} in {}", BOARDS[0].1, lib.display()))
}

fn machines(dir: &Path) -> Result<()> {
    MACHINES.iter().try_for_each(|tree| dump(tree, dir, &[]))
}

/// Has QEMU write one tree.
fn dump(tree: &Tree, dir: &Path, more: &[&str]) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let file = dir.join(tree.name).with_extension("dtb");
    say(&format!("device tree {}", paths::display(&file)));
    // QEMU completes a board's tree only for a kernel; it never runs this one.
    let kernel = paths::ward_dir()?.join("empty-kernel");
    fs::write(&kernel, [0; 4096]).with_context(|| format!("cannot write {}", kernel.display()))?;
    let kernel = kernel.to_string_lossy();
    let mut qemu = Command::new("qemu-system-aarch64");
    let dumped = escape(&file.to_string_lossy());
    qemu.args(["-machine", &format!("{},dumpdtb={dumped}", tree.machine)]);
    if tree.machine.starts_with("virt") {
        qemu.args(["-cpu", "cortex-a76", "-nodefaults"]);
    }
    qemu.args(["-nographic", "-kernel", &kernel]);
    let with_kernel = |arg: &&str| arg.replace("/dev/zero.kernel", &kernel);
    qemu.args(tree.args.iter().map(with_kernel)).args(more);
    run::output(&mut qemu)?;
    let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let packed = pack(&bytes).with_context(|| format!("{} is no device tree", file.display()))?;
    fs::write(&file, packed).with_context(|| format!("cannot write {}", file.display()))
}

/// The tree without the padding behind it (Devicetree Specification 5.2).
fn pack(tree: &[u8]) -> Result<Vec<u8>> {
    let word = |at: usize| {
        let bytes = tree.get(at..at + 4).context("too short")?;
        Ok::<_, anyhow::Error>(u32::from_be_bytes(bytes.try_into()?))
    };
    let blocks = [(word(8)?, word(36)?), (word(12)?, word(32)?)];
    let ends = blocks.map(|(at, size)| at as usize + size as usize);
    let end = ends[0].max(ends[1]);
    if word(0)? != 0xd00d_feed || end > tree.len() {
        bail!("wrong magic number or sizes");
    }
    let mut packed = tree[..end].to_vec();
    packed[4..8].copy_from_slice(&u32::try_from(end)?.to_be_bytes());
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_goes_and_the_size_follows() {
        let mut tree = vec![0; 100];
        for (at, word) in [
            (0, 0xd00d_feed_u32),
            (4, 100),
            (8, 40),
            (12, 60),
            (32, 4),
            (36, 20),
        ] {
            tree[at..at + 4].copy_from_slice(&word.to_be_bytes());
        }
        let packed = pack(&tree).unwrap();
        assert_eq!((packed.len(), packed[7]), (64, 64));
        tree[35] = 41;
        pack(&tree).unwrap_err();
        pack(&tree[..30]).unwrap_err();
    }
}
