//! Random calls on Ward and on the specification, side by side.
//!
//! `WARD_STEPS` (calls and runs; the host's own loads and stores come on top) and `WARD_SEED` choose
//! how long and where from. A failure prints both and the
//! calls that led there; its seed belongs into `regressions/`.

use ward_tests::fake::StdSched;
use ward_tests::harness::{Options, Shape, run_seed};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// A machine for each seed: widths of addresses, small and large pools, both kinds of access flag,
/// half of them with SMMUs, and some of those that do not reach all of RAM.
fn shape(seed: u64) -> Shape {
    let ipa_bits = [40, 48, 36, 44][(seed % 4) as usize];
    let pool = [48, 24, 90][(seed % 3) as usize];
    let hardware_af = seed % 2 == 1;
    let smmu = [Some(ipa_bits), None, None, Some(32), Some(40), None][(seed % 6) as usize];
    let beyond = smmu == Some(32) && ipa_bits > 36;
    let second = if beyond { 0x12_0103 } else { 0x8_0103 };
    Shape {
        ipa_bits,
        pool,
        hardware_af,
        smmu,
        ram: [(0x4_0000, 2560), (second, 900)],
        ..Shape::default()
    }
}

fn run(seed: u64, calls: u64) {
    match run_seed::<StdSched>(Options {
        seed,
        calls,
        shape: shape(seed),
    }) {
        Ok(world) => {
            if number("WARD_TALLY", 0) == 1 {
                println!("{:#?}", world.inner().tally);
            }
        }
        Err(text) => panic!("{text}"),
    }
}

#[test]
fn lockstep() {
    let (steps, seed) = (number("WARD_STEPS", 20_000), number("WARD_SEED", 0));
    // Fresh machines now and then: the first steps of a machine are worth many of its last.
    let piece = 5_000;
    for n in 0..steps.div_ceil(piece) {
        run(seed + n, piece.min(steps - n * piece));
    }
}

#[test]
fn regressions() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions");
    for entry in std::fs::read_dir(dir).expect("the directory is there") {
        let path = entry.expect("it can be read").path();
        let text = std::fs::read_to_string(&path).expect("a seed file can be read");
        for line in text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        {
            let mut numbers = line
                .split_whitespace()
                .map(|word| word.parse().expect("a seed and a number of steps"));
            let (seed, steps) = (
                numbers.next().expect("a seed"),
                numbers.next().expect("steps"),
            );
            run(seed, steps);
        }
    }
}
