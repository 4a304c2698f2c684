//! What the calls need of the rest: records of frames, tables, SMMUs, VMs.

use super::{Error, Key, Lost};

/// Size of a leaf.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Order {
    /// 4 KiB.
    Page,
    /// 2 MiB.
    Block,
}

impl Order {
    /// From a call's argument.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`].
    pub const fn decode(order: u64) -> Result<Self, Error> {
        match order {
            0 => Ok(Order::Page),
            9 => Ok(Order::Block),
            _ => Err(Error::InvalidArgument),
        }
    }

    /// Pages of 4 KiB.
    pub const fn pages(self) -> u64 {
        match self {
            Order::Page => 1,
            Order::Block => 512,
        }
    }

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.pages() << 12
    }
}

/// What a device may do. It may always read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prot {
    /// It may write.
    pub write: bool,
}

impl Prot {
    /// From a call's argument: bit 0 read, bit 1 write, nothing else. No address can hide here.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`].
    pub const fn decode(prot: u64) -> Result<Self, Error> {
        match prot {
            0b01 => Ok(Prot { write: false }),
            0b11 => Ok(Prot { write: true }),
            _ => Err(Error::InvalidArgument),
        }
    }
}

/// A translation of a stream's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Its first address.
    pub iova: u64,
    /// Its first frame's number.
    pub frame: u64,
    /// Its size.
    pub order: Order,
    /// What it allows.
    pub prot: Prot,
    /// Its frame is the page of interrupt messages, and has no record.
    pub doorbell: bool,
}

/// Whose a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// The host's, and what of it can be pinned, with the number of its pins.
    Host {
        /// Pins so far.
        pins: u16,
    },
    /// A VM's, at this address of the guest's.
    Vm {
        /// Whose.
        vm: u16,
        /// Where.
        ipa: u64,
    },
    /// The page of interrupt messages: device memory that a device of the host's may write.
    Doorbell,
    /// Anything else: Ward's, other device memory, nothing.
    Other,
}

/// What streams may be done with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmState {
    /// Being built: gets streams.
    Ready,
    /// Verified: nothing changes any more.
    Verified,
    /// Off.
    Off {
        /// A vCPU of it still runs.
        running: bool,
    },
}

/// Where a stream leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// To the host's memory, as for every stream that nobody asked for.
    Default,
    /// To a table of its own.
    Own,
    /// To a VM's stage 2.
    Vm(u16),
    /// Nowhere.
    Ended,
}

/// Records, tables and SMMUs, under their locks.
pub trait Backend {
    /// Is there such a stream?
    fn has(&self, key: Key) -> bool;

    /// Is it known that an SMMU does not answer?
    fn is_lost(&self, smmu: u8) -> bool;

    /// The state of a VM, `None` if there is none.
    fn vm(&self, vm: u16) -> Option<VmState>;

    /// Whose a frame is.
    fn frame(&self, frame: u64) -> Frame;

    /// One pin more for each of the frames, all the host's with room for one.
    fn pin(&mut self, first: u64, count: u64);

    /// One less, each has one.
    fn unpin(&mut self, first: u64, count: u64);

    /// Width of the addresses of a stream's own table.
    fn bits(&self, key: Key) -> u8;

    /// The leaf around an address in the stream's own table.
    fn leaf(&self, key: Key, iova: u64) -> Option<Leaf>;

    /// The first leaf of the stream's own table.
    fn first_leaf(&self, key: Key) -> Option<Leaf>;

    /// Is a range of the stream's own table without leaves?
    fn is_free(&self, key: Key, iova: u64, order: Order) -> bool;

    /// Are there table pages for a leaf there?
    fn has_room(&self, key: Key, iova: u64, order: Order) -> bool;

    /// Writes a leaf where there is room, and makes it seen by the SMMU.
    fn map(&mut self, key: Key, leaf: Leaf);

    /// Removes a leaf, and makes that seen. Table pages that become empty are not used again before
    /// the next sync.
    fn unmap(&mut self, key: Key, leaf: Leaf);

    /// Leads a stream elsewhere; when it returns, no access by the old way is under way, and
    /// nothing of it is in a cache.
    ///
    /// # Errors
    /// [`Lost`]: it may still lead to where it did.
    fn lead(&mut self, key: Key, target: Target) -> Result<(), Lost>;

    /// Asks that a range of the stream's own table be forgotten.
    ///
    /// # Errors
    /// [`Lost`].
    fn forget(&mut self, key: Key, iova: u64, pages: u64) -> Result<(), Lost>;

    /// Waits until one SMMU has forgotten what it was asked to.
    ///
    /// # Errors
    /// [`Lost`].
    fn sync(&mut self, smmu: u8) -> Result<(), Lost>;
}
