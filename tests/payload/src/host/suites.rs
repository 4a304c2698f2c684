//! The suites of tests, and the words of the boot arguments that choose them.

mod addresses;
mod build;
mod calls;
mod cpus;
mod dma;
mod fuzz;
mod guest;
mod isolation;
mod machine;
mod normal;
mod smp;
mod soak;
mod states;

use super::env::Env;
use super::{bench, calls as call, demo, tally};
use hyp_core::abi::Call;
use hyp_core::abi::VERSION;

/// Name and tests of each suite of `all`.
const SUITES: &[(&str, &[tally::Test])] = &[
    ("machine", machine::TESTS),
    ("calls", calls::TESTS),
    ("normal", normal::TESTS),
    ("build", build::TESTS),
    ("addresses", addresses::TESTS),
    ("states", states::TESTS),
    ("isolation", isolation::TESTS),
    ("guest", guest::TESTS),
    ("smp", smp::TESTS),
    ("cpus", cpus::TESTS),
    ("fuzz", fuzz::TESTS),
    ("soak", soak::TESTS),
];

/// Does what the boot arguments say.
///
/// # Panics
/// When there is no Ward.
pub(crate) fn run_words(env: &Env) {
    let version = call::host_call(Call::Version, &[]).map(|reply| reply.x1);
    assert!(
        version == Ok(u64::from(VERSION)),
        "Ward's version is {version:x?}, not {VERSION:#x}"
    );
    let words = || {
        env.board
            .bootargs
            .split(' ')
            .filter(|word| !word.is_empty())
    };
    let value = |name: &str| words().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let has = |name: &str| words().any(|word| word == name);
    if has("demo") {
        return demo::run(env);
    }
    if has("bench") {
        return bench::run(env);
    }
    if has("soak") || value("soak").is_some() {
        soak::set_rounds(
            value("soak")
                .and_then(|text| text.parse().ok())
                .unwrap_or(1000),
        );
        tally::run(env, "soak", soak::TESTS);
    }
    if let Some(text) = value("fuzz") {
        let (calls, seed) = text.split_once(',').unwrap_or((text, "1"));
        fuzz::set(calls.parse().unwrap_or(0), seed.parse().unwrap_or(1));
        tally::run(env, "fuzz", fuzz::TESTS);
    }
    let chosen = value("suite").unwrap_or(if has("all") { "all" } else { "" });
    for (name, tests) in SUITES {
        if chosen == "all" || chosen.split(',').any(|one| one == *name) {
            tally::run(env, name, tests);
        }
    }
    if has("dma") {
        dma::run(env);
    }
    tally::print_total();
}
