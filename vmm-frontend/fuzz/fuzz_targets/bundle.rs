#![no_main]

#[allow(dead_code, reason = "each target uses one of them")]
#[path = "../../tests/mutated/entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entries::bundle(bytes));
