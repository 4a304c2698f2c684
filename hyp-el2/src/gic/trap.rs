//! The filters on the real thing: which frames of registers trap, and what is behind them.

use super::its::{self, Its};
use super::redistributor::{self, Redistributor};
use super::{Bus, frames};
use crate::cpu::{dsb_sy, get};
use crate::fdt::{DmaNodes, MAX_CPUS, Span};
use crate::global::Global;
use crate::host::{Frame, once};
use crate::lock::TicketLock;
use crate::machine::El2;
use crate::mmu::{self, Access as Map};
use crate::{cache, glue};
use arrayvec::ArrayVec;
use core::sync::atomic::{AtomicU64, Ordering};
use hyp_core::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn};
use hyp_core::machine::{Machine, TableMemory};
use hyp_core::memory::Range;
use hyp_core::vcpu::esr::Esr;
use hyp_core::vcpu::mmio::Access;

/// Translation services.
const MAX_ITS: usize = 8;
/// Redistributors whose frames are hidden one by one, and how many ranges that makes.
const MAX_APART: usize = 8;
const MAX_REGIONS: usize = 4;
const MAX_HIDDEN: usize = MAX_ITS + 2 * MAX_APART;
/// Bytes of a frame of registers.
const FRAME: u64 = 0x1_0000;
/// `GICD_TYPER`, and its field `IDbits`.
const GICD_TYPER: u64 = 4;
/// `GICR_TYPER.VLPIS`: two frames more. `Last`: none behind it.
const TYPER_VLPIS: u64 = 1 << 1;
const TYPER_LAST: u64 = 1 << 4;
/// Bytes of a table of devices that Ward keeps, at most: 65,536 devices of 8 bytes.
const MOST_DEVICES: u64 = 512 << 10;
/// Alignment of tables and queues.
const ALIGN: u64 = FRAME / PAGE_SIZE;
/// `BASERn` and `CBASER`: cacheable, inner shareable.
const CACHED: u64 = 7 << 59 | 1 << 10;
/// Normal, not cached.
const UNCACHED: u64 = 1 << 59;
const SHARED: u64 = 3 << 10;

/// One frame of registers, mapped for good, and the memory that goes with it.
struct Registers {
    base: u64,
    /// Ward's queue of commands; 0 for a redistributor.
    queue: u64,
    coherent: bool,
    /// `BASERn`, and the table of Ward's that it names.
    tables: ArrayVec<(u64, u64, Range), 2>,
}

struct Unit<T> {
    registers: Registers,
    state: TicketLock<T>,
}

/// What is filtered.
struct Filtered {
    services: &'static [Unit<Its>],
    redistributors: &'static [Unit<Redistributor>],
    /// Frames of GICv4, in which there is nothing for the host.
    empty: ArrayVec<u64, MAX_CPUS>,
}

static FILTERED: Global<Filtered> = Global::new();

impl Bus for Registers {
    fn read(&self, offset: u64, size: u8) -> u64 {
        let at = self.base + offset;
        assert!(offset + u64::from(size) <= FRAME && offset.is_multiple_of(size.into()));
        // SAFETY: `map` mapped the frame as device memory; the access is aligned, of a size that
        // the register has (IHI 0069, 12.1), and no register has an effect when it is read.
        unsafe { load(at, size) }
    }

    fn write(&self, offset: u64, size: u8, value: u64) {
        let at = self.base + offset;
        assert!(offset + u64::from(size) <= FRAME && offset.is_multiple_of(size.into()));
        dsb_sy();
        // SAFETY: as above. What the GIC does to memory then is within Ward's tables and frames
        // that are pinned as the host's: the filters see to it.
        unsafe { store(at, size, value) }
    }

    fn pin(&self, range: Range) -> bool {
        glue::ward().pin_frames(range)
    }

    fn unpin(&self, range: Range) {
        glue::ward().unpin_frames(range);
    }

    fn host_command(&self, at: u64) -> [u64; 4] {
        let mut words = [0; 4];
        El2.read_host_words(Pfn(at >> PAGE_SHIFT), at % PAGE_SIZE, &mut words);
        words
    }

    fn put(&self, offset: u64, command: [u64; 4]) {
        for (n, word) in (0..).zip(command) {
            let at = (self.queue + offset + n * 8) as *const AtomicU64;
            // SAFETY: `offset` is within the queue: a page of Ward's that only the ITS reads, and
            // this writes, under the lock of the ITS.
            unsafe { (*at).store(word, Ordering::Relaxed) };
        }
        if !self.coherent {
            cache::clean_to_memory(self.queue + offset, 32);
        }
    }

    fn clear_tables(&self) {
        for (register, value, range) in &self.tables {
            // Nothing of the table is kept over a moment without it (IHI 0069, 12.19.1).
            self.write(*register, 8, value & !its::VALID);
            zero(*range);
            self.write(*register, 8, *value);
        }
    }

    fn wait(&self, done: &mut dyn FnMut() -> bool) -> bool {
        let end = get!("cntpct_el0") + get!("cntfrq_el0").max(1_000_000) / 100;
        loop {
            let over = get!("cntpct_el0") >= end;
            if done() {
                return true;
            }
            if over {
                return false;
            }
        }
    }

    fn is_redistributor(&self, address: u64) -> bool {
        let known = |all: &Filtered| {
            let mut all = all.redistributors.iter();
            all.any(|unit| unit.registers.base == address)
        };
        FILTERED.get().is_some_and(known)
    }

    fn refused(&self, what: &'static str) {
        if once::first(what.as_ptr() as u64) {
            let base = self.base;
            glue::say(format_args!(
                "host: the interrupt controller at {base:#x} was refused {what}"
            ));
        }
    }
}

fn zero(range: Range) {
    for n in 0..range.frames {
        El2.zero_frame(range.first.add(n));
    }
}

fn map(base: u64, bytes: u64) -> Result<(), mmu::NoTables> {
    // SAFETY: the boot CPU; the device tree says that these are the GIC's registers.
    unsafe { mmu::map(base, base + bytes, Map::Device) }
}

/// Why the controllers cannot be had in hand.
pub enum Unfit {
    /// Their registers are in too many places for Ward's own map.
    Tables,
    /// There are more of something than Ward has room for. One that nobody filters would reach all
    /// memory for the host, so this ends the boot.
    TooMany(&'static str),
}

impl From<mmu::NoTables> for Unfit {
    fn from(_: mmu::NoTables) -> Self {
        Unfit::Tables
    }
}

/// The controllers during boot.
pub struct Controllers {
    services: ArrayVec<Registers, MAX_ITS>,
    /// Where they are.
    redistributors: ArrayVec<u64, MAX_CPUS>,
    empty: ArrayVec<u64, MAX_CPUS>,
    /// From where to where each region has some.
    regions: ArrayVec<(u64, u64), MAX_REGIONS>,
    id_bits: u64,
    /// What cannot be filtered.
    open: Option<&'static str>,
}

impl Controllers {
    /// Finds them, and switches all translation services off.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn begin(nodes: &DmaNodes) -> Result<Self, Unfit> {
        let mut found = Controllers {
            services: ArrayVec::new(),
            redistributors: ArrayVec::new(),
            empty: ArrayVec::new(),
            regions: ArrayVec::new(),
            id_bits: 0,
            open: None,
        };
        if let Some(distributor) = nodes.distributor {
            map(distributor.base, PAGE_SIZE)?;
            let registers = registers(distributor.base);
            found.id_bits = (registers.read(GICD_TYPER, 4) >> 19 & 0x1f) + 1;
        }
        for region in &nodes.redistributors {
            found.region(*region, nodes.stride)?;
        }
        for span in &nodes.services {
            map(span.base, FRAME)?;
            let service = registers(span.base);
            service.write(its::CTLR, 4, 0);
            // Bit 31: quiescent.
            if !service.wait(&mut || service.read(its::CTLR, 4) >> 31 != 0) {
                found.open = Some("an ITS does not become quiet");
            }
            found
                .services
                .try_push(service)
                .map_err(|_| Unfit::TooMany("translation services (8)"))?;
        }
        Ok(found)
    }

    /// One region: redistributors one after the other, up to the one that says it is the last.
    fn region(&mut self, region: Span, stride: Option<u64>) -> Result<(), Unfit> {
        let mut at = region.base;
        while at + 2 * FRAME <= region.end() {
            map(at, 2 * FRAME)?;
            let registers = registers(at);
            let typer = registers.read(redistributor::TYPER, 8);
            if registers.read(redistributor::CTLR, 4) & 1 != 0 {
                self.open = Some("firmware switched message interrupts on, which cannot be undone");
            }
            let virtual_too = typer & TYPER_VLPIS != 0;
            if virtual_too {
                let _ = self.empty.try_push(at + 2 * FRAME);
            }
            self.redistributors
                .try_push(at)
                .map_err(|_| Unfit::TooMany("redistributors (64)"))?;
            at += stride.unwrap_or(if virtual_too { 4 } else { 2 } * FRAME);
            if typer & TYPER_LAST != 0 {
                break;
            }
        }
        self.regions
            .try_push((region.base, at.min(region.end())))
            .map_err(|_| Unfit::TooMany("regions of redistributors (4)"))
    }

    /// Frames that [`Controllers::configure`] takes at most, wherever they begin.
    pub fn frames(&self) -> u64 {
        let own = array_frames::<Unit<Its>>(self.services.len())
            + array_frames::<Unit<Redistributor>>(self.redistributors.len());
        let services: u64 = self
            .services
            .iter()
            .map(|service| {
                let tables = table_kinds(service).map(|(_, bytes)| bytes / PAGE_SIZE + ALIGN);
                tables.sum::<u64>() + 2 * ALIGN
            })
            .sum();
        own + services
    }

    /// Pages of registers that are not the host's to access. Of few redistributors it keeps what
    /// it uses often, the frames of SGIs and PPIs; of many all traps, so that the list is short.
    pub fn hidden(&self) -> ArrayVec<Range, MAX_HIDDEN> {
        let mut hidden = ArrayVec::new();
        for service in &self.services {
            hidden.extend(frames(service.base, FRAME));
        }
        if self.redistributors.len() <= MAX_APART {
            for at in &self.redistributors {
                hidden.extend(frames(*at, FRAME));
            }
            for at in self.empty.iter().take(MAX_APART) {
                hidden.extend(frames(*at, 2 * FRAME));
            }
        } else {
            for (first, end) in &self.regions {
                hidden.extend(frames(*first, end - first));
            }
        }
        hidden
    }

    /// Gives each ITS its tables and its queue, from `arena`: frames, so many and so aligned,
    /// mapped and nobody else's for ever. It stays off.
    pub fn configure(mut self, mut arena: impl FnMut(u64, u64) -> Pfn) -> Option<&'static str> {
        let address = self.redistributors.first().copied().unwrap_or(0);
        let target = self.redistributors.first().map_or(0, |base| {
            // A number in bits 23:8 of GICR_TYPER, in bits 31:16 of a command.
            (registers(*base).read(redistributor::TYPER, 8) >> 8 & 0xffff) << 16
        });
        for service in &mut self.services {
            for (register, bytes) in table_kinds(service).collect::<ArrayVec<_, 2>>() {
                let range = Range {
                    first: arena(bytes / PAGE_SIZE, ALIGN),
                    frames: bytes / PAGE_SIZE,
                };
                zero(range);
                if let Some(value) = set_table(service, register, range) {
                    service.tables.push((register, value, range));
                } else {
                    self.open = Some("an ITS does not take its tables");
                }
            }
            let queue = arena(its::QUEUE / PAGE_SIZE, ALIGN);
            zero(Range {
                first: queue,
                frames: its::QUEUE / PAGE_SIZE,
            });
            service.queue = queue.pa();
            // One page: size 0.
            service.write(its::CBASER, 8, its::VALID | CACHED | queue.pa());
            service.coherent = service.read(its::CBASER, 8) & SHARED != 0;
            if !service.coherent {
                service.write(its::CBASER, 8, its::VALID | UNCACHED | queue.pa());
            }
            service.write(its::CWRITER, 8, 0);
        }
        let service = |registers: Registers| {
            // GITS_TYPER.PTA.
            let by_address = registers.read(its::TYPER, 8) >> 19 & 1 != 0;
            let state = Its::new(&registers, if by_address { address } else { target });
            Unit {
                registers,
                state: TicketLock::new(state),
            }
        };
        let id_bits = self.id_bits;
        let redistributor = |base| Unit {
            registers: registers(base),
            state: TicketLock::new(Redistributor::new(id_bits)),
        };
        let filtered = Filtered {
            services: array(self.services.into_iter().map(service), &mut arena),
            redistributors: array(
                self.redistributors.into_iter().map(redistributor),
                &mut arena,
            ),
            empty: self.empty,
        };
        FILTERED.set(filtered);
        self.open
    }
}

fn array_frames<T>(len: usize) -> u64 {
    ((len * size_of::<T>()) as u64).div_ceil(PAGE_SIZE)
}

/// An array in frames of the arena.
fn array<T>(
    values: impl ExactSizeIterator<Item = T>,
    arena: &mut impl FnMut(u64, u64) -> Pfn,
) -> &'static [T] {
    let len = values.len();
    let place = arena(array_frames::<T>(len), 1).pa() as *mut T;
    for (n, value) in values.enumerate() {
        // SAFETY: so many frames hold it: mapped, aligned to a page, nobody else's for ever.
        unsafe { place.wrapping_add(n).write(value) };
    }
    // SAFETY: as above, and all values are written.
    unsafe { core::slice::from_raw_parts(place, len) }
}

fn registers(base: u64) -> Registers {
    Registers {
        base,
        queue: 0,
        coherent: true,
        tables: ArrayVec::new(),
    }
}

/// The registers that name tables, of devices and of collections, and how large Ward makes them.
fn table_kinds(service: &Registers) -> impl Iterator<Item = (u64, u64)> {
    let typer = service.read(its::TYPER, 8);
    let named = (0..8).filter_map(move |n| {
        let register = its::BASER + 8 * n;
        let value = service.read(register, 8);
        let entry = (value >> 48 & 0x1f) + 1;
        let kind = value >> 56 & 7;
        match kind {
            // Devbits 17:13.
            1 => {
                let all = entry << ((typer >> 13 & 0x1f) + 1);
                Some((register, all.min(MOST_DEVICES).next_multiple_of(FRAME)))
            }
            4 => Some((register, FRAME)),
            _ => None,
        }
    });
    named.take(2)
}

/// Names a table, in pages of the largest size that the ITS takes; what was written, if it did.
fn set_table(service: &Registers, register: u64, range: Range) -> Option<u64> {
    let bytes = range.frames * PAGE_SIZE;
    let kind = service.read(register, 8) & (7 << 56 | 0x1f << 48);
    [(2, 16), (1, 14), (0, 12)]
        .into_iter()
        .find_map(|(size, shift)| {
            let pages = (bytes >> shift).min(256);
            let value = |attributes| {
                its::VALID | kind | attributes | range.first.pa() | size << 8 | (pages - 1)
            };
            service.write(register, 8, value(CACHED));
            let seen = service.read(register, 8);
            let value = if seen & SHARED == 0 {
                service.write(register, 8, value(UNCACHED));
                value(UNCACHED)
            } else {
                value(CACHED)
            };
            let seen = service.read(register, 8);
            // Page size, address, number of pages.
            let fields = its::VALID | 0x0000_ffff_ffff_f000 | 3 << 8 | 0xff;
            ((seen ^ value) & fields == 0).then_some(value)
        })
}

/// Reads 1, 2, 4 or 8 bytes.
///
/// # Safety
/// `at` is mapped as device memory, aligned to the size, and takes such an access.
unsafe fn load(at: u64, size: u8) -> u64 {
    match size {
        // SAFETY: the caller's promise, as in all of these.
        1 => unsafe { (at as *const u8).read_volatile().into() },
        // SAFETY: as above.
        2 => unsafe { (at as *const u16).read_volatile().into() },
        // SAFETY: as above.
        4 => unsafe { (at as *const u32).read_volatile().into() },
        // SAFETY: as above.
        _ => unsafe { (at as *const u64).read_volatile() },
    }
}

/// Writes 1, 2, 4 or 8 bytes.
///
/// # Safety
/// As [`load`].
unsafe fn store(at: u64, size: u8, value: u64) {
    match size {
        // SAFETY: the caller's promise, as in all of these.
        1 => unsafe { (at as *mut u8).write_volatile(value as u8) },
        // SAFETY: as above.
        2 => unsafe { (at as *mut u16).write_volatile(value as u16) },
        // SAFETY: as above.
        4 => unsafe { (at as *mut u32).write_volatile(value as u32) },
        // SAFETY: as above.
        _ => unsafe { (at as *mut u64).write_volatile(value) },
    }
}

/// An access of the host's to a register that it may have.
fn pass(at: u64, size: u8, value: Option<u64>) -> u64 {
    dsb_sy();
    match value {
        // SAFETY: in the second frame of a redistributor, mapped at boot as device memory, and
        // aligned (checked by the caller). Its registers are about interrupts of the CPU, and
        // name no memory (IHI 0069, 12.11).
        None => unsafe { load(at, size) },
        Some(value) => {
            // SAFETY: as above.
            unsafe { store(at, size, value) };
            0
        }
    }
}

/// Does the host's load or store of a register that traps; `false`: it is none, or of a kind that
/// does not say what it does.
pub fn access(frame: &mut Frame, esr: Esr, ipa: u64) -> bool {
    let Some(filtered) = FILTERED.get() else {
        return false;
    };
    let (base, offset) = (ipa & !(FRAME - 1), ipa % FRAME);
    let service = filtered
        .services
        .iter()
        .find(|unit| unit.registers.base == base);
    let redistributor = |at: u64| {
        let mut all = filtered.redistributors.iter();
        all.find(|unit| unit.registers.base == at)
    };
    let is_empty = |at: &u64| *at == base || *at + FRAME == base;
    // The frame of SGIs and PPIs, which names no memory, is the second.
    let interrupts = base.checked_sub(FRAME).and_then(redistributor);
    let redistributor = redistributor(base);
    let empty = filtered.empty.iter().any(is_empty);
    if service.is_none() && redistributor.is_none() && interrupts.is_none() && !empty {
        return false;
    }
    let abort = esr.data_abort();
    let Some(access) = Access::new(&abort, ipa, frame.pstate, get!("sctlr_el1")) else {
        if once::first(1 << 40 | base) {
            let pc = frame.pc;
            glue::say(format_args!(
                "host: the instruction at {pc:#x} is of no kind that accesses a register at {ipa:#x}"
            ));
        }
        return false;
    };
    let held = frame.x.get(usize::from(access.rt)).copied().unwrap_or(0);
    let value = access.exit(held).value;
    let (size, write) = (access.size, access.write);
    let mut loaded = 0;
    if let Some(Unit { registers, state }) = service {
        let mut state = state.lock();
        if write {
            state.write(registers, offset, size, value);
        } else {
            loaded = state.read(registers, offset, size);
        }
    } else if let Some(Unit { registers, state }) = redistributor {
        let mut state = state.lock();
        if write {
            state.write(registers, offset, size, value);
        } else {
            loaded = state.read(registers, offset, size);
        }
    } else if interrupts.is_some() && redistributor::is_interrupt_access(offset, size) {
        loaded = pass(base + offset, size, write.then_some(value));
    }
    if !write && let Some(register) = frame.x.get_mut(usize::from(access.rt)) {
        *register = access.loaded(loaded);
    }
    frame.skip(esr);
    true
}
