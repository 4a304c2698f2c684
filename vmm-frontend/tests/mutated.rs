//! Seeds, and thousands of seeds with something changed, through what reads foreign bytes. The
//! short form of `cargo fuzz`, for every compiler; the same seeds always give the same bytes.
//!
//! `WARD_MUTATIONS=1000000 cargo test -p vmm-frontend --test mutated` tries more.

#[path = "mutated/entries.rs"]
mod entries;

use fastrand::Rng;
use std::fs;
use std::path::{Path, PathBuf};
use vmm_frontend::bundle::{self, ImageSpec, Spec};
use vmm_frontend::layout::{KernelShape, Layout, Machine};
use vmm_frontend::{fdt, kernel};

/// Changed files for each seed, if the environment does not say.
const TRIES: usize = 2000;

#[test]
fn bundles() {
    mutate("bundle", entries::bundle);
}

#[test]
fn configurations() {
    mutate("config", entries::config);
}

#[test]
fn kernels() {
    mutate("kernel", entries::kernel);
}

#[test]
fn trees() {
    mutate("tree", entries::tree);
}

/// The seeds are what they are taken for; otherwise everything would be refused at once.
#[test]
fn seeds_are_good() {
    let read = |name: &str| fs::read(folder(name)).expect("a seed");
    let key = entries::key().public();
    let manifest = bundle::verify(&read("bundle/small"), &[key], &bundle::LIMITS).expect("good");
    assert_eq!(manifest.image_version, entries::SEED_VERSION);
    for name in ["plain", "gzip", "zboot", "zstd"] {
        kernel::parse(read(&format!("kernel/{name}"))).expect(name);
    }
    assert!(fdt::summarise(&read("tree/two-cpus")).is_some());
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(name)
}

fn mutate(name: &str, entry: fn(&[u8])) {
    let tries = std::env::var("WARD_MUTATIONS").ok();
    let tries = tries.map_or(TRIES, |tries| tries.parse().expect("a number"));
    let mut seeds: Vec<_> = fs::read_dir(folder(name))
        .expect("seeds")
        .map(|file| file.expect("a seed").path())
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty());
    for (number, seed) in seeds.iter().enumerate() {
        let seed = fs::read(seed).expect("a seed");
        entry(&seed);
        let mut random = Rng::with_seed(number as u64);
        for _ in 0..tries {
            entry(&changed(&seed, &mut random));
        }
    }
}

/// Up to four changes: a bit, a byte, a little more or less, a telling number, a cut, a piece
/// doubled.
fn changed(seed: &[u8], random: &mut Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.usize(1..=4) {
        if bytes.is_empty() {
            break;
        }
        // Half of the changes are in the first bytes, where headers are.
        let end = if random.bool() {
            bytes.len().min(256)
        } else {
            bytes.len()
        };
        let at = random.usize(..end);
        match random.u8(..8) {
            0 | 1 => bytes[at] ^= 1 << random.u8(..8),
            2 => bytes[at] = random.u8(..),
            // One more or less is where lengths go wrong.
            3 => bytes[at] = bytes[at].wrapping_add(random.u8(..9)).wrapping_sub(4),
            4 | 5 => {
                let numbers = [
                    0,
                    1,
                    0x7fff_ffff,
                    0xffff_ffff,
                    u64::MAX,
                    1 << 52,
                    4095,
                    4096,
                ];
                let number = random.choice(numbers).unwrap_or_default().to_le_bytes();
                let room = bytes.len() - at;
                let size = [4, 8][random.usize(..2)].min(room);
                bytes[at..at + size].copy_from_slice(&number[..size]);
            }
            6 => bytes.truncate(at),
            _ => {
                let piece = bytes[at..(at + 32).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// Writes the seeds that are made, not written: `cargo test -p vmm-frontend --test mutated -- --ignored`.
#[test]
#[ignore = "writes files of the repository"]
fn write_seeds() {
    let shape = KernelShape {
        file: 200,
        text_offset: 0,
        image_size: 8192,
    };
    let machine = Machine::new(2, 32 << 20).expect("a machine");
    let layout = Layout::new(machine, shape, Some(300)).expect("fits");
    let tree = fdt::build(&layout, "quiet").expect("a tree");
    let mut image = vec![0; 200];
    image[16..24].copy_from_slice(&8192_u64.to_le_bytes());
    image[24] = 0b1010;
    image[0x38..0x3c].copy_from_slice(b"ARM\x64");
    image[64..110].copy_from_slice(b"Linux version 7.3.4 restricted-dma-pool\0IKCFG_");
    let mut spec = Spec::new(2);
    spec.image_version = entries::SEED_VERSION;
    spec.ram.push((0x4000_0000, 32 << 20));
    spec.mmio.push((0x0900_0000, 4096));
    spec.images
        .push(ImageSpec::kernel(0x4000_0000, image.clone()));
    let write = |name: &str, bytes: &[u8]| fs::write(folder(name), bytes).expect("written");
    write(
        "bundle/small",
        &bundle::build(&spec, &entries::key()).expect("good"),
    );
    write("tree/two-cpus", &tree);
    write("tree/short", &short_tree().expect("a tree"));
    write("kernel/plain", &image);
    let packed = gzip(&image);
    write("kernel/gzip", &packed);
    let mut zboot = vec![0; 0x80];
    zboot[..8].copy_from_slice(b"MZ\0\0zimg");
    zboot[8] = 0x80;
    zboot[12] = u8::try_from(packed.len()).expect("small");
    zboot[24..28].copy_from_slice(b"gzip");
    zboot[0x3c] = 0x40;
    zboot[0x40..0x46].copy_from_slice(b"PE\0\0\x64\xaa");
    zboot.extend(packed);
    write("kernel/zboot", &zboot);
}

/// Little but what is looked at, so that most changes hit it.
fn short_tree() -> Result<Vec<u8>, vm_fdt::Error> {
    let mut tree = vm_fdt::FdtWriter::new()?;
    let root = tree.begin_node("")?;
    let node = tree.begin_node("chosen")?;
    tree.property_string("bootargs", "a")?;
    tree.property_u64("linux,initrd-start", 1)?;
    tree.end_node(node)?;
    let node = tree.begin_node("memory@0")?;
    tree.property_array_u64("reg", &[0, 1])?;
    tree.end_node(node)?;
    tree.end_node(root)?;
    tree.finish()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Read;
    let mut packed = Vec::new();
    let mut encoder = flate2::read::GzEncoder::new(bytes, flate2::Compression::best());
    encoder.read_to_end(&mut packed).expect("memory");
    packed
}
