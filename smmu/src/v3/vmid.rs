//! Numbers that tell apart, in one SMMU's TLBs, whose translations an entry holds.
//!
//! Rule: a number is used again only after everything of it has been invalidated. [`Retired`],
//! which only [`Smmu::retire`](super::Smmu::retire) makes, is the proof.

/// A VMID of one SMMU. Not a VM's number: the SMMU may have fewer bits than the CPU.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Vmid(pub(super) u16);

impl Vmid {
    /// The host's default translation.
    pub const HOST: Vmid = Vmid(0);

    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// A VMID of which no TLB entry is left.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the number would be lost"]
pub struct Retired(pub(super) Vmid);

const WORDS: usize = 16;

/// The VMIDs of one SMMU that are in use: at most 1024, or as many as 8 bits have.
#[derive(Debug)]
pub struct Vmids {
    used: [u64; WORDS],
    count: u32,
}

impl Vmids {
    /// All but the host's are free.
    pub fn new(bits: u8) -> Self {
        let mut used = [0; WORDS];
        used[0] = 1;
        let count = (1 << bits.min(10)).min(WORDS as u32 * 64);
        Vmids { used, count }
    }

    /// A number that nobody uses, `None` when there is none left.
    pub fn take(&mut self) -> Option<Vmid> {
        let free = |n: &u32| self.used[*n as usize / 64] >> (n % 64) & 1 == 0;
        let n = (0..self.count).find(free)?;
        self.used[n as usize / 64] |= 1 << (n % 64);
        Some(Vmid(n as u16))
    }

    /// Makes a number free. The host's never is: its default translation needs one at all times.
    pub fn give_back(&mut self, retired: Retired) {
        let Retired(Vmid(n)) = retired;
        if n == Vmid::HOST.0 {
            return;
        }
        self.used[usize::from(n) / 64] &= !(1 << (n % 64));
    }
}
