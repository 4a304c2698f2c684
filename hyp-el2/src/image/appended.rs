//! A kernel, a RAM disk and a command line that are part of Ward's own file.
//!
//! ```text
//!  0            Ward's file as built       what the linker laid out, BSS and stacks as zeros
//!  E            header, one page           E = the image's own size, a multiple of 4 KiB
//!  E + ...      command line, RAM disk     each on a page of its own
//!  K            kernel                     K = a multiple of 2 MiB, so that it runs where it is
//! ```
//!
//! The `image_size` of the arm64 header is raised to cover all of it and the kernel's BSS: that is
//! what boot loaders keep free, and by what Ward knows that something follows. `cargo xtask image
//! --payload` writes it. All numbers are little-endian; offsets count from the header:
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 8 | `WARDLOAD` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | parts, 3 |
//! | 16 | 8 | bytes from the header to the end of the file |
//! | 24 | 48 | kernel: offset, size, SHA-256 |
//! | 72 | 48 | RAM disk, or zeros |
//! | 120 | 48 | command line without a zero at its end, or zeros |
//!
//! The digests find a file that was cut off or damaged on its way. They do not say who made it.

use crate::fdt::Span;
use core::fmt;

/// First bytes of the header.
pub const MAGIC: [u8; 8] = *b"WARDLOAD";
/// The version this is.
pub const VERSION: u32 = 1;
/// Bytes of the header.
pub const HEADER: usize = 24 + PARTS * PART;
/// The longest command line.
pub const MAX_BOOTARGS: u64 = 4096;

const PARTS: usize = 3;
const PART: usize = 48;

/// One part, where it is in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Where.
    pub span: Span,
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
}

/// What is appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// The host's kernel.
    pub kernel: Part,
    /// The host's RAM disk.
    pub ramdisk: Option<Part>,
    /// The host's command line.
    pub bootargs: Option<Part>,
}

/// Why it cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bad {
    /// Something follows, but no header.
    Magic,
    /// Another version.
    Version(u32),
    /// More bytes than the arm64 header lets a boot loader load.
    Truncated,
    /// A part outside the file, or two in one place.
    Place,
    /// No kernel.
    NoKernel,
    /// A command line that is too long.
    Bootargs,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bad::Magic => write!(
                f,
                "begins with no header: the file is cut off, or not made by cargo xtask image"
            ),
            Bad::Version(version) => write!(
                f,
                "has format {version}, this Ward reads {VERSION}: make it with the same sources"
            ),
            Bad::Truncated => write!(f, "is longer than the image's header says: make it again"),
            Bad::Place => write!(f, "has parts outside of it, or two in one place"),
            Bad::NoKernel => write!(f, "has no kernel"),
            Bad::Bootargs => write!(
                f,
                "has a command line above {MAX_BOOTARGS} bytes or not of UTF-8"
            ),
        }
    }
}

fn number<const N: usize>(bytes: &[u8; HEADER], at: usize) -> [u8; N] {
    core::array::from_fn(|n| bytes[at + n])
}

impl Appended {
    /// Reads the header at address `base`, behind which the image has `room` bytes with it.
    ///
    /// # Errors
    /// [`Bad`].
    pub fn parse(bytes: &[u8; HEADER], base: u64, room: u64) -> Result<Self, Bad> {
        if number(bytes, 0) != MAGIC {
            return Err(Bad::Magic);
        }
        let version = u32::from_le_bytes(number(bytes, 8));
        let parts = u32::from_le_bytes(number(bytes, 12));
        if version != VERSION || parts != PARTS as u32 {
            return Err(Bad::Version(version));
        }
        let total = u64::from_le_bytes(number(bytes, 16));
        let all = Span::new(base, total).ok_or(Bad::Place)?;
        if total > room {
            return Err(Bad::Truncated);
        }
        let mut used = [Span {
            base,
            size: HEADER as u64,
        }; PARTS + 1];
        let mut part = |n: usize| -> Result<Option<Part>, Bad> {
            let at = 24 + n * PART;
            let offset = u64::from_le_bytes(number(bytes, at));
            let size = u64::from_le_bytes(number(bytes, at + 8));
            if size == 0 {
                return Ok(None);
            }
            let start = base.checked_add(offset).ok_or(Bad::Place)?;
            let span = Span::new(start, size).ok_or(Bad::Place)?;
            let clear = used[..=n].iter().all(|other| !other.overlaps(span));
            if !all.contains(span) || !clear {
                return Err(Bad::Place);
            }
            used[n + 1] = span;
            Ok(Some(Part {
                span,
                digest: number(bytes, at + 16),
            }))
        };
        let kernel = part(0)?.ok_or(Bad::NoKernel)?;
        let ramdisk = part(1)?;
        let bootargs = part(2)?;
        if bootargs.is_some_and(|part| part.span.size > MAX_BOOTARGS) {
            return Err(Bad::Bootargs);
        }
        Ok(Appended {
            kernel,
            ramdisk,
            bootargs,
        })
    }
}
