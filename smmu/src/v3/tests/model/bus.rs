//! What the driver sees of the model.

use super::super::super::{Hardware, Register};
use super::{Model, State};

/// No wait of the driver's may need more looks than this when nothing is wrong.
const PATIENCE: u64 = 2000;

impl Hardware for Model {
    fn read32(&self, register: Register) -> u32 {
        let mut state = self.0.borrow_mut();
        state.tick();
        state.reg(register.0) as u32
    }

    fn write32(&self, register: Register, value: u32) {
        self.0.borrow_mut().write_register(register.0, value.into());
    }

    fn write64(&self, register: Register, value: u64) {
        self.0.borrow_mut().write_register(register.0, value);
    }

    fn load(&self, at: u64) -> u64 {
        let state = self.0.borrow();
        let own = state.stores.iter().rev().find(|store| store.0 == at);
        own.map_or_else(|| state.word(at), |store| store.1)
    }

    fn store(&self, at: u64, value: u64) {
        assert_eq!(at % 8, 0);
        let mut state = self.0.borrow_mut();
        state.stores.push_back((at, value));
        if let Some((word, stream, address)) = state.probe
            && word == at
        {
            state.stores.pop_back();
            state.ram.insert(at, value);
            state.configs.clear();
            state.fetching.clear();
            state.descriptors.clear();
            state.probed = Some(state.access(stream, address, true, true));
        }
        state.settle_one_store();
        state.roam();
    }

    fn order(&self) {
        let mut state = self.0.borrow_mut();
        while let Some((at, value)) = state.stores.pop_front() {
            state.ram.insert(at, value);
        }
    }

    fn deadline(&self) -> u64 {
        self.0.borrow().now + PATIENCE
    }

    fn expired(&self, deadline: u64) -> bool {
        let mut state = self.0.borrow_mut();
        if state.faults.away {
            for _ in 0..2 * PATIENCE {
                state.tick();
            }
        }
        state.tick();
        state.now > deadline
    }
}

impl State {
    /// Perhaps one store becomes visible, not the oldest, but the oldest to its address.
    pub(super) fn settle_one_store(&mut self) {
        if self.stores.is_empty() || !self.chance(3) {
            return;
        }
        let n = (self.seed >> 20) as usize % self.stores.len();
        let at = self.stores[n].0;
        let first = self.stores.iter().position(|store| store.0 == at).unwrap();
        let (at, value) = self.stores.remove(first).unwrap();
        self.ram.insert(at, value);
    }
}
