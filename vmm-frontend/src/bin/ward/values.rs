//! Numbers, ranges and images as the command line writes them.

use hyp_core::abi::manifest::ImageKind;
use std::path::PathBuf;
use std::str::FromStr;

/// First address and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range(pub u64, pub u64);

/// `KIND=FILE@IPA`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageArg {
    pub kind: ImageKind,
    pub file: PathBuf,
    pub ipa: u64,
}

/// Names of image kinds, for reading and printing.
pub const KINDS: [(ImageKind, &str); 4] = [
    (ImageKind::Kernel, "kernel"),
    (ImageKind::Initrd, "initrd"),
    (ImageKind::DeviceTree, "device-tree"),
    (ImageKind::Other, "other"),
];

/// The name of a kind.
pub fn kind_name(kind: ImageKind) -> &'static str {
    KINDS
        .iter()
        .find(|(k, _)| *k == kind)
        .map_or("unknown", |(_, name)| name)
}

/// A number, with K, M or G for powers of 1024.
pub fn number(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'K')) => (&text[..at], 10),
        Some((at, 'M')) => (&text[..at], 20),
        Some((at, 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let parsed = match digits.strip_prefix("0x") {
        Some(hex) if !hex.starts_with('+') => u64::from_str_radix(hex, 16),
        None if !digits.starts_with('+') => digits.parse(),
        _ => "?".parse(),
    };
    let number = parsed
        .map_err(|_| format!("`{text}` is not a number; write it like 4096, 4K or 0x1000"))?;
    number
        .checked_mul(1 << shift)
        .ok_or(format!("`{text}` does not fit in 64 bits"))
}

/// `IPA+SIZE`.
pub fn range(text: &str) -> Result<Range, String> {
    let (ipa, size) = text
        .split_once('+')
        .ok_or("write it like 0x40000000+512M: address, +, size")?;
    Ok(Range(number(ipa)?, number(size)?))
}

impl FromStr for ImageArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write it like kernel=Image@0x40200000: kind, =, file, @, address";
        let (kind, rest) = text.split_once('=').ok_or(form)?;
        let (file, ipa) = rest.rsplit_once('@').ok_or(form)?;
        if file.is_empty() {
            return Err(form.into());
        }
        let known = KINDS.iter().find(|(_, name)| *name == kind);
        let (kind, _) = known.ok_or_else(|| {
            format!("unknown kind `{kind}`; there are kernel, initrd, device-tree and other")
        })?;
        Ok(ImageArg {
            kind: *kind,
            file: file.into(),
            ipa: number(ipa)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number("0"), Ok(0));
        assert_eq!(number("0x4000_0000").ok(), None);
        assert_eq!(number("0xfF"), Ok(255));
        assert_eq!(number("0x10K"), Ok(16384));
        assert_eq!(number("512M"), Ok(512 << 20));
        assert_eq!(number("2G"), Ok(2 << 30));
        assert_eq!(number("18446744073709551615"), Ok(u64::MAX));
        for bad in [
            "",
            "K",
            "0x",
            "-1",
            "+1",
            "0x+1",
            "1T",
            "1k",
            "é",
            "17179869184G",
            "18446744073709551616",
        ] {
            assert!(number(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_and_images() {
        assert_eq!(range("0x1000+4K"), Ok(Range(4096, 4096)));
        for bad in ["", "+", "1", "1+", "+1", "1+1+1"] {
            assert!(range(bad).is_err(), "{bad}");
        }
        let image: ImageArg = "initrd=a=b@c@4K".parse().unwrap();
        assert_eq!(image.file, PathBuf::from("a=b@c"));
        assert_eq!((image.kind, image.ipa), (ImageKind::Initrd, 4096));
        for bad in [
            "",
            "kernel",
            "kernel=",
            "kernel=@0",
            "kernel=a",
            "kernel=a@",
            "Kernel=a@0",
            "=a@0",
        ] {
            assert!(bad.parse::<ImageArg>().is_err(), "{bad}");
        }
    }
}
