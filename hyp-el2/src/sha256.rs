//! SHA-256 with the CPU's own instructions, where it has them.

use sha2::block_api::compress256;

core::arch::global_asm!(include_str!("sha256.s"), options(raw));

unsafe extern "C" {
    /// Updates a SHA-256 state with `blocks` blocks of 64 bytes from `data`.
    fn ward_crypto_sha256_blocks(state: *mut [u32; 8], data: *const u8, blocks: usize);
}

/// Updates a SHA-256 state with whole blocks.
pub fn sha256_blocks(state: &mut [u32; 8], blocks: &[[u8; 64]]) {
    if has_sha2() {
        // SAFETY: `state` and `blocks` are valid for the 32 and 64 * `len` bytes accessed and do
        // not overlap, the CPU has the instructions, and Ward's entry and switch leave
        // CPTR_EL2.TFP (FPEN with E2H) clear while EL2 runs (DDI 0487 D24.2.34), so none traps.
        // The routine puts back every vector register it writes.
        unsafe { ward_crypto_sha256_blocks(state, blocks.as_ptr().cast(), blocks.len()) }
    } else {
        compress256(state, blocks);
    }
}

/// Does this CPU have SHA256H and its kin: ID_AA64ISAR0_EL1.SHA2, bits 15:12 (DDI 0487 D24.2.81)?
fn has_sha2() -> bool {
    let isar0: u64;
    // SAFETY: reads an identification register, which no trap of Ward's covers at EL2.
    unsafe {
        core::arch::asm!("mrs {}, ID_AA64ISAR0_EL1", out(reg) isar0, options(nomem, nostack, preserves_flags));
    }
    isar0 >> 12 & 0xf != 0
}
