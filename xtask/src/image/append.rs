//! Appends a kernel, a RAM disk and a command line to the EL2 image. The format is described in
//! `hyp_el2::image::appended`, which reads it.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use sha2::{Digest, Sha256};

use super::unpack::kernel_file;
use crate::run::{CannotStart, named_file};

const MAGIC: &[u8; 8] = b"WARDLOAD";
const VERSION: u32 = 1;
const PARTS: u32 = 3;
const HEADER: usize = 168;
const PAGE: usize = 4096;
const BLOCK: usize = 2 << 20;
/// Linux cuts a longer command line off (`COMMAND_LINE_SIZE`).
const MAX_BOOTARGS: usize = 2047;

/// What to append.
#[derive(Args, Clone, Default)]
pub(crate) struct PayloadArgs {
    /// Append this kernel, and write ward-with-payload.bin: one file that boots by itself
    #[arg(long, value_name = "KERNEL")]
    pub(crate) payload: Option<PathBuf>,
    /// The kernel's RAM disk
    #[arg(long, value_name = "FILE", requires = "payload")]
    pub(crate) initrd: Option<PathBuf>,
    /// The kernel's command line
    #[arg(long, value_name = "TEXT", requires = "payload")]
    pub(crate) append: Option<String>,
}

/// What the arguments name, read and unpacked.
pub(crate) struct Payload {
    kernel: Vec<u8>,
    initrd: Vec<u8>,
    bootargs: String,
}

impl PayloadArgs {
    /// Reads and checks what is named, if anything.
    pub(crate) fn read(&self) -> Result<Option<Payload>> {
        let Some(kernel) = &self.payload else {
            return Ok(None);
        };
        let initrd = self.initrd.as_deref().map(named_file).transpose()?;
        let bootargs = self.append.clone().unwrap_or_default();
        check_bootargs(&bootargs)?;
        Ok(Some(Payload {
            kernel: kernel_file(kernel)?,
            initrd: initrd.unwrap_or_default(),
            bootargs,
        }))
    }
}

impl Payload {
    /// The image's bytes with this behind them.
    pub(super) fn behind(&self, image: &[u8]) -> Result<Vec<u8>> {
        append(image, &self.kernel, &self.initrd, &self.bootargs)
    }
}

/// Refuses a command line that a kernel would cut off.
pub(crate) fn check_bootargs(bootargs: &str) -> Result<()> {
    if bootargs.len() > MAX_BOOTARGS || bootargs.contains('\0') {
        bail!(CannotStart(format!(
            "the command line has {} bytes; Linux reads {MAX_BOOTARGS}, none of them zero",
            bootargs.len()
        )));
    }
    Ok(())
}

/// The image with a payload behind it.
fn append(image: &[u8], kernel: &[u8], initrd: &[u8], bootargs: &str) -> Result<Vec<u8>> {
    let own = field(image, 16)?;
    if own < image.len() || !own.is_multiple_of(PAGE) {
        bail!("the EL2 image is larger than its header says");
    }
    // Before Linux 3.17 the size was 0 and the offset 0x80000 whatever the field said.
    let (offset, memory) = match field(kernel, 16)? {
        0 => (0x8_0000, kernel.len()),
        size => (field(kernel, 8)?, size.max(kernel.len())),
    };
    if offset >= BLOCK {
        bail!("the kernel's header says that it lies {offset:#x} off a 2 MiB boundary");
    }
    let mut file = image.to_vec();
    file.resize(own + HEADER, 0);
    let mut part = |n: usize, bytes: &[u8], align: usize, offset: usize| {
        if bytes.is_empty() {
            return 0;
        }
        let start = file.len().next_multiple_of(align) + offset;
        file.resize(start, 0);
        file.extend(bytes);
        let at = own + 24 + 48 * n;
        put(&mut file, at, start - own);
        put(&mut file, at + 8, bytes.len());
        file[at + 16..at + 48].copy_from_slice(&Sha256::digest(bytes));
        start
    };
    part(2, bootargs.as_bytes(), PAGE, 0);
    part(1, initrd, PAGE, 0);
    // Last, for its BSS lies behind it.
    let start = part(0, kernel, BLOCK, offset);
    file[own..own + 8].copy_from_slice(MAGIC);
    file[own + 8..own + 12].copy_from_slice(&VERSION.to_le_bytes());
    file[own + 12..own + 16].copy_from_slice(&PARTS.to_le_bytes());
    let total = file.len() - own;
    put(&mut file, own + 16, total);
    let size = start
        .checked_add(memory)
        .context("the kernel's header is wrong")?;
    put(&mut file, 16, size.next_multiple_of(PAGE));
    Ok(file)
}

fn field(bytes: &[u8], at: usize) -> Result<usize> {
    let bytes = bytes.get(at..at + 8).context("the file is cut off")?;
    Ok(usize::try_from(u64::from_le_bytes(bytes.try_into()?))?)
}

fn put(bytes: &mut [u8], at: usize, value: usize) {
    bytes[at..at + 8].copy_from_slice(&(value as u64).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyp_el2::fdt::Span;
    use hyp_el2::image::{self, appended};

    const OWN: usize = 0x3000;

    fn header(size: usize, offset: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![7; len];
        put(&mut bytes, 8, offset);
        put(&mut bytes, 16, size);
        put(&mut bytes, 24, 0xa);
        bytes[56..60].copy_from_slice(b"ARM\x64");
        bytes
    }

    #[test]
    fn ward_reads_what_is_written() {
        let (ward, kernel) = (header(OWN, 0, 0x2800), header(0x9000, 0x1000, 0x4321));
        let file = append(&ward, &kernel, b"disk", "quiet splash").unwrap();
        assert_eq!(field(&file, 16).unwrap(), BLOCK + 0x1000 + 0x9000);
        assert_eq!(file[24..0x2800], ward[24..]);
        assert!(file[0x2800..OWN].iter().all(|&byte| byte == 0));
        let head: &[u8; appended::HEADER] = file[OWN..].first_chunk().unwrap();
        let room = (field(&file, 16).unwrap() - OWN) as u64;
        let found = appended::Appended::parse(head, OWN as u64, room).unwrap();
        let bytes = |part: appended::Part| {
            let Span { base, size } = part.span;
            let bytes = &file[base as usize..][..size as usize];
            assert_eq!(part.digest[..], Sha256::digest(bytes)[..]);
            (base as usize, bytes)
        };
        assert_eq!(bytes(found.kernel), (BLOCK + 0x1000, &kernel[..]));
        let ramdisk = bytes(found.ramdisk.unwrap());
        assert_eq!((ramdisk.0 % PAGE, ramdisk.1), (0, &b"disk"[..]));
        assert_eq!(bytes(found.bootargs.unwrap()).1, b"quiet splash");
        let start = kernel.first_chunk().unwrap();
        image::Header::parse(start, kernel.len() as u64).unwrap();
    }

    #[test]
    fn only_the_kernel_is_needed_and_what_cannot_be_is_refused() {
        let (ward, kernel) = (header(OWN, 0, 0x2800), header(0, 0, 0x100));
        let file = append(&ward, &kernel, &[], "").unwrap();
        assert_eq!(file.len(), BLOCK + 0x8_0000 + 0x100);
        assert_eq!(file[OWN + 72..OWN + HEADER], [0; 96]);
        let refused = |ward: &[u8], kernel: &[u8]| {
            assert!(append(ward, kernel, &[], "").is_err());
        };
        check_bootargs(&"x".repeat(2047)).unwrap();
        check_bootargs(&"x".repeat(2048)).unwrap_err();
        check_bootargs("a\0").unwrap_err();
        refused(&header(0x2000, 0, 0x2800), &kernel);
        refused(&header(OWN + 1, 0, 0x2800), &kernel);
        refused(&ward, &kernel[..20]);
        refused(&ward, &header(1, BLOCK, 0x100));
    }
}
