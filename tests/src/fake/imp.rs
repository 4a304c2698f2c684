//! hyp-core's view of the fake: the `Machine` trait.

use super::guest::Outcome;
use super::{Fake, Sched, State, is_dma};
use hyp_core::addr::{CpuId, Pfn, VmId};
use hyp_core::machine::{Machine, Mutex, RunParams, TableMemory, TlbScope, Trap};
use hyp_core::memory::FrameWord;
use hyp_core::vcpu::context::{Context, SysReg};
use hyp_core::vm::VmSlot;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A lock over the standard library's.
#[derive(Debug)]
pub struct FakeMutex<T>(std::sync::Mutex<T>);

impl<T: Send> Mutex<T> for FakeMutex<T> {
    type Guard<'a>
        = std::sync::MutexGuard<'a, T>
    where
        T: 'a;

    fn new(value: T) -> Self {
        FakeMutex(std::sync::Mutex::new(value))
    }

    fn lock(&self) -> Self::Guard<'_> {
        match self.0.try_lock() {
            Ok(guard) => guard,
            Err(std::sync::TryLockError::Poisoned(guard)) => guard.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => match self.0.lock() {
                Ok(guard) => guard,
                Err(poisoned) => poisoned.into_inner(),
            },
        }
    }
}

/// A value of hyp-core's in frames it took.
#[derive(Debug)]
pub struct Placed<T> {
    first: u64,
    frames: u64,
    value: Box<T>,
}

impl<T> Deref for Placed<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Placed<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl State {
    /// Nobody else may reach a frame that Ward is about to touch as its own.
    fn exclusive(&mut self, what: &str, frame: u64, guest_too: bool) {
        let lost = self.dma.lost;
        let counts = |vm: u16| guest_too || vm == 0 || is_dma(vm);
        let mappers = self.tables.mappers(frame);
        if let Some((vm, ipa)) = mappers.into_iter().find(|(vm, _)| counts(*vm)) {
            self.violate(format!(
                "{what} of frame {frame:#x}, which vm {vm} maps at {ipa:#x}"
            ));
        }
        if let Some((vm, ipa)) = self
            .tables
            .lingering(frame)
            // What a lost SMMU may reach must be the host's, or be on its way there: I4.
            .filter(|(vm, _)| counts(*vm) && !(lost && is_dma(*vm)))
        {
            self.violate(format!(
                "{what} of frame {frame:#x}, which TLBs of vm {vm} may hold at {ipa:#x}"
            ));
        }
    }
}

impl<S: Sched> Fake<S> {
    /// A descriptor is written, in a way that SMMUs see or not.
    pub(super) fn write_table(&self, table: Pfn, index: usize, entry: u64, for_smmu: bool) {
        S::point();
        let state = &mut *self.state();
        let place = state.tables.live_table(table.0);
        if !for_smmu && place.is_some_and(|(regime, ..)| is_dma(regime)) {
            state.violate(format!(
                "entry {index} of {table:x?} is not cleaned for the SMMUs"
            ));
        }
        if let Some(wrong) = state.tables.write(&state.ram, table.0, index, entry) {
            state.violate(wrong);
        }
        state.ram.write_through(table.0, index, entry);
    }
}

impl<S: Sched> TableMemory for Fake<S> {
    fn read_entry(&self, table: Pfn, index: usize) -> u64 {
        self.state().ram.word(table.0, index)
    }

    fn write_entry(&self, table: Pfn, index: usize, entry: u64) {
        self.write_table(table, index, entry, false);
    }

    fn publish(&self) {
        self.state().tables.publish();
    }

    fn tlb_invalidate(&self, vm: VmId, scope: TlbScope) {
        S::point();
        let leaf = match scope {
            TlbScope::Leaf(ipa, size) => Some((ipa.as_u64(), size.level())),
            TlbScope::All => None,
        };
        let state = &mut *self.state();
        state.work.tlbi += 1;
        for cpu in &mut state.cpus {
            cpu.tlb.invalidate(vm.0, leaf);
        }
        state.tables.invalidated(vm.0, leaf);
    }

    fn zero_frame(&self, frame: Pfn) {
        S::point();
        let state = &mut *self.state();
        state.work.zeroed += 1;
        state.exclusive("zeroing", frame.0, true);
        let place = state.tables.live_table(frame.0);
        if let Some((vm, level, base)) = place.filter(|_| !state.tables.zeroing_ends(frame.0)) {
            state.violate(format!(
                "zeroing of {:#x}, a live table of vm {vm} at {base:#x} level {level}",
                frame.0
            ));
        }
        if state.tables.still_walked(frame.0) {
            state.violate(format!(
                "zeroing of {:#x}, a table that walks may still reach",
                frame.0
            ));
        }
        if state.placed.contains(&frame.0) {
            state.violate(format!(
                "zeroing of {:#x}, where a value of Ward's lives",
                frame.0
            ));
        }
        state.ram.zero(frame.0);
    }
}

impl<S: Sched> Machine for Fake<S> {
    type Mutex<T: Send> = S::Mutex<T>;
    type Placed<T: Send> = Placed<T>;
    type Frames = Box<[FrameWord]>;
    type Slots = Box<[VmSlot<Self>]>;

    fn sync_frame(&self, frame: Pfn) {
        let state = &mut *self.state();
        state.work.synced += 1;
        state.ram.clean(frame.0);
    }

    fn read_frame(&self, frame: Pfn, offset: usize, buffer: &mut [u8]) {
        let state = &mut *self.state();
        state.exclusive("reading", frame.0, false);
        for (n, byte) in buffer.iter_mut().enumerate() {
            let at = offset + n;
            *byte = state.ram.word(frame.0, at / 8).to_le_bytes()[at % 8];
        }
    }

    fn write_frame(&self, frame: Pfn, offset: usize, data: &[u8]) {
        let state = &mut *self.state();
        state.exclusive("writing", frame.0, false);
        for (n, byte) in data.iter().enumerate() {
            let at = offset + n;
            let mut word = state.ram.word(frame.0, at / 8).to_le_bytes();
            word[at % 8] = *byte;
            state
                .ram
                .write_through(frame.0, at / 8, u64::from_le_bytes(word));
        }
    }

    fn sha256_frame(&self, hash: &mut [u32; 8], frame: Pfn) {
        S::point();
        let state = &mut *self.state();
        state.work.hashed += 1;
        state.exclusive("hashing", frame.0, false);
        for block in 0..64 {
            let mut bytes = [0u8; 64];
            for (n, chunk) in bytes.chunks_exact_mut(8).enumerate() {
                chunk.copy_from_slice(&state.ram.word(frame.0, block * 8 + n).to_le_bytes());
            }
            sha2::block_api::compress256(hash, &[bytes]);
        }
    }

    fn read_host_words(&self, frame: Pfn, offset: u64, words: &mut [u64]) {
        S::point();
        let state = self.state();
        for (n, word) in words.iter_mut().enumerate() {
            *word = state.ram.word(frame.0, offset as usize / 8 + n);
        }
    }

    fn write_host_words(&self, frame: Pfn, offset: u64, words: &[u64]) {
        S::point();
        let state = &mut *self.state();
        for (n, word) in words.iter().enumerate() {
            state
                .ram
                .write_cached(frame.0, offset as usize / 8 + n, *word);
        }
    }

    fn place<T: Send>(&self, first: Pfn, frames: u64, value: T) -> Placed<T> {
        assert!(
            size_of::<T>() as u64 <= frames << 12,
            "a value of {} bytes in {frames} frames",
            size_of::<T>()
        );
        let state = &mut *self.state();
        for frame in first.0..first.0 + frames {
            state.exclusive("placing", frame, true);
            if !state.placed.insert(frame) {
                state.violate(format!("two values placed in {frame:#x}"));
            }
        }
        Placed {
            first: first.0,
            frames,
            value: Box::new(value),
        }
    }

    fn displace<T: Send>(&self, placed: Placed<T>) {
        let Placed {
            first,
            frames,
            value,
        } = placed;
        drop(value);
        let state = &mut *self.state();
        for frame in first..first + frames {
            if !state.placed.remove(&frame) {
                state.violate(format!("no value placed in {frame:#x}"));
            }
            // A real value leaves its bytes behind; they must not reach the host.
            state
                .ram
                .write_cached(frame, 0, 0x5ec2_e700_0000_0000 | frame);
        }
    }

    fn load_vcpu(&self, context: &mut Context, params: &RunParams) {
        let state = &mut *self.state();
        let cpu = &mut state.cpus[usize::from(S::cpu())];
        if cpu.loaded.is_some() {
            state.violate(format!("cpu {}: a second vCPU loaded", S::cpu()));
            return;
        }
        cpu.load(context, params);
    }

    fn enter_guest(&self, context: &mut Context) -> Trap {
        loop {
            S::point();
            let outcome = self.state().guest_step(S::cpu(), context);
            match outcome {
                Outcome::Continue => {}
                Outcome::Trap(trap) => return trap,
                Outcome::Hook => self.run_hook(),
            }
        }
    }

    fn unload_vcpu(&self, context: &mut Context, _params: &RunParams) {
        let state = &mut *self.state();
        if !state.cpus[usize::from(S::cpu())].unload(context) {
            state.violate(format!("cpu {}: no vCPU to unload", S::cpu()));
        }
    }

    fn serror_pending(&self) -> bool {
        let state = self.state();
        let loaded = state.cpus[usize::from(S::cpu())]
            .loaded
            .as_ref()
            .expect("a vCPU is loaded");
        loaded.serror.is_some()
    }

    fn guest_sysreg(&self, _context: &Context, reg: SysReg) -> u64 {
        let state = self.state();
        let loaded = state.cpus[usize::from(S::cpu())]
            .loaded
            .as_ref()
            .expect("a vCPU is loaded");
        loaded.sys[reg as usize]
    }

    fn set_guest_sysreg(&self, _context: &mut Context, reg: SysReg, value: u64) {
        let mut state = self.state();
        let loaded = state.cpus[usize::from(S::cpu())]
            .loaded
            .as_mut()
            .expect("a vCPU is loaded");
        loaded.sys[reg as usize] = value;
    }

    fn id_register(&self, crm: u8, op2: u8) -> u64 {
        super::cpu::id_register(crm, op2)
    }

    fn cpu(&self) -> CpuId {
        CpuId(S::cpu())
    }

    fn random(&self) -> Option<u64> {
        self.state().random.pop_front()
    }

    fn has_random(&self) -> bool {
        true
    }

    fn console(&self, line: fmt::Arguments<'_>) {
        let state = &mut *self.state();
        state.console.push_back(line.to_string());
        if state.console.len() > 50 {
            state.console.pop_front();
        }
    }
}
