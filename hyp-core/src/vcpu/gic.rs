//! What of the interrupt state a host asks for reaches the virtual CPU interface (IHI 0069 12.4).
//!
//! A list register can name a physical interrupt that the guest then deactivates: only the virtual
//! timer's is a guest's to deactivate. Combinations that the architecture calls UNPREDICTABLE do
//! not reach hardware.

mod common;
pub use common::{Common, Interface};

use crate::abi::MAX_LIST_REGISTERS;
use crate::abi::run::Gic;
use core::mem::offset_of;

/// `ICH_HCR_EL2`: En to VGrp1DIE, vSGIEOICount, TC, TDIR and EOIcount. Not TALL0, TALL1 and TSEI:
/// they trap registers that nobody emulates. Not DVIM: Ward has no direct injection.
const HCR: u64 = 0xff | 1 << 8 | 1 << 10 | 1 << 14 | 0x1f << 27;
/// `ICH_VMCR_EL2`: VPMR, VBPR0, VBPR1, VEOIM, VCBPR, VFIQEn, VAckCtl, VENG1, VENG0.
const VMCR: u64 = 0xffff_ffff & !(0xff << 10) & !(0xf << 5);
/// `ICH_AP0R<n>_EL2`, `ICH_AP1R<n>_EL2`.
const ACTIVE_PRIORITIES: u64 = 0xffff_ffff;

/// What of the machine decides about a request.
#[derive(Clone, Copy, Debug)]
pub struct Hardware {
    /// List registers of its CPUs.
    pub list_registers: usize,
    /// INTID of the virtual timer's interrupt.
    pub virtual_timer: u64,
}

const LR_VINTID: u64 = 0xffff_ffff;
const LR_PINTID_SHIFT: u32 = 32;
const LR_PINTID: u64 = 0x1fff << LR_PINTID_SHIFT;
/// With HW clear, the one bit of pINTID that means something: maintenance interrupt at EOI.
const LR_EOI: u64 = 1 << 41;
const LR_PRIORITY: u64 = 0xff << 48;
const LR_GROUP: u64 = 1 << 60;
const LR_HW: u64 = 1 << 61;
const LR_PENDING: u64 = 1 << 62;
const LR_ACTIVE: u64 = 1 << 63;
const LR_STATE: u64 = LR_PENDING | LR_ACTIVE;

/// INTIDs of SGIs, PPIs and SPIs end here; four special ones follow.
const INTERRUPTS: u64 = 1020;
/// INTIDs of LPIs, as wide as every implementation has them.
const LPIS: core::ops::Range<u64> = 8192..0x1_0000;

/// The vCPU's `gic` becomes what the host asks for, in a form that may be loaded on a CPU with
/// this many list registers. `read` copies words of the host's request, from a byte offset in its
/// [`Gic`]; no word is read twice. A protected guest's own registers (priority mask, enables,
/// active priorities) stay as they were left: they are not the host's, and not read. List
/// registers from [`Gic::used`] on are zero, before and after.
pub fn take(gic: &mut Gic, protected: bool, hardware: Hardware, read: impl Fn(usize, &mut [u64])) {
    let mut head = [0; 3];
    read(0, &mut head);
    let [hcr, vmcr, used] = head;
    if !protected {
        gic.vmcr = vmcr;
        read(offset_of!(Gic, ap0r), &mut gic.ap0r);
        read(offset_of!(Gic, ap1r), &mut gic.ap1r);
        for (word0, word1) in gic.ap0r.iter_mut().zip(&mut gic.ap1r) {
            *word0 &= ACTIVE_PRIORITIES;
            *word1 &= ACTIVE_PRIORITIES;
        }
    }
    let limit = MAX_LIST_REGISTERS.min(hardware.list_registers);
    let used = usize::try_from(used).map_or(limit, |used| used.min(limit));
    let before = usize::try_from(gic.used).unwrap_or(MAX_LIST_REGISTERS);
    for left in gic.lr.iter_mut().take(before).skip(used) {
        *left = 0;
    }
    read(offset_of!(Gic, lr), &mut gic.lr[..used]);
    for at in 0..used {
        let (earlier, rest) = gic.lr.split_at_mut(at);
        if let Some(lr) = rest.first_mut().filter(|lr| **lr != 0) {
            *lr = beside(earlier, list_register(*lr, hardware.virtual_timer));
        }
    }
    gic.used = used as u64;
    gic.hcr = hcr & HCR;
    gic.vmcr &= VMCR;
}

/// A list register, or what of it may stand after earlier ones.
fn beside(earlier: &[u64], lr: u64) -> u64 {
    if conflicts(earlier, lr) {
        0
    } else {
        without_second_hardware(earlier, lr)
    }
}

/// One list register in a legal form; zero if it names no interrupt.
fn list_register(lr: u64, virtual_timer: u64) -> u64 {
    let vintid = lr & LR_VINTID;
    if vintid >= INTERRUPTS && !LPIS.contains(&vintid) {
        return 0;
    }
    let kept = lr & (LR_VINTID | LR_PRIORITY | LR_GROUP | LR_STATE);
    let pintid = (lr & LR_PINTID) >> LR_PINTID_SHIFT;
    if lr & LR_HW != 0 && pintid == virtual_timer {
        // The distributor holds "active and pending" of a hardware interrupt.
        let state = if lr & LR_ACTIVE != 0 { LR_PENDING } else { 0 };
        kept & !state | LR_HW | lr & LR_PINTID
    } else if lr & LR_HW != 0 {
        kept
    } else {
        kept | lr & LR_EOI
    }
}

/// Is its interrupt in an earlier list register already? Inactive ones count for nothing.
fn conflicts(earlier: &[u64], lr: u64) -> bool {
    let same = |other: &u64| other & LR_STATE != 0 && other & LR_VINTID == lr & LR_VINTID;
    lr & LR_STATE != 0 && earlier.iter().any(same)
}

/// One list register stands for the physical interrupt; a further one becomes software's.
fn without_second_hardware(earlier: &[u64], lr: u64) -> u64 {
    if lr & LR_HW != 0 && earlier.iter().any(|other| other & LR_HW != 0) {
        lr & !(LR_HW | LR_PINTID)
    } else {
        lr
    }
}

#[cfg(test)]
mod tests;
