//! A look inside, for the executable specification and for builds that check the invariants
//! while they run. Nothing here changes anything; the product is built without it.

mod invariants;

pub use invariants::{Broken, Checked, Rule};

use crate::lock::{Order, level};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::vm::Vm;
use crate::ward::Ward;

impl<M: Machine> Ward<M> {
    /// Shows the frame records and the host's table, under their lock.
    pub fn inspect_memory<R>(&self, look: impl FnOnce(&Memory<M>) -> R) -> R {
        look(&self.memory.lock(&mut Order::<level::Top>::top()).0)
    }

    /// Shows the VM with this number, `None` if there is none, under its lock.
    pub fn inspect_vm<R>(&self, number: u64, look: impl FnOnce(Option<&Vm<M>>) -> R) -> R {
        match self.slot(number) {
            Ok(slot) => look(slot.lock(&mut Order::top()).0.as_deref()),
            Err(_) => look(None),
        }
    }

    /// VM numbers that can exist, the host's 0 included.
    pub fn inspect_slots(&self) -> u64 {
        self.slots.len() as u64
    }
}
