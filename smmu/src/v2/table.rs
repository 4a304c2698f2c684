//! Every register of an SMMUv2 and what becomes of the host's accesses to it.
//!
//! The one table: the filter looks it up, the manual prints it, the tests walk it. What is in none
//! of its rows is refused.

use super::ident::{MOST, Shape};

/// Where a register is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// The first page: global register space 0.
    Global0,
    /// The second: global register space 1.
    Global1,
    /// The page of a context bank.
    Bank,
}

/// How many there are, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Each {
    /// One.
    One,
    /// One for each stream match group.
    Group,
    /// One for each context bank.
    Bank,
    /// A range of so many words, all treated alike.
    Words(u16),
}

/// What a read gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    /// What the register holds.
    Hardware,
    /// What Ward lets the host know of it.
    Identity,
    /// What the host wrote and was granted.
    Seen(View),
    /// Zero.
    Zero,
    /// Nothing.
    Refused(Reason),
}

/// What a write does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Write {
    /// Clears these where it is 1.
    Clear(Faults),
    /// Is checked; what is granted is kept for the host, the register gets Ward's value.
    Filter(View),
    /// Nothing, and need not: what it asks for is Ward's work, and done.
    Nothing,
    /// Nothing.
    Refused(Reason),
}

/// Faults that a register records, one a bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Faults {
    /// `sGFSR`.
    Global,
    /// `FSR`.
    Bank,
}

impl Faults {
    /// Their bits.
    pub const fn bits(self) -> u32 {
        match self {
            Faults::Global => 0x8000_01ff,
            Faults::Bank => 0xc000_01fe,
        }
    }
}

/// Registers of which the host has a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// `sCR0`.
    Control,
    /// `sCR2`.
    BypassVmid,
    /// `SMR`.
    Match,
    /// `S2CR`.
    Route,
    /// `CBAR`.
    Attributes,
    /// `CBA2R`.
    Attributes2,
    /// `SCTLR`.
    BankControl,
    /// `TTBR0`.
    Root,
    /// `TCR`.
    Shape,
}

/// Why an access is refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reason {
    /// It is not of 4 bytes, nor of 8 at a register of 64 bits.
    Size,
    /// It is not aligned to its size.
    Unaligned,
    /// No register that a host needs is there.
    Unknown,
    /// There are fewer groups or banks.
    Beyond,
    /// The bank or the stream is a VM's.
    Owner,
    /// It is a register of the secure state, or an alias of others for it.
    Secure,
    /// It would let a stream pass.
    Bypass,
    /// It is of stage 1, or would make a bank so.
    Stage1,
    /// It would make an address of memory known, or translate one.
    Oracle,
    /// Another group matches one of the streams.
    Overlap,
    /// A field has a value that Ward grants to nobody, or that is reserved.
    Field,
    /// It can't be written.
    ReadOnly,
    /// It can't be read.
    WriteOnly,
    /// It would forge what hardware recorded.
    Forged,
    /// Nothing waits: stalling is off.
    Stall,
    /// Counts what others' devices do.
    Counter,
    /// The SMMU does not do what it is told.
    Lost,
}

impl Reason {
    /// For an operator.
    pub const fn text(self) -> &'static str {
        match self {
            Reason::Size => "neither 4 bytes, nor 8 at a register of 64 bits",
            Reason::Unaligned => "not aligned to its size",
            Reason::Unknown => "no register that a host needs",
            Reason::Beyond => "there are fewer groups or banks",
            Reason::Owner => "the bank or stream is a guest's",
            Reason::Secure => "of the secure state",
            Reason::Bypass => "would let a stream pass",
            Reason::Stage1 => "of stage 1",
            Reason::Oracle => "would translate an address",
            Reason::Overlap => "another group matches one of the streams",
            Reason::Field => "a field has a value that is not granted",
            Reason::ReadOnly => "read only",
            Reason::WriteOnly => "write only",
            Reason::Forged => "would forge what hardware recorded",
            Reason::Stall => "nothing waits",
            Reason::Counter => "counts what others do",
            Reason::Lost => "the SMMU does not answer",
        }
    }
}

/// One register, or some that are treated alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// Where.
    pub space: Space,
    /// Offset in its page.
    pub at: u16,
    /// How many.
    pub each: Each,
    /// It has 64 bits: accessed whole or by halves.
    pub wide: bool,
    /// Reads.
    pub read: Read,
    /// Writes.
    pub write: Write,
    /// For readers of the manual; there is none in the image.
    pub text: Text,
}

/// What a row says to a reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Text {
    /// The register, as IHI 0062 has it.
    #[cfg(test)]
    pub name: &'static str,
    /// The rule.
    #[cfg(test)]
    pub rule: &'static str,
}

impl Row {
    /// Bytes from the first to the last.
    pub const fn bytes(&self) -> u16 {
        match self.each {
            Each::One => {
                if self.wide {
                    8
                } else {
                    4
                }
            }
            Each::Group | Each::Bank => 4 * MOST as u16,
            Each::Words(words) => 4 * words,
        }
    }

    /// Is the offset one of its bytes?
    pub const fn contains(&self, space: Space, offset: u16) -> bool {
        self.space as u8 == space as u8 && self.at <= offset && offset - self.at < self.bytes()
    }
}

/// Where an access goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The register.
    pub row: &'static Row,
    /// Of which group or bank.
    pub index: u8,
    /// The upper half of a wide register.
    pub upper: bool,
}

/// The register at an offset from the SMMU's base, `None` if there is none that a row names.
pub fn find(shape: &Shape, offset: u64) -> Option<Place> {
    let page = offset >> shape.page_shift;
    // A page of 64 KiB at most.
    let within = (offset & ((1 << shape.page_shift) - 1)) as u16;
    let first = u64::from(shape.pages);
    let (space, bank) = match page {
        0 => (Space::Global0, 0),
        1 => (Space::Global1, 0),
        _ if (first..first + u64::from(shape.banks)).contains(&page) => {
            (Space::Bank, (page - first) as u8)
        }
        _ => return None,
    };
    let row = TABLE.iter().find(|row| row.contains(space, within))?;
    let into = within - row.at;
    let index = match row.each {
        Each::Group | Each::Bank => (into / 4) as u8,
        Each::One | Each::Words(_) => bank,
    };
    Some(Place {
        row,
        index,
        upper: row.wide && into >= 4,
    })
}

const fn row(
    space: Space,
    at: u16,
    name: &'static str,
    read: Read,
    write: Write,
    rule: &'static str,
) -> Row {
    #[cfg(not(test))]
    let _ = (name, rule);
    Row {
        space,
        at,
        each: Each::One,
        wide: false,
        read,
        write,
        text: Text {
            #[cfg(test)]
            name,
            #[cfg(test)]
            rule,
        },
    }
}

const fn closed(space: Space, at: u16, name: &'static str, why: Reason) -> Row {
    row(space, at, name, Read::Refused(why), Write::Refused(why), "")
}

const fn command(space: Space, at: u16, name: &'static str) -> Row {
    let rule = "Ward forgets what it unmaps before its call returns";
    let read = Read::Refused(Reason::WriteOnly);
    row(space, at, name, read, Write::Nothing, rule)
}

const fn recorded(space: Space, at: u16, name: &'static str, write: Reason) -> Row {
    row(space, at, name, Read::Hardware, Write::Refused(write), "")
}

impl Row {
    const fn wide(self) -> Row {
        Row { wide: true, ..self }
    }

    const fn each(self, each: Each) -> Row {
        Row { each, ..self }
    }
}

use Space::{Bank, Global0, Global1};

const ATTRIBUTES_KEPT: &str = "Ward's: an MMU-500's prefetch stays off";
const IDENTITY: Write = Write::Refused(Reason::ReadOnly);

/// All registers.
pub static TABLE: &[Row] = &[
    row(Global0, 0x000, "sCR0", Read::Seen(View::Control), Write::Filter(View::Control),
        "GFRE, GFIE, GCFGFRE, GCFGFIE are the host's; CLIENTPD stays 0, USFCFG, SMCFCFG, STALLD, VMIDPNE, PTM stay 1, all else stays 0"),
    closed(Global0, 0x004, "SCR1", Reason::Secure),
    row(Global0, 0x008, "sCR2", Read::Seen(View::BypassVmid), Write::Filter(View::BypassVmid),
        "only 0: nothing is in bypass, with whatever VMID"),
    row(Global0, 0x010, "sACR", Read::Hardware, Write::Nothing, ATTRIBUTES_KEPT),
    row(Global0, 0x020, "IDR0 to IDR7", Read::Identity, IDENTITY,
        "shown: stage 2 alone, 64-bit tables of 4 KiB pages, 8-bit VMIDs, the host's groups and banks").each(Each::Words(8)),
    recorded(Global0, 0x040, "sGFAR", Reason::Forged).wide(),
    row(Global0, 0x048, "sGFSR", Read::Hardware, Write::Clear(Faults::Global), ""),
    closed(Global0, 0x04c, "sGFSRRESTORE", Reason::Forged),
    recorded(Global0, 0x050, "sGFSYNR0 to sGFSYNR2", Reason::Forged).each(Each::Words(3)),
    closed(Global0, 0x060, "STLBIALL", Reason::Secure),
    command(Global0, 0x064, "TLBIVMID"),
    command(Global0, 0x068, "TLBIALLNSNH"),
    command(Global0, 0x06c, "TLBIALLH"),
    command(Global0, 0x070, "sTLBGSYNC"),
    row(Global0, 0x074, "sTLBGSTATUS", Read::Zero, IDENTITY, "always done"),
    command(Global0, 0x078, "TLBIVAH").wide(),
    closed(Global0, 0x0a0, "STLBIVALM, STLBIVAM", Reason::Secure).each(Each::Words(4)),
    command(Global0, 0x0b0, "TLBIVALH64").wide(),
    command(Global0, 0x0b8, "TLBIVMIDS1"),
    closed(Global0, 0x0bc, "STLBIALLM", Reason::Secure),
    command(Global0, 0x0c0, "TLBIVAH64").wide(),
    closed(Global0, 0x100, "sGATS1UR to sGATS12PW", Reason::Oracle).each(Each::Words(16)),
    closed(Global0, 0x180, "sGPAR, sGATSR", Reason::Oracle).each(Each::Words(3)),
    closed(Global0, 0x400, "NSCR0 and all other aliases of the non-secure registers", Reason::Secure).each(Each::Words(256)),
    row(Global0, 0x800, "SMR", Read::Seen(View::Match), Write::Filter(View::Match),
        "valid: no stream of a VM's, none that another group matches. In effect only with an `S2CR` that may be").each(Each::Group),
    row(Global0, 0xc00, "S2CR", Read::Seen(View::Route), Write::Filter(View::Route),
        "to fault: granted. To a bank: if it is the host's or nobody's, and in effect while it is the host's. Bypass: the bank of the host's own memory if there is one, else refused. Attributes are dropped, 16-bit streams refused").each(Each::Group),
    recorded(Global0, 0xfd0, "PIDR4 to CIDR3", Reason::ReadOnly).each(Each::Words(12)),

    row(Global1, 0x000, "CBAR", Read::Seen(View::Attributes), Write::Filter(View::Attributes),
        "type 0 (stage 2 alone) and a VMID that is only read back; all above must be 0").each(Each::Bank),
    recorded(Global1, 0x400, "CBFRSYNRA", Reason::Forged).each(Each::Bank),
    row(Global1, 0x800, "CBA2R", Read::Seen(View::Attributes2), Write::Filter(View::Attributes2),
        "VA64 must be 1; a VMID is only read back").each(Each::Bank),

    row(Bank, 0x000, "SCTLR", Read::Seen(View::BankControl), Write::Filter(View::BankControl),
        "CFIE is the host's; M, AFE, AFFD, CFRE, HUPCF stay 1, all else stays 0. Read back as written"),
    row(Bank, 0x004, "ACTLR", Read::Hardware, Write::Nothing, ATTRIBUTES_KEPT),
    closed(Bank, 0x008, "RESUME", Reason::Stall),
    closed(Bank, 0x010, "TCR2", Reason::Stage1),
    row(Bank, 0x020, "TTBR0", Read::Seen(View::Root), Write::Filter(View::Root),
        "only read back, whole and by halves: the register holds Ward's").wide(),
    closed(Bank, 0x028, "TTBR1", Reason::Stage1).wide(),
    row(Bank, 0x030, "TCR", Read::Seen(View::Shape), Write::Filter(View::Shape),
        "only read back: the register holds Ward's"),
    closed(Bank, 0x034, "CONTEXTIDR", Reason::Stage1),
    closed(Bank, 0x038, "MAIR0, MAIR1", Reason::Stage1).each(Each::Words(2)),
    closed(Bank, 0x050, "PAR", Reason::Oracle).wide(),
    row(Bank, 0x058, "FSR", Read::Hardware, Write::Clear(Faults::Bank), ""),
    closed(Bank, 0x05c, "FSRRESTORE", Reason::Forged),
    recorded(Bank, 0x060, "FAR", Reason::Forged).wide(),
    recorded(Bank, 0x068, "FSYNR0, FSYNR1", Reason::Forged).each(Each::Words(2)),
    recorded(Bank, 0x070, "IPAFAR", Reason::Forged).wide(),
    command(Bank, 0x600, "TLBIVA").wide(),
    command(Bank, 0x608, "TLBIVAA").wide(),
    command(Bank, 0x610, "TLBIASID"),
    command(Bank, 0x618, "TLBIALL"),
    command(Bank, 0x620, "TLBIVAL").wide(),
    command(Bank, 0x628, "TLBIVAAL").wide(),
    command(Bank, 0x630, "TLBIIPAS2").wide(),
    command(Bank, 0x638, "TLBIIPAS2L").wide(),
    command(Bank, 0x7f0, "TLBSYNC"),
    row(Bank, 0x7f4, "TLBSTATUS", Read::Zero, IDENTITY, "always done"),
    closed(Bank, 0x800, "ATS1PR to ATS1UW", Reason::Oracle).each(Each::Words(8)),
    closed(Bank, 0x8f0, "ATSR", Reason::Oracle),
    closed(Bank, 0xe00, "PMEVCNTR to PMAUTHSTATUS", Reason::Counter).each(Each::Words(128)),
];
