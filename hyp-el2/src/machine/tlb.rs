//! TLB invalidation by VMID (DDI 0487 D8.17).
//!
//! The operations act on the VMID in `VTTBR_EL2`; for another VM's it is there for the time of
//! the operation, with EL1's walks forbidden (a speculative AT must not walk this VM's stage 1
//! through that VM's stage 2). EL2 runs on, its own regime is not concerned.

use crate::cpu::{dsb_ish, dsb_ishst, get, isb, set};
use crate::switch::NO_WALKS;
use core::arch::asm;
use hyp_core::addr::{Ipa, Size, VmId};
use hyp_core::machine::TlbScope;

const VMID_SHIFT: u32 = 48;

/// Removes translations of `vm` from all CPUs' TLBs, after this CPU's earlier table writes.
pub(super) fn invalidate(vm: VmId, scope: TlbScope) {
    dsb_ishst();
    if cfg!(ward_without = "invalidation") {
        return;
    }
    let current = get!("vttbr_el2");
    if current >> VMID_SHIFT == u64::from(vm.0) {
        operate(scope);
        isb();
        return;
    }
    let tcr = get!("tcr_el1");
    set!("tcr_el1", tcr | NO_WALKS);
    isb();
    // The table does not matter: no walk uses it before the old value is back.
    set!("vttbr_el2", u64::from(vm.0) << VMID_SHIFT);
    isb();
    operate(scope);
    set!("vttbr_el2", current);
    isb();
    set!("tcr_el1", tcr);
    isb();
}

fn operate(scope: TlbScope) {
    match scope {
        TlbScope::Leaf(ipa, Size::Page) => leaf(ipa),
        // A block may stand where pages stood before (a merge), and all of those must go.
        TlbScope::Leaf(..) | TlbScope::All => {
            // SAFETY: TLB maintenance only makes the CPU walk again.
            unsafe { asm!("tlbi vmalls12e1is", options(nostack, preserves_flags)) }
            dsb_ish();
        }
    }
}

/// Stage 2 of one IPA, then the combined translations of both stages, which are cached by
/// virtual address: without their address all of the VMID's go.
fn leaf(ipa: Ipa) {
    let operand = ipa.page_number();
    // SAFETY: as above.
    unsafe { asm!("tlbi ipas2e1is, {}", in(reg) operand, options(nostack, preserves_flags)) }
    dsb_ish();
    // SAFETY: as above.
    unsafe { asm!("tlbi vmalle1is", options(nostack, preserves_flags)) }
    dsb_ish();
}

/// Removes everything of EL1 and EL0, whoever's, on every CPU.
pub(crate) fn invalidate_everything() {
    dsb_ishst();
    // SAFETY: as above.
    unsafe { asm!("tlbi alle1is", options(nostack, preserves_flags)) }
    dsb_ish();
    isb();
}
