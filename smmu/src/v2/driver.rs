//! One SMMUv2, running: banks get tables, streams get banks, translations are forgotten.

use super::ident::MOST;
use super::register;
use super::stage2::vmid;
use super::view::{BankView, Group};
use super::{BankError, Hardware, Lost, Shape, Stage2, StartError, StreamError, abort_all};

/// Groups that can be kept from the host, for streams of VMs.
const MOST_STREAMS: usize = 32;
/// More pages than this cost more than forgetting the whole bank.
const MOST_PAGES: u64 = 16;

/// Whose a context bank is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// The host's: it may route streams to it.
    Host,
    /// A VM's: Ward routes.
    Vm(u16),
}

/// What an SMMU starts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// A table that maps nothing, for banks that nobody has.
    pub empty: Stage2,
    /// The host's own memory. With it the host's bypass is a bank, the last, with this table;
    /// without it bypass is refused.
    pub default: Option<Stage2>,
    /// Groups kept for streams of VMs, 32 at most.
    pub streams: u8,
    /// It is an MMU-500: its prefetch, which has errata, is turned off.
    pub mmu500: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Bank {
    pub(super) owner: Option<Owner>,
    pub(super) view: BankView,
}

/// One SMMUv2 that Ward drives. The caller holds a lock around it.
#[derive(Debug)]
pub struct Smmu {
    pub(super) shape: Shape,
    pub(super) plan: Plan,
    pub(super) banks: [Bank; MOST],
    pub(super) groups: [Group; MOST],
    /// By the group, from the last one of the host's on.
    given: [Option<(u16, u8)>; MOST_STREAMS],
    pub(super) lost: bool,
    prefetches: bool,
}

impl Smmu {
    /// An SMMU of that shape. Until it is started it is as one that is lost.
    pub const fn new(shape: Shape, plan: Plan) -> Self {
        let free = Bank {
            owner: None,
            view: BankView::RESET,
        };
        Smmu {
            shape,
            plan,
            banks: [free; MOST],
            groups: [Group::RESET; MOST],
            given: [None; MOST_STREAMS],
            lost: true,
            prefetches: false,
        }
    }

    /// Takes the SMMU over, whatever state it is in; then every stream is ended. Once only.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start<H: Hardware>(&mut self, hw: &H) -> Result<(), StartError> {
        abort_all(hw)?;
        let own_banks = u8::from(self.plan.default.is_some());
        if usize::from(self.plan.streams) > MOST_STREAMS
            || self.plan.streams >= self.shape.groups
            || own_banks >= self.shape.banks
        {
            return Err(StartError::Plan);
        }
        self.lost = false;
        if self.plan.mmu500 {
            let locked = hw.read32(register::ACR);
            hw.write32(register::ACR, locked & !register::MMU500_CACHE_LOCK);
        }
        for bank in 0..self.shape.banks {
            self.program(hw, bank, &self.plan.empty);
            hw.write32(
                self.shape.bank(bank, register::SCTLR),
                register::SCTLR_FIXED,
            );
            if self.plan.mmu500 {
                let at = self.shape.bank(bank, register::ACTLR);
                hw.write32(at, hw.read32(at) & !register::MMU500_PREFETCH);
                self.prefetches |= hw.read32(at) & register::MMU500_PREFETCH != 0;
            }
        }
        if let Some((bank, table)) = self.default() {
            self.program(hw, bank, &table);
        }
        // Whatever firmware left in caches, and what passed untranslated before.
        hw.order();
        hw.write32(register::TLBIALLNSNH, 0);
        hw.write32(register::TLBIALLH, 0);
        self.sync(hw).map_err(|Lost| StartError::NoAnswer)
    }

    /// Its sizes.
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// It no longer does what it is told, or is not started.
    pub const fn is_lost(&self) -> bool {
        self.lost
    }

    /// An MMU-500 whose prefetch could not be turned off: firmware has locked it.
    pub const fn prefetches(&self) -> bool {
        self.prefetches
    }

    /// Groups that the host is shown.
    pub const fn host_groups(&self) -> u8 {
        self.shape.groups - self.plan.streams
    }

    /// Banks that the host is shown.
    pub const fn host_banks(&self) -> u8 {
        self.shape.banks - self.plan.default.is_some() as u8
    }

    /// The bank that stands for the host's bypass, and its table.
    const fn default(&self) -> Option<(u8, Stage2)> {
        match self.plan.default {
            Some(table) => Some((self.host_banks(), table)),
            None => None,
        }
    }

    /// Whose a bank is.
    pub fn owner(&self, bank: u8) -> Option<Owner> {
        self.bank(bank).ok().and_then(|bank| bank.owner)
    }

    fn bank(&self, bank: u8) -> Result<&Bank, BankError> {
        if bank < self.host_banks() {
            Ok(&self.banks[usize::from(bank)])
        } else {
            Err(BankError::NoBank)
        }
    }

    /// Gives a bank that nobody has an owner and a table. Groups of the host's that name it come
    /// into effect if it is the host's.
    ///
    /// # Errors
    /// [`BankError`].
    pub fn assign<H: Hardware>(
        &mut self,
        hw: &H,
        bank: u8,
        owner: Owner,
        table: &Stage2,
    ) -> Result<(), BankError> {
        if self.lost {
            return Err(BankError::Lost);
        }
        if self.bank(bank)?.owner.is_some() {
            return Err(BankError::Taken);
        }
        // Nothing is routed to it. The table is in memory before a walk of it can begin.
        hw.order();
        self.program(hw, bank, table);
        self.banks[usize::from(bank)] = Bank {
            owner: Some(owner),
            view: BankView::RESET,
        };
        self.write_control(hw, bank);
        self.route_all(hw);
        Ok(())
    }

    /// Takes a bank back: nothing is routed to it, its table may be freed when this returns.
    ///
    /// # Errors
    /// [`BankError`]. If it is lost the bank stays its owner's, with nothing routed to it.
    pub fn release<H: Hardware>(&mut self, hw: &H, bank: u8) -> Result<(), BankError> {
        if self.lost {
            return Err(BankError::Lost);
        }
        let Some(owner) = self.bank(bank)?.owner else {
            return Err(BankError::Free);
        };
        if self.given.iter().flatten().any(|given| given.1 == bank) {
            return Err(BankError::InUse);
        }
        let free = Bank {
            owner: None,
            view: BankView::RESET,
        };
        self.banks[usize::from(bank)] = free;
        self.route_all(hw);
        self.empty(hw, bank).inspect_err(|_| {
            self.banks[usize::from(bank)].owner = Some(owner);
        })?;
        Ok(())
    }

    /// Lets what is under way end before the registers change, since their halves change one by
    /// one; then forgets what it may have filled in.
    fn empty<H: Hardware>(&mut self, hw: &H, bank: u8) -> Result<(), Lost> {
        self.forget_bank(hw, bank);
        self.sync(hw)?;
        self.program(hw, bank, &self.plan.empty);
        self.write_control(hw, bank);
        self.scrub(hw, bank);
        self.forget_bank(hw, bank);
        self.sync(hw)
    }

    /// What a bank recorded of its owner's faults is not the next one's to read.
    #[inline(never)]
    fn scrub<H: Hardware>(&self, hw: &H, bank: u8) {
        hw.write32(self.shape.bank(bank, register::FSR), u32::MAX);
        for register in register::FAULT_RECORD {
            hw.write32(self.shape.bank(bank, register), 0);
        }
        let stream = self.shape.global1(register::CBFRSYNRA) + u32::from(bank) * 4;
        hw.write32(stream, 0);
    }

    #[inline(never)]
    fn forget_bank<H: Hardware>(&self, hw: &H, bank: u8) {
        hw.order();
        hw.write32(register::TLBIVMID, vmid(bank));
    }

    /// Gives a stream to the VM whose bank this is. When this returns, nothing of the host's
    /// translations of it is under way, and groups of the host's that match it have no effect.
    ///
    /// # Errors
    /// [`StreamError`].
    pub fn give<H: Hardware>(&mut self, hw: &H, stream: u16, bank: u8) -> Result<(), StreamError> {
        if self.lost {
            return Err(StreamError::Lost);
        }
        if u32::from(stream) & !self.shape.streams() != 0 {
            return Err(StreamError::NoStream);
        }
        let Some(Owner::Vm(_)) = self.owner(bank) else {
            return Err(StreamError::NoBank);
        };
        if self.is_given(stream) {
            return Err(StreamError::Given);
        }
        let kept = &self.given[..usize::from(self.plan.streams)];
        let Some(n) = kept.iter().position(Option::is_none) else {
            return Err(StreamError::Full);
        };
        self.given[n] = Some((stream, bank));
        self.route_all(hw);
        hw.order();
        hw.write32(register::TLBIALLNSNH, 0);
        self.sync(hw)?;
        let group = self.host_groups() + n as u8;
        self.groups[usize::from(group)].matches = register::SMR_VALID | u32::from(stream);
        self.install(hw, group, Some(bank));
        Ok(())
    }

    /// Takes a stream from its VM: it is the host's again, under the groups that the host set.
    ///
    /// # Errors
    /// [`StreamError`]. If it is lost the stream stays the VM's, and is ended.
    pub fn take<H: Hardware>(&mut self, hw: &H, stream: u16) -> Result<(), StreamError> {
        if self.lost {
            return Err(StreamError::Lost);
        }
        let given = |entry: &Option<(u16, u8)>| matches!(entry, Some((s, _)) if *s == stream);
        let Some(n) = self.given.iter().position(given) else {
            return Err(StreamError::NotGiven);
        };
        let group = self.host_groups() + n as u8;
        self.install(hw, group, None);
        hw.order();
        hw.write32(register::TLBIALLNSNH, 0);
        self.sync(hw)?;
        self.groups[usize::from(group)] = Group::RESET;
        self.given[n] = None;
        self.route_all(hw);
        Ok(())
    }

    /// Is the stream a VM's?
    pub fn is_given(&self, stream: u16) -> bool {
        self.given.iter().flatten().any(|given| given.0 == stream)
    }

    /// Does a valid match reach a stream of a VM's?
    pub(super) fn reaches_given(&self, matches: u32) -> bool {
        let group = Group {
            matches,
            ..Group::RESET
        };
        self.given
            .iter()
            .flatten()
            .any(|given| group.covers(given.0))
    }

    /// Asks that `pages` pages from `ipa` of a bank's be forgotten. Done when [`Smmu::sync`]
    /// returns, one for many. The table no longer says it, and that is in memory.
    ///
    /// # Errors
    /// [`BankError`].
    pub fn forget<H: Hardware>(
        &mut self,
        hw: &H,
        bank: u8,
        ipa: u64,
        pages: u64,
    ) -> Result<(), BankError> {
        if self.lost {
            return Err(BankError::Lost);
        }
        if self.default().is_none_or(|(default, _)| default != bank) {
            self.bank(bank)?;
        }
        if pages > MOST_PAGES {
            self.forget_bank(hw, bank);
        } else {
            hw.order();
            let first = ipa >> 12;
            for page in first..first + pages {
                hw.write64(self.shape.bank(bank, register::TLBIIPAS2), page);
            }
        }
        Ok(())
    }

    /// Waits until all that was asked for is done: no access that used what is forgotten is
    /// under way.
    ///
    /// # Errors
    /// [`Lost`].
    pub fn sync<H: Hardware>(&mut self, hw: &H) -> Result<(), Lost> {
        if self.lost {
            return Err(Lost);
        }
        hw.order();
        hw.write32(register::TLBGSYNC, 0);
        let deadline = hw.deadline();
        loop {
            // Asked before the look: a CPU that was away for long still looks once.
            let over = hw.expired(deadline);
            if hw.read32(register::TLBGSTATUS) & 1 == 0 {
                hw.order();
                return Ok(());
            }
            if over {
                self.lost = true;
                return Err(Lost);
            }
        }
    }

    /// The registers of a bank that say by which table. Nothing is routed to it meanwhile.
    fn program<H: Hardware>(&self, hw: &H, bank: u8, table: &Stage2) {
        let n = u32::from(bank) * 4;
        let attributes2 = self.shape.global1(register::CBA2R) + n;
        hw.write32(attributes2, Stage2::attributes2());
        let attributes = self.shape.global1(register::CBAR) + n;
        hw.write32(attributes, Stage2::attributes(bank));
        hw.write32(self.shape.bank(bank, register::TCR), table.control());
        // In halves, which every implementation takes.
        let root = self.shape.bank(bank, register::TTBR0);
        hw.write32(root, table.root() as u32);
        hw.write32(root + 4, (table.root() >> 32) as u32);
    }

    /// `SCTLR`: Ward's, and whether the host wants its faults by interrupt.
    pub(super) fn write_control<H: Hardware>(&self, hw: &H, bank: u8) {
        let wanted = self.banks[usize::from(bank)].view.control & register::SCTLR_CFIE;
        let value = register::SCTLR_FIXED | wanted;
        hw.write32(self.shape.bank(bank, register::SCTLR), value);
    }

    /// Brings all groups of the host's to what they may be.
    fn route_all<H: Hardware>(&mut self, hw: &H) {
        for group in 0..self.host_groups() {
            self.route(hw, group);
        }
    }

    /// Brings a group of the host's to what it may be.
    pub(super) fn route<H: Hardware>(&mut self, hw: &H, group: u8) {
        let entry = self.groups[usize::from(group)];
        let wanted = self.wanted(&entry);
        // What stays is not touched: its DMA goes on.
        if wanted.map(|bank| (entry.matches, bank)) != entry.in_effect {
            self.install(hw, group, wanted);
        }
    }

    /// The bank that a group of the host's may be in effect with.
    fn wanted(&self, group: &Group) -> Option<u8> {
        if !group.is_valid() || self.reaches_given(group.matches) {
            return None;
        }
        match group.route & register::S2CR_TYPE {
            register::S2CR_TRANSLATE => {
                let bank = group.route as u8;
                (self.owner(bank) == Some(Owner::Host)).then_some(bank)
            }
            register::S2CR_BYPASS => self.default().map(|(bank, _)| bank),
            _ => None,
        }
    }

    /// Writes a group. While it changes it matches nothing, and its streams are ended.
    #[inline(never)]
    fn install<H: Hardware>(&mut self, hw: &H, group: u8, bank: Option<u8>) {
        let n = u32::from(group) * 4;
        hw.write32(register::SMR + n, 0);
        let entry = &mut self.groups[usize::from(group)];
        entry.in_effect = bank.map(|bank| (entry.matches, bank));
        if let Some(bank) = bank {
            hw.write32(
                register::S2CR + n,
                register::S2CR_TRANSLATE | u32::from(bank),
            );
            hw.write32(register::SMR + n, entry.matches);
        } else {
            hw.write32(register::S2CR + n, register::S2CR_FAULT);
        }
    }
}
