//! VMs.

use crate::machine::Machine;

/// A VM's slot.
pub struct VmSlot<M: Machine>(core::marker::PhantomData<M>);
