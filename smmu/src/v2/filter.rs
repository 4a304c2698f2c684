//! An access of the host's: read, kept, changed or refused, never more than that.

use super::register;
use super::table::{Each, Place, Read, Reason, Space, View, Write, find};
use super::{Hardware, Owner, Smmu, ident};

/// What the host tried. Not yet checked in any way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// From the base of the SMMU's registers.
    pub offset: u64,
    /// 1, 2, 4 or 8; anything else is refused too.
    pub bytes: u8,
    /// Which way.
    pub direction: Direction,
}

/// Which way an access goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// To the host.
    Read,
    /// From the host, with this value; what is beyond the size does not count.
    Write(u64),
}

/// What came of it. In any case the host goes on behind its instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The value read.
    Value(u64),
    /// A write that was granted, or needs nothing done.
    Done,
    /// It changed nothing. A read gets zero.
    Refused(Reason),
}

impl Answer {
    /// What the host's register gets, if it reads.
    pub const fn value(&self) -> u64 {
        match self {
            Answer::Value(value) => *value,
            Answer::Done | Answer::Refused(_) => 0,
        }
    }
}

impl Smmu {
    /// Answers one access of the host's.
    pub fn access<H: Hardware>(&mut self, hw: &H, access: &Access) -> Answer {
        if !matches!(access.bytes, 4 | 8) {
            return Answer::Refused(Reason::Size);
        }
        if !access.offset.is_multiple_of(access.bytes.into()) {
            return Answer::Refused(Reason::Unaligned);
        }
        if access.offset >= self.shape.bytes() {
            return Answer::Refused(Reason::Unknown);
        }
        let Some(place) = find(&self.shape, access.offset) else {
            return Answer::Refused(Reason::Unknown);
        };
        let answer = self.check(&place, access.bytes).and_then(|()| {
            // Within the window, whose size fits.
            let offset = access.offset as u32;
            match access.direction {
                Direction::Read => self.read(hw, &place, offset, access.bytes),
                Direction::Write(value) => {
                    let value = if access.bytes == 4 {
                        value as u32 as u64
                    } else {
                        value
                    };
                    self.write(hw, &place, offset, access.bytes, value)?;
                    Ok(Answer::Done)
                }
            }
        });
        answer.unwrap_or_else(Answer::Refused)
    }

    /// Is there such a register, of this size, and is it the host's?
    fn check(&self, place: &Place, bytes: u8) -> Result<(), Reason> {
        if bytes == 8 && !place.row.wide {
            return Err(Reason::Size);
        }
        let banked = place.row.space == Space::Bank || place.row.each == Each::Bank;
        if banked {
            if place.index >= self.host_banks() {
                return Err(Reason::Beyond);
            }
            if let Some(Owner::Vm(_)) = self.owner(place.index) {
                return Err(Reason::Owner);
            }
        }
        if place.row.each == Each::Group && place.index >= self.host_groups() {
            return Err(Reason::Beyond);
        }
        Ok(())
    }

    fn read<H: Hardware>(
        &self,
        hw: &H,
        place: &Place,
        offset: u32,
        bytes: u8,
    ) -> Result<Answer, Reason> {
        let word = match place.row.read {
            Read::Refused(reason) => return Err(reason),
            Read::Zero => 0,
            Read::Hardware if bytes == 8 => {
                let low = hw.read32(offset);
                u64::from(hw.read32(offset + 4)) << 32 | u64::from(low)
            }
            Read::Hardware => hw.read32(offset).into(),
            Read::Identity => {
                let number = (offset - u32::from(place.row.at)) / 4;
                let value = hw.read32(offset);
                ident::shown(number, value, self.host_groups(), self.host_banks()).into()
            }
            Read::Seen(view) => {
                let whole = self.seen(hw, view, usize::from(place.index));
                match (bytes, place.upper) {
                    (8, _) => whole,
                    (_, true) => whole >> 32,
                    (_, false) => whole & 0xffff_ffff,
                }
            }
        };
        Ok(Answer::Value(word))
    }

    fn seen<H: Hardware>(&self, hw: &H, view: View, n: usize) -> u64 {
        let word = match view {
            View::Root => return self.banks[n].view.root,
            // All of it is Ward's or granted.
            View::Control => hw.read32(register::CR0),
            View::BypassVmid => 0,
            View::Match => self.groups[n].matches,
            View::Route => self.groups[n].route,
            View::Attributes => self.banks[n].view.attributes,
            View::Attributes2 => self.banks[n].view.attributes2,
            View::BankControl => self.banks[n].view.control,
            View::Shape => self.banks[n].view.shape,
        };
        word.into()
    }

    fn write<H: Hardware>(
        &mut self,
        hw: &H,
        place: &Place,
        offset: u32,
        bytes: u8,
        value: u64,
    ) -> Result<(), Reason> {
        match place.row.write {
            Write::Refused(reason) => Err(reason),
            Write::Nothing => Ok(()),
            _ if self.lost => Err(Reason::Lost),
            Write::Clear(faults) => {
                hw.write32(offset, value as u32 & faults.bits());
                Ok(())
            }
            Write::Filter(View::Root) => {
                let root = &mut self.banks[usize::from(place.index)].view.root;
                *root = match (bytes, place.upper) {
                    (8, _) => value,
                    (_, true) => *root & 0xffff_ffff | value << 32,
                    (_, false) => *root & !0xffff_ffff | value,
                };
                Ok(())
            }
            Write::Filter(view) => self.filter(hw, view, place.index, value as u32),
        }
    }

    fn filter<H: Hardware>(
        &mut self,
        hw: &H,
        view: View,
        index: u8,
        value: u32,
    ) -> Result<(), Reason> {
        let n = usize::from(index);
        match view {
            View::Control => {
                let granted = value & register::CR0_REPORTS;
                hw.write32(register::CR0, register::CR0_FIXED | granted);
            }
            View::BypassVmid if value == 0 => {}
            View::BypassVmid => return Err(Reason::Field),
            View::Match => return self.set_match(hw, index, value),
            View::Route => return self.set_route(hw, index, value),
            View::Attributes if value & register::CBAR_NOT_STAGE2 != 0 => {
                return Err(Reason::Stage1);
            }
            View::Attributes => self.banks[n].view.attributes = value & 0xff,
            View::Attributes2 if value & 0xffff != register::CBA2R_VA64 => {
                return Err(Reason::Field);
            }
            View::Attributes2 => self.banks[n].view.attributes2 = value,
            View::BankControl => {
                self.banks[n].view.control = value;
                self.write_control(hw, index);
            }
            View::Shape => self.banks[n].view.shape = value,
            // Has 64 bits and is written elsewhere.
            View::Root => {}
        }
        Ok(())
    }

    fn set_match<H: Hardware>(&mut self, hw: &H, group: u8, value: u32) -> Result<(), Reason> {
        let streams = self.shape.streams();
        let matches = value & (register::SMR_VALID | streams << 16 | streams);
        if matches & register::SMR_VALID != 0 {
            if self.reaches_given(matches) {
                return Err(Reason::Owner);
            }
            let hosts = self.groups[..usize::from(self.host_groups())].iter();
            let overlaps = |(n, other): (usize, &super::view::Group)| {
                n != usize::from(group) && other.overlaps(matches)
            };
            if hosts.enumerate().any(overlaps) {
                return Err(Reason::Overlap);
            }
        }
        self.groups[usize::from(group)].matches = matches;
        self.route(hw, group);
        Ok(())
    }

    fn set_route<H: Hardware>(&mut self, hw: &H, group: u8, value: u32) -> Result<(), Reason> {
        if value & register::S2CR_EXTENDED != 0 {
            return Err(Reason::Field);
        }
        let kind = value & register::S2CR_TYPE;
        let bank = value as u8;
        match kind {
            register::S2CR_FAULT => {}
            register::S2CR_TRANSLATE if bank >= self.host_banks() => return Err(Reason::Beyond),
            register::S2CR_TRANSLATE => {
                if let Some(Owner::Vm(_)) = self.owner(bank) {
                    return Err(Reason::Owner);
                }
            }
            register::S2CR_BYPASS if self.plan.default.is_some() => {}
            register::S2CR_BYPASS => return Err(Reason::Bypass),
            _ => return Err(Reason::Field),
        }
        self.groups[usize::from(group)].route = kind | u32::from(bank);
        self.route(hw, group);
        Ok(())
    }
}
