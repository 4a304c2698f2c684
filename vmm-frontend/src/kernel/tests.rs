use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

/// An arm64 `Image` of `file` bytes that takes `memory`.
pub(crate) fn image(file: usize, memory: u64) -> Vec<u8> {
    let mut image = vec![0x5a; file];
    image[..64].fill(0);
    image[16..24].copy_from_slice(&memory.to_le_bytes());
    image[24] = 0b1010;
    image[0x38..0x3c].copy_from_slice(b"ARM\x64");
    image
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).expect("memory");
    packed.finish().expect("memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// An EFI zboot image around a payload.
fn zboot(payload: &[u8], how: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 0x80];
    file[..2].copy_from_slice(b"MZ");
    file[4..8].copy_from_slice(b"zimg");
    file[8..12].copy_from_slice(&0x80_u32.to_le_bytes());
    file[12..16].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    file[24..24 + how.len()].copy_from_slice(how);
    file[0x3c] = 0x40;
    file[0x40..0x46].copy_from_slice(b"PE\0\0\x64\xaa");
    file.extend_from_slice(payload);
    file
}

fn refused(file: &[u8]) -> String {
    let Unusable { what, remedy } = parse(file.to_vec()).expect_err("no kernel");
    assert!(!remedy.is_empty());
    what
}

#[test]
fn every_packing_gives_the_same_image() {
    let plain = image(10_000, 1 << 20);
    for (file, packing) in [
        (plain.clone(), Packing::Plain),
        (gzip(&plain), Packing::Gzip),
        (zstd(&plain), Packing::Zstd),
        (zboot(&gzip(&plain), b"gzip"), Packing::ZbootGzip),
        (zboot(&zstd(&plain), b"zstd"), Packing::ZbootZstd),
        (gzip(&zboot(&gzip(&plain), b"gzip")), Packing::ZbootGzip),
    ] {
        let kernel = parse(file).expect("a kernel");
        assert_eq!((kernel.image, kernel.packing), (plain.clone(), packing));
        assert_eq!(
            (kernel.shape.image_size, kernel.shape.text_offset),
            (1 << 20, 0)
        );
    }
}

#[test]
fn the_zeros_that_pad_a_packed_kernel_are_not_carried() {
    let mut padded = image(10_000, 1 << 20);
    padded.resize(1 << 20, 0);
    let kernel = parse(zboot(&gzip(&padded), b"gzip")).expect("a kernel");
    assert_eq!((kernel.shape.file, kernel.image.len()), (10_000, 10_000));
    assert_eq!(parse(padded).expect("a kernel").shape.file, 1 << 20);
}

#[test]
fn other_files_are_named() {
    let mut x86 = vec![0; 0x300];
    x86[0x202..0x206].copy_from_slice(b"HdrS");
    let mut riscv = image(100, 1);
    riscv[0x38..0x3c].copy_from_slice(b"RSC\x05");
    let mut elf = vec![0; 100];
    elf[..4].copy_from_slice(b"\x7fELF");
    let machine = |number: u8| {
        let mut elf = elf.clone();
        elf[18] = number;
        elf
    };
    let mut mz = vec![0; 100];
    mz[..2].copy_from_slice(b"MZ");
    let mut foreign = zboot(&gzip(&[1]), b"gzip");
    foreign[0x44..0x46].copy_from_slice(&[0x64, 0x50]);
    let mut big = image(100, 1);
    big[24] |= 1;
    let padded = |bytes: &[u8]| [bytes, &[0; 64]].concat();
    for (file, what) in [
        (vec![], "has 0 bytes"),
        (vec![0; 100], "no magic number"),
        (x86, "x86"),
        (riscv, "RISC-V"),
        (machine(183), "vmlinux"),
        (machine(62), "x86-64"),
        (machine(40), "32-bit Arm"),
        (elf.clone(), "another machine"),
        (mz, "EFI program"),
        (foreign, "another machine"),
        (big, "big-endian"),
        (image(100, 0), "older than Linux 3.17"),
        (padded(b"070701"), "cpio"),
        (padded(b"\xfd7zXZ\0"), "compressed with xz"),
        (padded(b"WARDBND1"), "bundle"),
        (gzip(&padded(b"070701")), "cpio"),
        (zboot(b"", b"lzma"), "compressed with lzma"),
        (zboot(b"\x1f\x8b\x08broken", b"gzip"), "cannot be unpacked"),
        (zboot(b"nothing", b"zstd"), "cannot be unpacked"),
    ] {
        let said = refused(&file);
        assert!(said.contains(what), "{said}, not {what}");
    }
    let remedy = parse(machine(183)).unwrap_err().remedy;
    assert!(remedy.contains("arch/arm64/boot/Image"), "{remedy}");
}

#[test]
fn headers_that_lie_are_refused() {
    for offset in [1_u64, 0x20_0000, u64::MAX] {
        let mut file = image(100, 1);
        file[8..16].copy_from_slice(&offset.to_le_bytes());
        assert!(refused(&file).contains("multiple of 2 MiB"));
    }
    let whole = zboot(&gzip(&image(5000, 8192)), b"gzip");
    for end in 0..whole.len() {
        assert!(parse(whole[..end].to_vec()).is_err(), "{end} bytes");
    }
    let mut far = zboot(&gzip(&image(5000, 8192)), b"gzip");
    far[8..16].fill(0xff);
    assert!(refused(&far).contains("ends too early"));
}

#[test]
fn a_small_file_that_unpacks_to_much_is_no_kernel() {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let zeros = vec![0; 1 << 20];
    for _ in 0..513 {
        packed.write_all(&zeros).expect("memory");
    }
    let file = packed.finish().expect("memory");
    assert!(refused(&file).contains("more than 512 MiB"));
}

/// A kernel with these bytes in it.
fn facts(parts: &[&[u8]]) -> Facts {
    let mut file = image(100, 1 << 20);
    file.extend(parts.concat());
    recognise(&file).expect("a kernel")
}

const RELEASE: &[u8] = b"Linux version 6.1.0-56-arm64 (somebody)";

#[test]
fn a_configuration_is_believed() {
    let config = |text: &str| [b"IKCFG_ST", &gzip(text.as_bytes())[..], b"IKCFG_ED"].concat();
    let both = "CONFIG_ARM_PKVM_GUEST=y\nCONFIG_DMA_RESTRICTED_POOL=y\n";
    let found = facts(&[RELEASE, b"IKCFG_ST in a text", &config(both)]);
    assert_eq!(found.sharing.works(), Some(true));
    assert_eq!(found.sharing.warning(), None);
    let none = "# CONFIG_ARM_PKVM_GUEST is not set\nCONFIG_DMA_RESTRICTED_POOL=y\n";
    let found = facts(&[RELEASE, &config(none), b"restricted-dma-pool\0"]);
    assert_eq!(found.sharing.missing(), ["CONFIG_ARM_PKVM_GUEST"]);
    let warning = found.sharing.warning().expect("one");
    assert!(
        warning.contains("no virtio in a protected guest"),
        "{warning}"
    );
}

#[test]
fn without_one_names_tell_or_nothing_does() {
    const BTF: &[u8] = b"\x9f\xeb\x01\x00\x18\0\0\0....\0start_kernel\0";
    let found = facts(&[RELEASE, BTF]);
    assert_eq!(found.sharing.missing().len(), 2);
    let found = facts(&[
        RELEASE,
        BTF,
        b"\0pkvm_init_hyp_services\0",
        b"restricted-dma-pool\0",
    ]);
    assert_eq!(found.sharing.works(), Some(true));
    let found = facts(&[RELEASE, b"restricted-dma-pool\0"]);
    assert_eq!(
        (found.sharing.works(), found.sharing.warning()),
        (None, None)
    );
    assert_eq!(
        facts(&[]).sharing,
        Sharing {
            calls: None,
            pool: None
        }
    );
}

#[test]
fn releases() {
    assert_eq!(facts(&[RELEASE]).release.as_deref(), Some("6.1.0-56-arm64"));
    assert_eq!(
        facts(&[b"Linux version %s (%s)\0", RELEASE])
            .release
            .as_deref(),
        Some("6.1.0-56-arm64")
    );
    for bad in [
        &b"Linux version "[..],
        b"Linux version 6",
        b"Linux version 6\n ",
        &[&b"Linux version 6"[..], &[b'x'; 99], b" "].concat(),
    ] {
        assert_eq!(facts(&[bad]).release, None);
    }
}
