//! Commands (IHI 0070, chapter 4). Only those that Ward sends exist.

use super::{StreamId, Vmid};

/// One entry of the command queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Command(pub [u64; 2]);

pub(super) const CFGI_STE: u64 = 0x03;
pub(super) const CFGI_ALL: u64 = 0x04;
pub(super) const TLBI_EL2_ALL: u64 = 0x20;
pub(super) const TLBI_S12_VMALL: u64 = 0x28;
pub(super) const TLBI_S2_IPA: u64 = 0x2a;
pub(super) const TLBI_NSNH_ALL: u64 = 0x30;
pub(super) const SYNC: u64 = 0x46;

/// `TG`: tables of 4 KiB granules, which also says that the command names a range.
const TG_4K: u64 = 0b01 << 10;

impl Command {
    /// The code that says what the command does.
    pub const fn opcode(self) -> u8 {
        self.0[0] as u8
    }

    /// Forgets the entry of one stream and, unless `leaf`, the way to it (4.3.1).
    pub const fn config(stream: StreamId, leaf: bool) -> Self {
        Command([CFGI_STE | (stream.0 as u64) << 32, leaf as u64])
    }

    /// Forgets all configuration (4.3.3): `CFGI_STE_RANGE` of all streams.
    pub const fn config_all() -> Self {
        Command([CFGI_ALL, 31])
    }

    /// Forgets all translations of one VMID, of both stages (4.4.3.2).
    pub const fn all_of(vmid: Vmid) -> Self {
        Command([TLBI_S12_VMALL | (vmid.0 as u64) << 32, 0])
    }

    /// Forgets all translations, but those of EL2 (4.4.4.1).
    pub const fn all() -> Self {
        Command([TLBI_NSNH_ALL, 0])
    }

    /// Forgets the translations of EL2; an error where there are none (4.4.2.7).
    pub const fn all_of_el2() -> Self {
        Command([TLBI_EL2_ALL, 0])
    }

    /// Forgets stage 2 of the leaf around an address, of any size, and the walk to it (4.4.3.1).
    pub const fn leaf(vmid: Vmid, ipa: u64) -> Self {
        let address = ipa & 0x000f_ffff_ffff_f000;
        Command([TLBI_S2_IPA | (vmid.0 as u64) << 32, address])
    }

    /// Forgets stage 2 of `(num + 1) << scale` pages from an address on, leaves of any size and
    /// the walks to them (4.4.1.1). `num` is less than 32, `scale` less than 32, not both 0:
    /// that means something else.
    pub const fn range(vmid: Vmid, ipa: u64, num: u64, scale: u64) -> Self {
        let Command([first, second]) = Command::leaf(vmid, ipa);
        Command([first | num << 12 | scale << 20, second | TG_4K])
    }

    /// Is consumed when everything before it is complete; signals nothing (4.7.3).
    pub const fn sync() -> Self {
        Command([SYNC, 0])
    }
}
