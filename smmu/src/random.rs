//! Numbers for tests that try sequences: repeatable, and good enough in their upper bits.

/// The next number below `below`; `state` begins as any seed.
pub(crate) fn pick(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
    (*state >> 33) % below
}
