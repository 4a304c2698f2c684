//! The command line of `ward bundle`.

use crate::values::{ImageArg, Range, number, range};
use clap::{ArgGroup, Args, ValueEnum};
use std::path::PathBuf;
use vmm_frontend::size::Size;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DigestArg {
    /// Fast on CPUs with SHA2 instructions
    Sha256,
    /// Hashed in software by Ward
    Sha512,
}

/// Names of the options that lay out a guest by hand.
const BY_HAND: [&str; 5] = ["images", "ram", "mmio", "entry", "boot_arg"];

/// Pack and sign what a guest starts from
///
/// Takes an arm64 Linux kernel (Image, compressed with gzip or zstd, or the EFI image vmlinuz), lays
/// out memory by what its header asks for, writes the device tree, and signs all of it. The guest's
/// machine has a PL011 console, a clock, a power button and 16 slots for virtio devices; which devices
/// are there is decided by `ward run`.
#[derive(Args)]
#[command(group = ArgGroup::new("source").required(true).multiple(true).args(["kernel", "config", "images"]))]
#[command(after_help = "\
Examples:
  ward bundle --kernel Image --initrd initrd.img --cpus 2 --memory 1G \\
    --append 'root=/dev/vda ro' --key owner.key --out guest.ward

  ward bundle --config guest.toml                     with options from a file

    kernel = \"Image\"                  # paths are relative to this file
    initrd = \"initrd.img\"
    append = \"root=/dev/vda ro\"
    cpus = 2
    memory = \"1G\"
    image-version = 7
    key = \"owner.key\"
    out = \"guest.ward\"

By hand, for guests that are not Linux: every address is yours
  ward bundle --key owner.key --out guest.ward --cpus 2 \\
    --ram 0x40000000+512M --mmio 0x09000000+4K \\
    --image kernel=Image@0x40200000 --image device-tree=guest.dtb@0x4f000000

Numbers are decimal or 0x hexadecimal; sizes may end in K, M or G (powers of 1024).")]
pub struct BundleArgs {
    /// The kernel: Image, Image.gz, Image.zst, or vmlinuz for arm64
    #[arg(long, value_name = "FILE", conflicts_with_all = BY_HAND)]
    pub kernel: Option<PathBuf>,
    /// The initial RAM disk
    #[arg(long, value_name = "FILE", conflicts_with_all = BY_HAND)]
    pub initrd: Option<PathBuf>,
    /// The kernel's command line; the console needs no word in it
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with_all = BY_HAND)]
    pub append: Option<String>,
    /// Virtual CPUs [default: 1]
    #[arg(long, visible_alias = "vcpus", value_name = "N")]
    pub cpus: Option<u32>,
    /// Memory, a multiple of 2 MiB [default: 512M]
    #[arg(long, value_name = "SIZE", conflicts_with_all = BY_HAND)]
    pub memory: Option<Size>,
    /// Your own count of versions, shown by `inspect` and in Ward's log [default: 0]
    #[arg(long, value_name = "N")]
    pub image_version: Option<Size>,
    /// File with options; those of the command line win
    #[arg(long, value_name = "TOML", conflicts_with_all = BY_HAND)]
    pub config: Option<PathBuf>,
    /// File of the secret key that signs
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    pub key: Option<PathBuf>,
    /// The bundle to write; an older one is replaced
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    pub out: Option<PathBuf>,
    /// How the images are hashed
    #[arg(long, value_enum, default_value_t = DigestArg::Sha256)]
    pub digest: DigestArg,
    /// Bits of a guest's address space on the machines that shall run it
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(32..=52))]
    pub ipa_bits: u32,
    /// An image: kind (kernel, initrd, device-tree, other), file and address; may be given
    /// several times
    #[arg(
        long = "image",
        value_name = "KIND=FILE@IPA",
        requires = "ram",
        help_heading = "By hand"
    )]
    pub images: Vec<ImageArg>,
    /// Memory of the guest; may be given several times
    #[arg(long, value_name = "IPA+SIZE", value_parser = range, requires = "images", help_heading = "By hand")]
    pub ram: Vec<Range>,
    /// Device memory that the VMM emulates; may be given several times
    #[arg(long, value_name = "IPA+SIZE", value_parser = range, requires = "images", help_heading = "By hand")]
    pub mmio: Vec<Range>,
    /// Where the first CPU starts [default: the first byte of the first kernel]
    #[arg(long, value_name = "IPA", value_parser = number, requires = "images", help_heading = "By hand")]
    pub entry: Option<u64>,
    /// Its x0 [default: the address of the first device tree, or 0]
    #[arg(long, value_name = "VALUE", value_parser = number, requires = "images", help_heading = "By hand")]
    pub boot_arg: Option<u64>,
}
