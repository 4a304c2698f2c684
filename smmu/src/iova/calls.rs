//! The calls.

use super::pending::Pending;
use super::{Backend, Error, Frame, Key, Leaf, Order, Prot, Target, VmState};

/// Leaves that one call of [`Streams::free`] removes.
const PIECE: usize = 32;

/// When a translation is to be gone from the SMMU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// When the call returns.
    Now,
    /// At the next [`Streams::flush`] or when there is no room to wait. The frame is the host's to
    /// use again then, and can't be given away before.
    Later,
}

/// How far a long call came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// To the end.
    Done,
    /// To be repeated with the same arguments.
    Again,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    Host,
    /// The host's, and being taken back: it leads nowhere.
    Leaving,
    Vm(u16),
}

/// The streams that are not the default's, at most `N`. The caller holds a lock around it.
#[derive(Debug)]
pub struct Streams<const N: usize> {
    owners: [Option<(Key, Owner)>; N],
    pending: Pending,
}

impl<const N: usize> Default for Streams<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Streams<N> {
    /// All streams are the default's.
    pub const fn new() -> Self {
        Streams {
            owners: [None; N],
            pending: Pending::new(),
        }
    }

    fn owner(&self, key: Key) -> Result<Owner, Error> {
        let found = self.owners.iter().flatten().find(|(of, _)| *of == key);
        found.map(|(_, owner)| *owner).ok_or(Error::NotAllocated)
    }

    fn set(&mut self, key: Key, owner: Option<Owner>) {
        let is = |entry: &&mut Option<(Key, Owner)>| matches!(entry, Some((of, _)) if *of == key);
        if let Some(entry) = self.owners.iter_mut().find(is) {
            *entry = owner.map(|owner| (key, owner));
        }
    }

    /// Does the VM have a stream? Its memory must stay while it does.
    pub fn reach(&self, vm: u16) -> bool {
        let mut owners = self.owners.iter().flatten();
        owners.any(|(_, owner)| *owner == Owner::Vm(vm))
    }

    /// Gives a stream of the default's to a VM that is being built, or to the host, with a table of
    /// its own that maps nothing.
    ///
    /// # Errors
    /// [`Error`].
    pub fn alloc<B: Backend>(&mut self, b: &mut B, key: Key, vm: Option<u16>) -> Result<(), Error> {
        if !b.has(key) {
            return Err(Error::NotFound);
        }
        answers(b, key)?;
        let (owner, target) = match vm {
            None => (Owner::Host, Target::Own),
            Some(vm) => match b.vm(vm).ok_or(Error::NotFound)? {
                VmState::Ready => (Owner::Vm(vm), Target::Vm(vm)),
                VmState::Verified | VmState::Off { .. } => return Err(Error::BadState),
            },
        };
        if self.owner(key).is_ok() {
            return Err(Error::Exists);
        }
        let free = self.owners.iter().position(Option::is_none);
        let free = free.ok_or(Error::NoMemory)?;
        // Recorded first: a stream that is lost on the way may lead there.
        self.owners[free] = Some((key, owner));
        b.lead(key, target)?;
        Ok(())
    }

    /// Gives a stream back to the default, a bounded piece at a time. A VM's comes back when the VM
    /// is off and none of its vCPUs runs.
    ///
    /// # Errors
    /// [`Error`].
    pub fn free<B: Backend>(&mut self, b: &mut B, key: Key) -> Result<Progress, Error> {
        let owner = self.owner(key)?;
        answers(b, key)?;
        match owner {
            Owner::Vm(vm) => match b.vm(vm) {
                Some(VmState::Off { running: false }) => {}
                _ => return Err(Error::BadState),
            },
            Owner::Host => {
                b.lead(key, Target::Ended)?;
                self.set(key, Some(Owner::Leaving));
            }
            Owner::Leaving => {}
        }
        if self.owner(key)? == Owner::Leaving {
            for _ in 0..PIECE {
                let Some(leaf) = b.first_leaf(key) else { break };
                self.remove(b, key, leaf)?;
            }
            self.pending.flush(b, key.smmu)?;
            if b.first_leaf(key).is_some() {
                return Ok(Progress::Again);
            }
        }
        b.lead(key, Target::Default)?;
        self.set(key, None);
        Ok(Progress::Done)
    }

    /// Maps memory for a stream: the host's for one of its own; for a VM's, what the VM has there
    /// already.
    ///
    /// # Errors
    /// [`Error`].
    pub fn map<B: Backend>(
        &mut self,
        b: &mut B,
        key: Key,
        iova: u64,
        pa: u64,
        order: u64,
        prot: u64,
    ) -> Result<(), Error> {
        let (order, prot) = (Order::decode(order)?, Prot::decode(prot)?);
        let aligned = iova.is_multiple_of(order.bytes()) && pa.is_multiple_of(order.bytes());
        if !aligned {
            return Err(Error::BadAddress);
        }
        let first = pa >> 12;
        let owner = self.owner(key)?;
        answers(b, key)?;
        match owner {
            Owner::Leaving => return Err(Error::Exists),
            Owner::Vm(vm) => {
                if b.vm(vm) != Some(VmState::Ready) {
                    return Err(Error::BadState);
                }
                let end = iova.checked_add(order.bytes()).ok_or(Error::BadAddress)?;
                let pages = (iova..end).step_by(1 << 12);
                let own = |(n, ipa): (u64, u64)| b.frame(first + n) == Frame::Vm { vm, ipa };
                // The VM's stage 2 has it, with the VM's rights: there is nothing to write.
                return match (0..).zip(pages).all(own) {
                    true => Ok(()),
                    false => Err(Error::Denied),
                };
            }
            Owner::Host => {}
        }
        // Aligned, so that a leaf which begins below the end also ends there.
        if iova >> b.bits(key) != 0 {
            return Err(Error::BadAddress);
        }
        let doorbell = order == Order::Page && b.frame(first) == Frame::Doorbell;
        if !doorbell {
            for frame in first..first + order.pages() {
                match b.frame(frame) {
                    Frame::Host { pins: u16::MAX } => return Err(Error::NoMemory),
                    Frame::Host { .. } => {}
                    Frame::Vm { .. } | Frame::Doorbell | Frame::Other => {
                        return Err(Error::Denied);
                    }
                }
            }
        }
        if !b.is_free(key, iova, order) {
            return Err(Error::Mapped);
        }
        if self.pending.meets(key, iova, order.bytes()) {
            self.pending.flush(b, key.smmu)?;
        }
        if !b.has_room(key, iova, order) {
            return Err(Error::NoMemory);
        }
        if !doorbell {
            b.pin(first, order.pages());
        }
        let leaf = Leaf {
            iova,
            frame: first,
            order,
            prot,
            doorbell,
        };
        b.map(key, leaf);
        Ok(())
    }

    /// Unmaps a leaf of a stream of the host's.
    ///
    /// # Errors
    /// [`Error`].
    pub fn clear<B: Backend>(
        &mut self,
        b: &mut B,
        key: Key,
        iova: u64,
        order: u64,
        when: When,
    ) -> Result<(), Error> {
        let order = Order::decode(order)?;
        match self.owner(key)? {
            Owner::Host => {}
            Owner::Leaving => return Err(Error::Exists),
            Owner::Vm(_) => return Err(Error::Denied),
        }
        if !iova.is_multiple_of(order.bytes()) || iova >> b.bits(key) != 0 {
            return Err(Error::BadAddress);
        }
        let leaf = b.leaf(key, iova).ok_or(Error::NotMapped)?;
        // Of its size there is only one around an aligned address.
        if leaf.order != order {
            return Err(Error::NotMapped);
        }
        answers(b, key)?;
        self.remove(b, key, leaf)?;
        match when {
            When::Now => self.pending.flush(b, key.smmu),
            When::Later => Ok(()),
        }
    }

    /// Takes a leaf off its table and makes it wait for a sync.
    fn remove<B: Backend>(&mut self, b: &mut B, key: Key, leaf: Leaf) -> Result<(), Error> {
        if self.pending.is_full() {
            // Makes room even if it fails; this one's SMMU is asked below.
            let _ = self.flush(b);
        }
        b.unmap(key, leaf);
        self.pending.push(key, leaf);
        b.forget(key, leaf.iova, leaf.order.pages())?;
        Ok(())
    }

    /// Waits until everything that was cleared is gone from the SMMUs, and unpins it.
    ///
    /// # Errors
    /// [`Error::Lost`]: what waits for that SMMU stays pinned for ever.
    pub fn flush<B: Backend>(&mut self, b: &mut B) -> Result<(), Error> {
        let mut all = Ok(());
        while let Some(smmu) = self.pending.smmu() {
            all = all.and(self.pending.flush(b, smmu));
        }
        all
    }

    /// Translates an address of a stream of the host's.
    ///
    /// # Errors
    /// [`Error`]; what is not mapped is not 0.
    pub fn iova_to_phys<B: Backend>(&self, b: &B, key: Key, iova: u64) -> Result<u64, Error> {
        match self.owner(key)? {
            Owner::Host => {}
            Owner::Leaving => return Err(Error::NotMapped),
            Owner::Vm(_) => return Err(Error::Denied),
        }
        if iova >> b.bits(key) != 0 {
            return Err(Error::BadAddress);
        }
        let leaf = b.leaf(key, iova).ok_or(Error::NotMapped)?;
        Ok((leaf.frame << 12) + (iova - leaf.iova))
    }
}

/// Nothing is changed for a stream whose SMMU is known not to answer.
fn answers<B: Backend>(b: &B, key: Key) -> Result<(), Error> {
    if b.is_lost(key.smmu) {
        Err(Error::Lost)
    } else {
        Ok(())
    }
}
