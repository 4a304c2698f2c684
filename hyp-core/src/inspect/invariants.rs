//! I1 to I4 over every frame record and every stage-2 table of a machine that is running.
//!
//! The executable specification judges the tables by what it expects; this judges them by Ward's
//! own records, and so needs nothing but Ward. It may run while other CPUs call: each part looks
//! under the locks under which that part is always sound, the host's table under the memory lock,
//! a VM's under the VM's lock and then the memory lock. Both are held for as long as it takes to
//! look at every frame; that is for test images.

use crate::abi::VM_RECORD_FRAMES;
use crate::addr::{Ipa, PAGE_SIZE, Pfn, VmId};
use crate::dma::DmaConfig;
use crate::lock::{Order, level};
use crate::machine::Machine;
use crate::memory::{FrameState, Memory, Range};
use crate::stage2::{Leaf, MemoryKind, Seen};
use crate::vm::{Slot, Vm};
use crate::ward::Ward;
use core::fmt;

/// VM numbers whose use is collected in one pass over the records.
const CHUNK: usize = 4096;

/// What is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// Ward's memory is mapped, or a table, record or pool frame is not Ward's.
    I1 = 1,
    /// The host maps what it may not.
    I2 = 2,
    /// A VM maps what it may not, or not what its frames' records say.
    I3 = 3,
    /// A sum is wrong: frames are lost or counted twice.
    Books = 4,
    /// The host's devices reach what they may not, or not all that they may.
    I4 = 5,
}

/// The first thing found broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken {
    /// The rule.
    pub rule: Rule,
    /// In words.
    pub what: &'static str,
    /// Whose table or books.
    pub table: VmId,
    /// Where in the table.
    pub ipa: Option<Ipa>,
    /// The frame.
    pub frame: Option<Pfn>,
    /// Its record, if it is RAM.
    pub owner: Option<FrameState>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vm = self.table.0;
        write!(f, "{:?} broken: {}, table of vm {vm}", self.rule, self.what)?;
        if let Some(ipa) = self.ipa {
            write!(f, ", ipa {:#x}", ipa.as_u64())?;
        }
        if let Some(frame) = self.frame {
            write!(f, ", frame {:#x} of {:?}", frame.0, self.owner)?;
        }
        Ok(())
    }
}

/// What was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Checked {
    /// Records of frames.
    pub frames: u64,
    /// Leaves.
    pub leaves: u64,
    /// Table pages.
    pub tables: u64,
    /// VMs.
    pub vms: u64,
}

/// A table under examination.
struct Look<'a, M: Machine> {
    memory: &'a Memory<M>,
    table: VmId,
    checked: &'a mut Checked,
}

impl<M: Machine> Look<'_, M> {
    fn broken(&self, rule: Rule, what: &'static str) -> Broken {
        Broken {
            rule,
            what,
            table: self.table,
            ipa: None,
            frame: None,
            owner: None,
        }
    }

    fn at(&self, rule: Rule, what: &'static str, ipa: Option<Ipa>, frame: Pfn) -> Broken {
        Broken {
            ipa,
            frame: Some(frame),
            owner: self.memory.state(frame),
            ..self.broken(rule, what)
        }
    }

    /// A table page, record or pool frame must be Ward's, for this VM.
    fn must_be_wards(&self, frame: Pfn, what: &'static str) -> Result<(), Broken> {
        let wards = FrameState::Hyp { for_vm: self.table };
        match self.memory.state(frame) {
            Some(state) if state == wards => Ok(()),
            _ => Err(self.at(Rule::I1, what, None, frame)),
        }
    }

    fn table_page(&mut self, frame: Pfn) -> Result<(), Broken> {
        self.checked.tables += 1;
        self.must_be_wards(frame, "a table page is not Ward's")
    }

    /// I1 and I2 for one leaf of the host's.
    fn host_leaf(&mut self, ipa: Ipa, leaf: Leaf) -> Result<(), Broken> {
        self.checked.leaves += 1;
        if ipa != Ipa::identity(leaf.frame) {
            return Err(self.at(Rule::I2, "not one to one", Some(ipa), leaf.frame));
        }
        for n in 0..leaf.size.frames() {
            let frame = leaf.frame.add(n);
            let normal = leaf.attrs.kind == MemoryKind::Normal;
            let page = Range {
                first: frame,
                frames: 1,
            };
            let wrong = match self.memory.state(frame) {
                Some(FrameState::Hyp { .. }) => Some((Rule::I1, "the host maps Ward's memory")),
                Some(state) if !state.host_may_map() => {
                    Some((Rule::I2, "the host maps a VM's private memory"))
                }
                Some(_) if !normal => Some((Rule::I2, "the host maps RAM as a device")),
                Some(_) => None,
                None if !self.memory.is_free_device(page) => {
                    Some((Rule::I2, "the host maps a device of Ward's"))
                }
                None if normal => Some((Rule::I2, "the host maps a device as RAM")),
                None => None,
            };
            if let Some((rule, what)) = wrong {
                return Err(self.at(rule, what, Some(Ipa::identity(frame)), frame));
            }
        }
        Ok(())
    }

    /// I1 and I3 for one leaf of a VM's. Returns how many frames of its own it maps.
    fn vm_leaf(&mut self, vm: &Vm<M>, first: Ipa, leaf: Leaf) -> Result<u64, Broken> {
        self.checked.leaves += 1;
        let mut own = 0;
        for n in 0..leaf.size.frames() {
            let frame = leaf.frame.add(n);
            let ipa = Ipa::containing(first.as_u64() + n * PAGE_SIZE);
            let normal = leaf.attrs.kind == MemoryKind::Normal;
            let right = match self.memory.state(frame) {
                Some(FrameState::Hyp { .. }) => {
                    return Err(self.at(Rule::I1, "a VM maps Ward's memory", Some(ipa), frame));
                }
                Some(FrameState::Vm {
                    vm: owner, ipa: at, ..
                }) => {
                    own += 1;
                    vm.protected && owner == vm.id && at == ipa && normal
                }
                Some(FrameState::Host { lent, .. }) => !vm.protected && lent > 0 && normal,
                None => {
                    let page = Range {
                        first: frame,
                        frames: 1,
                    };
                    let signed = !vm.protected || vm.is_signed_mmio(ipa.as_u64(), PAGE_SIZE);
                    signed && self.memory.is_free_device(page) && !normal && !leaf.attrs.execute
                }
            };
            if !right {
                return Err(self.at(Rule::I3, "a VM maps what it may not", Some(ipa), frame));
            }
        }
        Ok(own)
    }

    /// I1 and I4 for one leaf of a stream of the host's own.
    fn stream_leaf(&mut self, first: Ipa, leaf: Leaf, config: &DmaConfig) -> Result<(), Broken> {
        self.checked.leaves += 1;
        let normal = leaf.attrs.kind == MemoryKind::Normal;
        for n in 0..leaf.size.frames() {
            let frame = leaf.frame.add(n);
            let mut bells = config.doorbells.as_slice().iter();
            let (right, rule) = match self.memory.state(frame) {
                Some(FrameState::Host { pins: 1.., .. }) => (normal, Rule::I4),
                Some(FrameState::Hyp { .. }) => (false, Rule::I1),
                Some(_) => (false, Rule::I4),
                None => (!normal && bells.any(|bell| bell.contains(frame)), Rule::I4),
            };
            if !right {
                let ipa = Ipa::containing(first.as_u64() + n * PAGE_SIZE);
                return Err(self.at(
                    rule,
                    "a device reaches what is not pinned",
                    Some(ipa),
                    frame,
                ));
            }
        }
        Ok(())
    }

    /// How many frames belong to the VM, and how many Ward has for it.
    fn frames_of(&mut self, vm: VmId) -> (u64, u64) {
        let (mut own, mut wards) = (0, 0);
        for (_, state) in self.memory.records() {
            match state {
                FrameState::Vm { vm: owner, .. } if owner == vm => own += 1,
                FrameState::Hyp { for_vm } if for_vm == vm => wards += 1,
                _ => {}
            }
        }
        (own, wards)
    }
}

impl<M: Machine> Ward<M> {
    /// Checks I1 to I4 over everything.
    ///
    /// # Errors
    /// The first thing that is broken.
    pub fn check_invariants(&self) -> Result<Checked, Broken> {
        let order = &mut Order::top();
        let mut checked = Checked::default();
        self.check_host(order, &mut checked)?;
        self.check_dma(order, &mut checked)?;
        for base in (0..self.slots.len()).step_by(CHUNK) {
            let named = self.named_vms(order, base);
            for number in base.max(1)..self.slots.len().min(base + CHUNK) {
                let at = number - base;
                let named = named[at / 64] >> (at % 64) & 1 != 0;
                self.check_slot(order, number, named, &mut checked)?;
            }
        }
        Ok(checked)
    }

    /// The lowest frame of Ward's, for a test that tries to reach it.
    pub fn first_frame_of_ward(&self) -> Option<Pfn> {
        self.config.hyp.as_slice().first().map(|range| range.first)
    }

    fn check_host(
        &self,
        order: &mut Order<'_, level::Top>,
        checked: &mut Checked,
    ) -> Result<(), Broken> {
        let (memory, _) = self.memory.lock(order);
        let mut look = Look {
            memory: &*memory,
            table: VmId::HOST,
            checked,
        };
        look.checked.frames = self.config.ram.frames();
        let mut tables = 0;
        memory
            .host_table()
            .visit(&self.machine, &mut |seen| match seen {
                Seen::Table(page) => {
                    tables += 1;
                    look.table_page(page)
                }
                Seen::Leaf(ipa, leaf) => look.host_leaf(ipa, leaf),
            })?;
        memory.host_pool().visit(&self.machine, |page| {
            look.must_be_wards(page, "a page of the host's pool is not Ward's")
        })?;
        if memory.recount() != memory.counts() {
            return Err(look.broken(Rule::Books, "the counts of frames are wrong"));
        }
        for &range in self.config.hyp.as_slice() {
            for n in 0..range.frames {
                look.must_be_wards(range.first.add(n), "Ward's own memory is not Ward's")?;
            }
        }
        // Tables and pool are among Ward's frames; donated ones come on top of the first.
        let (_, wards) = look.frames_of(VmId::HOST);
        if wards < tables + memory.pool_len() {
            return Err(look.broken(Rule::Books, "more tables and pool than frames of Ward's"));
        }
        Ok(())
    }

    /// I4 and I1 for the host's DMA table: it maps what the host may, and all of that.
    fn check_dma(
        &self,
        order: &mut Order<'_, level::Top>,
        checked: &mut Checked,
    ) -> Result<(), Broken> {
        let (memory, _) = self.memory.lock(order);
        let (Some(table), Some(config)) = (memory.dma_table(), &self.config.dma) else {
            return Ok(());
        };
        let mut look = Look {
            memory: &*memory,
            table: VmId::HOST,
            checked,
        };
        let mut ram = 0;
        table.visit(&self.machine, &mut |seen| match seen {
            Seen::Table(page) => look.table_page(page),
            Seen::Leaf(ipa, leaf) => {
                look.checked.leaves += 1;
                let bell = |bells: &[Range]| bells.iter().any(|bell| bell.contains(leaf.frame));
                let normal = leaf.attrs.kind == MemoryKind::Normal;
                let right = ipa == Ipa::identity(leaf.frame)
                    && match memory.state(leaf.frame) {
                        Some(state) => {
                            ram += 1;
                            state.host_may_map() && normal
                        }
                        None => bell(config.doorbells.as_slice()) && !normal,
                    };
                if right {
                    return Ok(());
                }
                let rule = match memory.state(leaf.frame) {
                    Some(FrameState::Hyp { .. }) => Rule::I1,
                    _ => Rule::I4,
                };
                Err(look.at(
                    rule,
                    "devices reach what they may not",
                    Some(ipa),
                    leaf.frame,
                ))
            }
        })?;
        let end = 1 << (table.geometry().ipa_bits() - 12);
        let may = memory
            .records()
            .filter(|(frame, state)| frame.0 < end && state.host_may_map());
        if may.count() != ram {
            return Err(look.broken(Rule::I4, "devices don't reach all that they may"));
        }
        for (_, table) in memory.stream_tables() {
            table.visit(&self.machine, &mut |seen| match seen {
                Seen::Table(page) => look.table_page(page),
                Seen::Leaf(ipa, leaf) => look.stream_leaf(ipa, leaf, config),
            })?;
        }
        Ok(())
    }

    /// Which VM numbers from `base` on some record names, a bit each.
    fn named_vms(&self, order: &mut Order<'_, level::Top>, base: usize) -> [u64; CHUNK / 64] {
        let mut named = [0; CHUNK / 64];
        let (memory, _) = self.memory.lock(order);
        for (_, state) in memory.records() {
            let (FrameState::Vm { vm, .. } | FrameState::Hyp { for_vm: vm }) = state else {
                continue;
            };
            let at = usize::from(vm.0).wrapping_sub(base);
            if let Some(word) = named.get_mut(at / 64) {
                *word |= 1 << (at % 64);
            }
        }
        named
    }

    fn check_slot(
        &self,
        order: &mut Order<'_, level::Top>,
        number: usize,
        named: bool,
        checked: &mut Checked,
    ) -> Result<(), Broken> {
        let (slot, mut order) = self.slots[number].lock(order);
        if slot.is_none() && !named {
            return Ok(());
        }
        let (memory, _) = self.memory.lock(&mut order);
        let mut look = Look {
            memory: &*memory,
            table: VmId(number as u16),
            checked,
        };
        let (own, wards) = look.frames_of(look.table);
        let Some(vm) = slot.as_deref() else {
            if (own, wards) != (0, 0) {
                return Err(look.broken(Rule::Books, "a VM that is gone has frames"));
            }
            return Ok(());
        };
        look.checked.vms += 1;
        let (mut mapped, mut tables) = (0, 0);
        vm.stage2.visit(&self.machine, &mut |seen| match seen {
            Seen::Table(page) => {
                tables += 1;
                look.table_page(page)
            }
            Seen::Leaf(ipa, leaf) => {
                mapped += look.vm_leaf(vm, ipa, leaf)?;
                Ok(())
            }
        })?;
        // No two leaves have a frame in common, for its record names one page: so equal numbers
        // mean the same frames.
        if own != mapped {
            return Err(look.broken(Rule::I3, "a VM does not map all it owns"));
        }
        vm.pool.visit(&self.machine, |page| {
            look.must_be_wards(page, "a page of a VM's pool is not Ward's")
        })?;
        for n in 0..VM_RECORD_FRAMES {
            look.must_be_wards(vm.record.add(n), "a VM's record is not Ward's")?;
        }
        let mut vcpus = 0;
        for index in 0..u64::from(vm.vcpus()) {
            let Some(Slot::Ready(_, frames) | Slot::Active(frames)) = vm.slot(index) else {
                continue;
            };
            vcpus += 1;
            look.must_be_wards(frames.record, "a vCPU's record is not Ward's")?;
            match memory.state(frames.run) {
                Some(FrameState::Host { pins: 1.., .. }) => {}
                _ => return Err(look.at(Rule::Books, "no pin on a run page", None, frames.run)),
            }
        }
        if wards != VM_RECORD_FRAMES + tables + vcpus + vm.pool.len() {
            return Err(look.broken(Rule::Books, "frames given for a VM are lost"));
        }
        Ok(())
    }
}
