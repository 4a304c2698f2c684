//! The command line.

use crate::values::{ImageArg, Range, number, range};
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes:
  0  done; for `verify`: Ward would start this guest
  1  refused: the bundle, key or parts are wrong
  2  the command line is wrong
  3  a file could not be read or written";

/// Prepares guests for the Ward hypervisor.
#[derive(Parser)]
#[command(name = "ward", version, after_help = EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
    /// How results and errors are printed
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs: one JSON object, errors on standard error
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DigestArg {
    /// Fast on CPUs with SHA2 instructions
    Sha256,
    /// Hashed in software by Ward
    Sha512,
}

#[derive(Subcommand)]
pub enum Command {
    /// Make a key pair to sign guests with
    #[command(after_help = "\
Example:
  ward keygen --out owner.key

Writes owner.key (secret, readable by you alone) and owner.key.pub (64 hexadecimal digits, to be
built into the Ward image that shall start your guests). Never overwrites a file.")]
    Keygen {
        /// The secret key's new file; the public key goes to FILE.pub
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Pack and sign what a guest starts from
    #[command(after_help = "\
Example: a Linux guest of 2 CPUs and 512 MiB with a console page
  ward bundle --key owner.key --out guest.ward --vcpus 2 \\
    --ram 0x40000000+512M --mmio 0x09000000+4K \\
    --image kernel=Image@0x40200000 --image initrd=initrd.img@0x48000000 \\
    --image device-tree=guest.dtb@0x4f000000

Numbers are decimal or 0x hexadecimal; sizes may end in K, M or G (powers of 1024).")]
    Bundle(BundleArgs),
    /// Show what is in a bundle, trusted or not
    #[command(after_help = "Example:\n  ward inspect guest.ward --output json")]
    Inspect {
        /// The bundle
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
    },
    /// Check a bundle with the code that Ward runs at EL2
    #[command(after_help = "\
Example:
  ward verify guest.ward --trust owner.key.pub && echo Ward would start it")]
    Verify {
        /// The bundle
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
        /// File of a public key that is trusted; may be given several times
        #[arg(long, value_name = "PUB", required = true)]
        trust: Vec<PathBuf>,
        /// Bits of a guest's address space on the machine that will run it
        #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(32..=52))]
        ipa_bits: u32,
    },
}

#[derive(clap::Args)]
pub struct BundleArgs {
    /// An image: kind (kernel, initrd, device-tree, other), file and address; may be given
    /// several times
    #[arg(long = "image", value_name = "KIND=FILE@IPA", required = true)]
    pub images: Vec<ImageArg>,
    /// Memory of the guest; may be given several times
    #[arg(long, value_name = "IPA+SIZE", required = true, value_parser = range)]
    pub ram: Vec<Range>,
    /// Device memory that the VMM emulates; may be given several times
    #[arg(long, value_name = "IPA+SIZE", value_parser = range)]
    pub mmio: Vec<Range>,
    /// Virtual CPUs
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub vcpus: u32,
    /// Where the first CPU starts [default: the first byte of the first kernel]
    #[arg(long, value_name = "IPA", value_parser = number)]
    pub entry: Option<u64>,
    /// Its x0 [default: the address of the first device tree, or 0]
    #[arg(long, value_name = "VALUE", value_parser = number)]
    pub boot_arg: Option<u64>,
    /// Your own count of versions; in Ward's log when the guest is verified
    #[arg(long, value_name = "N", default_value = "0", value_parser = number)]
    pub image_version: u64,
    /// How the images are hashed
    #[arg(long, value_enum, default_value_t = DigestArg::Sha256)]
    pub digest: DigestArg,
    /// Bits of a guest's address space on the machines that shall run it
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(32..=52))]
    pub ipa_bits: u32,
    /// File of the secret key that signs
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The bundle to write; an older one is replaced
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}
