//! What an event record says (IHI 0070, 7.3): which stream was stopped, where, and why.

use super::StreamId;
use crate::report::Report;

/// Words of a record.
pub(super) const WORDS: usize = 4;

/// Why an access was ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// `F_UUT`: the SMMU does not understand the access.
    Unsupported,
    /// `C_BAD_STREAMID`: no entry for the stream.
    BadStream,
    /// `F_STE_FETCH`: the entry could not be read.
    EntryFetch,
    /// `C_BAD_STE`: the entry is not valid: nobody gave the device anything.
    NotConfigured,
    /// `F_BAD_ATS_TREQ` or `F_TRANSL_FORBIDDEN`: ATS, which is refused.
    Ats,
    /// `C_BAD_SUBSTREAMID`, `F_STREAM_DISABLED`, `F_CD_FETCH`, `C_BAD_CD`: stage 1, of the owner.
    Stage1,
    /// `F_WALK_EABT`: a table could not be read.
    WalkAbort,
    /// `F_TRANSLATION`: nothing is mapped there.
    Translation,
    /// `F_ADDR_SIZE`: an address too large.
    AddressSize,
    /// `F_ACCESS`: the access flag.
    AccessFlag,
    /// `F_PERMISSION`: mapped, but not for this.
    Permission,
    /// `F_TLB_CONFLICT` or `F_CFG_CONFLICT`: two cached entries for one thing. A bug of Ward's:
    /// a change without break before make.
    Conflict,
    /// A code that Ward does not know.
    Other(u8),
}

/// For what the SMMU made the access that was stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// To read a context descriptor.
    ContextDescriptor,
    /// To read a table of stage 1.
    Table,
    /// For the device.
    Input,
    /// Reserved.
    Reserved,
}

/// One record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Who.
    pub stream: StreamId,
    /// Within the device, where it says so.
    pub substream: Option<u32>,
    /// Why.
    pub reason: Reason,
    /// The address that the device sent; `None` where the record has none.
    pub address: Option<u64>,
    /// It was a read, not a write; `None` where the record does not say.
    pub read: Option<bool>,
    /// For what; `None` but for faults of translation.
    pub class: Option<Class>,
    /// The page of stage 2 that was not there; `None` where stage 2 was not at fault.
    pub ipa: Option<u64>,
    /// The access waits. Ward configures no stream so; it would have to be ended by hand.
    pub stalled: bool,
}

const fn bit(word: u64, at: u32) -> bool {
    word >> at & 1 == 1
}

impl Event {
    /// Decodes a record. Any four words are some event.
    pub fn decode(words: [u64; WORDS]) -> Self {
        let [head, flags, address, last] = words;
        let code = head as u8;
        // 7.3.13 to 7.3.16: faults of translation; 7.3.12 has their form but for the IPA.
        let translation = matches!(code, 0x10..=0x13);
        let walk = code == 0x0b;
        let addressed = translation || walk || matches!(code, 0x01 | 0x05 | 0x07 | 0x20);
        let directed = translation || walk || matches!(code, 0x01 | 0x07);
        let stage2 = bit(flags, 39);
        Event {
            stream: StreamId((head >> 32) as u32),
            substream: bit(head, 11).then_some((head >> 12) as u32 & 0xf_ffff),
            reason: reason(code),
            address: addressed.then_some(address),
            read: directed.then(|| bit(flags, 35)),
            class: (translation || walk).then(|| class(flags)),
            ipa: (translation && stage2).then_some(last & 0x000f_ffff_ffff_f000),
            stalled: translation && bit(flags, 31),
        }
    }
}

impl Reason {
    /// For an operator.
    pub const fn text(self) -> &'static str {
        match self {
            Reason::Unsupported => "the SMMU does not know this kind of access",
            Reason::BadStream => "there is no such stream",
            Reason::EntryFetch => "its entry could not be read",
            Reason::NotConfigured => "it belongs to nobody",
            Reason::Ats => "devices do not translate for themselves here",
            Reason::Stage1 => "its stage 1 is wrong",
            Reason::WalkAbort => "a table could not be read",
            Reason::Translation => "nothing is mapped there",
            Reason::AddressSize => "the address is too large",
            Reason::AccessFlag => "the access flag is not set",
            Reason::Permission => "it is mapped, but not for this",
            Reason::Conflict => "two translations for one address: a bug of Ward's",
            Reason::Other(_) => "for a reason that Ward does not know",
        }
    }
}

impl Event {
    /// For an operator.
    pub const fn report(&self) -> Report {
        Report {
            stream: self.stream.0,
            address: self.address,
            write: match self.read {
                Some(read) => Some(!read),
                None => None,
            },
            why: self.reason.text(),
        }
    }
}

const fn class(flags: u64) -> Class {
    match flags >> 40 & 3 {
        0 => Class::ContextDescriptor,
        1 => Class::Table,
        2 => Class::Input,
        _ => Class::Reserved,
    }
}

const fn reason(code: u8) -> Reason {
    match code {
        0x01 => Reason::Unsupported,
        0x02 => Reason::BadStream,
        0x03 => Reason::EntryFetch,
        0x04 => Reason::NotConfigured,
        0x05 | 0x07 => Reason::Ats,
        0x06 | 0x08 | 0x09 | 0x0a => Reason::Stage1,
        0x0b => Reason::WalkAbort,
        0x10 => Reason::Translation,
        0x11 => Reason::AddressSize,
        0x12 => Reason::AccessFlag,
        0x13 => Reason::Permission,
        0x20 | 0x21 => Reason::Conflict,
        other => Reason::Other(other),
    }
}
