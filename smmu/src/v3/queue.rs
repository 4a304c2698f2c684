//! The command queue (IHI 0070, 3.5, 4.7 and 7.1).
//!
//! Ward writes commands at `PROD`, the SMMU reads them at `CONS`; both count in twice the number
//! of entries, so that full (they differ in the top bit alone) is not empty (they are equal).
//!
//! A command that the SMMU will not run stops the queue: `CMDQ_CONS.ERR` says why and `RD` where.
//! It goes on when the entry has been repaired and the error acknowledged. An illegal command is
//! replaced by a `CMD_SYNC`, so the queue moves, but *what it should have done is not done*: the
//! next [`CommandQueue::sync`] fails, and the caller must do more (see
//! [`Smmu`](super::Smmu)) before it believes anything to be invalidated.

use super::register::{self, GERROR_CMDQ};
use super::{Command, Hardware};

/// Bytes of a command.
const BYTES: u64 = 16;
/// `CMDQ_CONS.ERR`.
const ERROR_SHIFT: u32 = 24;
const ERROR_MASK: u32 = 0x7f;
/// No error. The SMMU can't say this with the error active; acknowledged and done again.
const CERROR_NONE: u32 = 0;
/// The command could not be read.
const CERROR_ABT: u32 = 2;
/// An ATS invalidation did not end. Ward sends none.
const CERROR_ATC_INV_SYNC: u32 = 3;
/// How often a command may fail to be read, until the next sync.
const MOST_ABORTS: u32 = 4;

/// Why commands are not complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueError {
    /// The SMMU did not read on in time.
    Timeout,
    /// It refused the command with this code; all others are complete.
    Illegal(u8),
    /// It cannot read the queue's memory.
    Abort,
}

/// A command queue.
#[derive(Debug)]
pub struct CommandQueue {
    base: u64,
    order: u8,
    prod: u32,
    aborts: u32,
    illegal: Option<u8>,
}

impl CommandQueue {
    /// A queue of `1 << order` commands at `base`, aligned to its size (32 bytes at least).
    pub const fn new(base: u64, order: u8) -> Self {
        CommandQueue {
            base,
            order,
            prod: 0,
            aborts: 0,
            illegal: None,
        }
    }

    /// Bytes of a queue, and so its alignment.
    pub const fn bytes(order: u8) -> u64 {
        BYTES << order
    }

    /// `CMDQ_BASE` (6.3.26).
    pub(super) const fn base(&self) -> u64 {
        register::BASE_ALLOCATE | self.base | self.order as u64
    }

    /// Adds a command. It is not run before the next [`CommandQueue::sync`] says so, and the
    /// SMMU may not even have been told of it.
    ///
    /// # Errors
    /// If the queue is full and the SMMU does not read on.
    pub fn push<H: Hardware>(&mut self, hw: &H, command: Command) -> Result<(), QueueError> {
        let full = 1 << self.order;
        let prod = self.prod;
        // More behind than fits is an SMMU that counts wrong: waited for, then given up.
        if self.behind(hw.read32(register::CMDQ_CONS)) >= full {
            self.publish(hw);
            self.wait(hw, |cons, mask| (prod.wrapping_sub(cons)) & mask < full)?;
        }
        self.write(hw, self.prod, command);
        self.prod = self.prod.wrapping_add(1) & self.mask();
        Ok(())
    }

    /// Waits until every command before is complete, all with one `CMD_SYNC`.
    ///
    /// # Errors
    /// If not all of them are.
    pub fn sync<H: Hardware>(&mut self, hw: &H) -> Result<(), QueueError> {
        self.push(hw, Command::sync())?;
        self.publish(hw);
        let prod = self.prod;
        self.wait(hw, |cons, mask| cons & mask == prod)?;
        // What the SMMU did is seen before what the caller does next.
        hw.order();
        self.aborts = 0;
        match self.illegal.take() {
            Some(opcode) => Err(QueueError::Illegal(opcode)),
            None => Ok(()),
        }
    }

    /// Counter bits: the entries and one to tell full from empty.
    const fn mask(&self) -> u32 {
        (2 << self.order) - 1
    }

    const fn behind(&self, cons: u32) -> u32 {
        self.prod.wrapping_sub(cons) & self.mask()
    }

    fn slot(&self, index: u32) -> u64 {
        self.base + u64::from(index & (self.mask() >> 1)) * BYTES
    }

    fn write<H: Hardware>(&self, hw: &H, index: u32, command: Command) {
        let at = self.slot(index);
        hw.store(at, command.0[0]);
        hw.store(at + 8, command.0[1]);
    }

    /// The commands are in memory before the SMMU hears of them (3.21.2).
    fn publish<H: Hardware>(&self, hw: &H) {
        hw.order();
        hw.write32(register::CMDQ_PROD, self.prod);
    }

    fn wait<H: Hardware>(
        &mut self,
        hw: &H,
        done: impl Fn(u32, u32) -> bool,
    ) -> Result<(), QueueError> {
        let deadline = hw.deadline();
        loop {
            // Asked before the look, as everywhere.
            let over = hw.expired(deadline);
            let cons = hw.read32(register::CMDQ_CONS);
            if done(cons, self.mask()) {
                return Ok(());
            }
            if over {
                return Err(QueueError::Timeout);
            }
            self.recover(hw)?;
        }
    }

    /// Repairs the queue if it has stopped at an error (7.1).
    fn recover<H: Hardware>(&mut self, hw: &H) -> Result<(), QueueError> {
        let acknowledged = hw.read32(register::GERRORN);
        if (hw.read32(register::GERROR) ^ acknowledged) & GERROR_CMDQ == 0 {
            return Ok(());
        }
        // Only now: read before, it may be from before the error.
        let cons = hw.read32(register::CMDQ_CONS);
        match cons >> ERROR_SHIFT & ERROR_MASK {
            CERROR_NONE | CERROR_ATC_INV_SYNC => {}
            CERROR_ABT => {
                self.aborts += 1;
                if self.aborts > MOST_ABORTS {
                    return Err(QueueError::Abort);
                }
            }
            // Illegal, or a code that is not known: the command does not run.
            _ => {
                self.illegal = Some(hw.load(self.slot(cons)) as u8);
                self.write(hw, cons, Command::sync());
                hw.order();
            }
        }
        hw.write32(register::GERRORN, acknowledged ^ GERROR_CMDQ);
        Ok(())
    }
}
