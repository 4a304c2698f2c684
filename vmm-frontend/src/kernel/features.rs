//! What a kernel says of itself: its configuration where it carries it, else names of what is
//! built in.

use flate2::read::GzDecoder;
use memchr::memmem;
use std::io::Read;

/// Whether a kernel shares memory with the devices of a protected guest, which takes both.
/// `None`: the file does not tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sharing {
    /// It makes the calls: `CONFIG_ARM_PKVM_GUEST`.
    pub calls: Option<bool>,
    /// It bounces through the pool: `CONFIG_DMA_RESTRICTED_POOL`.
    pub pool: Option<bool>,
}

impl Sharing {
    /// Do virtio devices work in a protected guest?
    pub fn works(&self) -> Option<bool> {
        match (self.calls, self.pool) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        }
    }

    /// The options that are known to be missing.
    pub fn missing(&self) -> Vec<&'static str> {
        let options = [(self.calls, CALLS), (self.pool, POOL)];
        let missing = options.iter().filter(|(has, _)| *has == Some(false));
        missing.map(|(_, name)| *name).collect()
    }

    /// What to tell somebody who makes a protected guest of such a kernel.
    pub fn warning(&self) -> Option<String> {
        let missing = self.missing();
        if missing.is_empty() {
            return None;
        }
        Some(format!(
            "no virtio in a protected guest: this kernel is built without {}, so it shares no memory with \
             its host, and disks, network and vsock do not work there. Console and initrd do. Take a kernel \
             with {CALLS}=y and {POOL}=y, or start it with `ward run --normal`.",
            missing.join(" and ")
        ))
    }
}

const CALLS: &str = "CONFIG_ARM_PKVM_GUEST";
const POOL: &str = "CONFIG_DMA_RESTRICTED_POOL";

/// Looks into a kernel's configuration (`CONFIG_IKCONFIG`), or for names that only the code of
/// these options has.
pub(super) fn sharing(image: &[u8]) -> Sharing {
    if let Some(config) = configuration(image) {
        let set = |option: &str| {
            let line = format!("{option}=y");
            Some(config.lines().any(|found| found == line))
        };
        return Sharing {
            calls: set(CALLS),
            pool: set(POOL),
        };
    }
    let has = |name: &[u8]| memmem::find(image, name).is_some();
    // Names of functions are only there with the kernel's type information (BTF).
    let types = has(b"\x9f\xeb\x01\x00\x18\0\0\0") && has(b"\0start_kernel\0");
    Sharing {
        calls: types.then(|| has(b"\0pkvm_init_hyp_services\0")),
        // The table of reserved memory names what it takes.
        pool: release(image)
            .is_some()
            .then(|| has(b"restricted-dma-pool\0")),
    }
}

/// The configuration that a kernel carries.
fn configuration(image: &[u8]) -> Option<String> {
    const BEGIN: &[u8] = b"IKCFG_ST";
    const LIMIT: u64 = 4 << 20;
    let at = memmem::find_iter(image, BEGIN)
        .find(|at| image[at + BEGIN.len()..].starts_with(b"\x1f\x8b"))?;
    let mut text = String::new();
    let packed = GzDecoder::new(&image[at + BEGIN.len()..]);
    packed.take(LIMIT).read_to_string(&mut text).ok()?;
    Some(text)
}

/// `uname -r`: what follows the kernel's first words, `Linux version `.
pub(super) fn release(image: &[u8]) -> Option<String> {
    const WORDS: &[u8] = b"Linux version ";
    memmem::find_iter(image, WORDS).find_map(|at| {
        let rest = &image[at + WORDS.len()..];
        let word = &rest[..rest.len().min(65)];
        let word = &word[..word.iter().position(|&byte| byte == b' ')?];
        let plain = word.iter().all(|byte| byte.is_ascii_graphic());
        let number = word.first().is_some_and(u8::is_ascii_digit);
        (plain && number).then(|| String::from_utf8_lossy(word).into_owned())
    })
}
