//! Numbers, ranges and images as the command line writes them.

use hyp_core::abi::manifest::ImageKind;
use std::path::PathBuf;
use std::str::FromStr;
use vmm_frontend::size::Size;

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
    text.parse().map(|Size(number)| number)
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
