//! The true random number service (DEN0098), on CPUs that have a source.

use super::guest_call::{Action, Args};
use crate::abi::smccc::trng;

/// TRNG_GET_UUID: Ward's back end.
pub const UUID: [u32; 4] = [0x57a7_d001, 0x41c0_8e5b, 0x93d6_2af4, 0x0b7e_c819];

const FUNCTIONS: [u32; 5] = [
    trng::VERSION,
    trng::FEATURES,
    trng::GET_UUID,
    trng::RND,
    trng::RND64,
];

/// Most bits that the 32-bit and the 64-bit form can return: three registers.
const MAX_BITS: u64 = 96;
const MAX_BITS64: u64 = 192;

/// What a call with function number `id` asks for, `None` if there is no such function.
pub fn decide(id: u32, args: Args) -> Option<Action> {
    let [a1, _, _] = args.0;
    match id {
        trng::VERSION => Some(Action::value(trng::V1_0)),
        trng::FEATURES => Some(if FUNCTIONS.contains(&(a1 as u32)) {
            Action::value(0)
        } else {
            Action::NotSupported
        }),
        trng::GET_UUID => Some(Action::Return(UUID.map(u64::from))),
        trng::RND => Some(request(a1, MAX_BITS, false)),
        trng::RND64 => Some(request(a1, MAX_BITS64, true)),
        _ => None,
    }
}

fn request(bits: u64, limit: u64, wide: bool) -> Action {
    if bits == 0 || bits > limit {
        return Action::value(trng::INVALID_PARAMETERS);
    }
    Action::Random {
        bits: bits as u8,
        wide,
    }
}

/// `x0..x3` of a TRNG_RND that was granted: status, then the bits, most significant register
/// first, those beyond `bits` zero (DEN0098 3.4). `source` is
/// [`Machine::random`](crate::Machine::random).
pub fn answer(bits: u8, wide: bool, mut source: impl FnMut() -> Option<u64>) -> [u64; 4] {
    let mut words = [0; 3];
    for (word, first) in words.iter_mut().zip([0, 64, 128]) {
        let wanted = u32::from(bits).saturating_sub(first).min(64);
        if wanted == 0 {
            break;
        }
        match source() {
            Some(random) => *word = random >> (64 - wanted),
            None => return [trng::NO_ENTROPY, 0, 0, 0],
        }
    }
    let [low, middle, high] = words;
    if wide {
        [0, high, middle, low]
    } else {
        [0, middle, low >> 32, low & 0xffff_ffff]
    }
}

#[cfg(test)]
mod tests;
