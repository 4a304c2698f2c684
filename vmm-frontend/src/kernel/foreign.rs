//! What a file is that is no arm64 `Image`: people take the wrong one.

use super::Unusable;

/// What to give instead.
pub(super) const REMEDY: &str = "give the arm64 kernel as its build or distribution makes it: \
    arch/arm64/boot/Image, Image.gz, or vmlinuz of an arm64 package";

/// Offset, bytes there, and what such a file is.
const KNOWN: &[(usize, &[u8], &str)] = &[
    (0x202, b"HdrS", "is a Linux kernel for x86"),
    (
        0x24,
        &[0x18, 0x28, 0x6f, 0x01],
        "is a zImage for 32-bit Arm",
    ),
    (0x38, b"RSC\x05", "is a Linux kernel for RISC-V"),
    (0, b"\x27\x05\x19\x56", "is a U-Boot image (uImage)"),
    (
        0,
        b"\xd0\x0d\xfe\xed",
        "is a device tree or a U-Boot FIT image",
    ),
    (0, b"070701", "is a cpio archive, as initial RAM disks are"),
    (0, b"\xfd7zXZ\0", "is compressed with xz"),
    (0, b"BZh", "is compressed with bzip2"),
    (0, b"\x02\x21\x4c\x18", "is compressed with lz4"),
    (0, b"\x04\x22\x4d\x18", "is compressed with lz4"),
    (0, b"\x89LZO", "is compressed with lzop"),
    (0, b"\x5d\0\0", "is compressed with lzma"),
    (
        0,
        b"WARDBND1",
        "is a bundle that `ward bundle` made already",
    ),
    (0, b"!<arch>\n", "is a Debian package or another archive"),
    (0, b"#!", "is a script"),
];

/// Why this is not a kernel for a guest.
pub(super) fn explain(image: &[u8]) -> Unusable {
    known(image).unwrap_or_else(|| {
        let what = "is no kernel for arm64: it has no magic number of one";
        Unusable::new(what, REMEDY)
    })
}

/// What a file is, if it is something well known.
pub(super) fn known(image: &[u8]) -> Option<Unusable> {
    let begins = |at: usize, bytes: &[u8]| image.get(at..).is_some_and(|i| i.starts_with(bytes));
    if begins(0, b"\x7fELF") {
        return Some(elf(image));
    }
    let known = KNOWN.iter().find(|(at, bytes, _)| begins(*at, bytes));
    match known {
        Some((_, _, what)) if what.contains("compressed") => Some(Unusable::new(
            *what,
            "unpack it first; gzip, zstd and EFI zboot images are taken as they are",
        )),
        Some((_, _, what)) => Some(Unusable::new(*what, REMEDY)),
        None if begins(0, b"MZ") => {
            let what = "is an EFI program, and not of an arm64 kernel";
            Some(Unusable::new(what, REMEDY))
        }
        None => None,
    }
}

fn elf(image: &[u8]) -> Unusable {
    let machine = match image.get(18..20) {
        Some([183, 0]) => {
            return Unusable::new(
                "is an ELF file, such as the `vmlinux` of a build",
                "give arch/arm64/boot/Image of the same build, or make it: `objcopy -O binary -R .note -R \
                 .comment -S vmlinux Image`",
            );
        }
        Some([62, 0]) => "x86-64",
        Some([40, 0]) => "32-bit Arm",
        Some([243, 0]) => "RISC-V",
        _ => "another machine",
    };
    Unusable::new(format!("is an ELF file for {machine}"), REMEDY)
}
