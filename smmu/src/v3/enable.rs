//! Taking an SMMU over, whatever state it is in (IHI 0070, 6.3.9 and 3.11).
//!
//! ```text
//! GBPA.ABORT     from now on what is not translated aborts
//! CR0 := 0       what firmware left is off; waited for
//! CR1, CR2       attributes; only now may they change
//! STRTAB, CMDQ, EVENTQ
//! CMDQEN         CFGI_ALL, TLBI_NSNH_ALL: reset need not empty the caches; CMD_SYNC
//! EVENTQEN       events of the first access are seen
//! ATSCHK         before an access could rely on it
//! SMMUEN
//! ```

use super::register::{self, CR0_ATSCHK, CR0_CMDQEN, CR0_EVENTQEN, CR0_SMMUEN};
use super::{Capabilities, Command, CommandQueue, EventQueue, Hardware, QueueError};
use super::{Register, Ste, StreamTable, Unfit, wait};

/// Where the tables and queues of one SMMU are: zeroed memory of Ward's own, cleaned to the point of
/// coherency (a line left dirty would be written over an event later).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// The stream table.
    pub streams: StreamTable,
    /// Physical address of the command queue.
    pub commands: u64,
    /// log2 of its entries.
    pub command_order: u8,
    /// Physical address of the event queue.
    pub events: u64,
    /// log2 of its entries.
    pub event_order: u8,
}

/// Why an SMMU could not be taken over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// It does not answer: this register never took the new value. Nothing is known of what its
    /// devices do, so Ward must not run guests beside it.
    NoAnswer(Register),
    /// Ward can't drive it. All its streams abort.
    Unfit(Unfit),
    /// The memory given for tables and queues is not aligned, or larger than the SMMU allows.
    /// All its streams abort.
    Placement,
    /// It does not run commands. All its streams abort.
    Commands(QueueError),
}

/// Ends all transactions from now on, whatever the SMMU did before. It needs no memory, and is
/// the first thing that is done to an SMMU.
///
/// # Errors
/// [`StartError::NoAnswer`].
pub fn abort_all<H: Hardware>(hw: &H) -> Result<(), StartError> {
    // 6.3.14.1: written only while no update is under way.
    settle(hw, register::GBPA, |value| {
        value & register::GBPA_UPDATE == 0
    })?;
    let value = register::GBPA_UPDATE | register::GBPA_ABORT;
    hw.write32(register::GBPA, value);
    settle(hw, register::GBPA, |value| {
        value & register::GBPA_UPDATE == 0
    })?;
    if hw.read32(register::GBPA) & register::GBPA_ABORT == 0 {
        return Err(StartError::NoAnswer(register::GBPA));
    }
    // Only now: an SMMU that is turned off before this has taken effect lets everything pass.
    // 6.3.9: a field is not written again before its last update is complete.
    let pending = hw.read32(register::CR0);
    settle(hw, register::CR0ACK, |seen| (seen ^ pending) & ENABLES == 0)?;
    set_enables(hw, 0)
}

/// The enables that every SMMU has; it does not show those that it lacks.
const ENABLES: u32 = 0xf;

fn settle<H: Hardware>(
    hw: &H,
    register: Register,
    done: impl Fn(u32) -> bool,
) -> Result<(), StartError> {
    if wait(hw, register, done) {
        Ok(())
    } else {
        Err(StartError::NoAnswer(register))
    }
}

/// Writes `CR0` and waits until every field has taken effect.
pub(super) fn set_enables<H: Hardware>(hw: &H, value: u32) -> Result<(), StartError> {
    hw.write32(register::CR0, value);
    settle(hw, register::CR0ACK, |seen| {
        (seen ^ value) & (ENABLES | value) == 0
    })
}

impl Placement {
    fn check(&self, caps: &Capabilities) -> Result<(), StartError> {
        let commands = CommandQueue::bytes(self.command_order);
        let events = EventQueue::bytes(self.event_order);
        let sizes = (4..=caps.command_order).contains(&self.command_order)
            && (1..=caps.event_order).contains(&self.event_order);
        // What the SMMU does not have of an address it ignores: the table would be elsewhere.
        let reach = |start: u64, bytes: u64| caps.output.holds(start + (bytes - 1));
        if sizes
            && self.streams.suits(caps)
            && self.commands.is_multiple_of(commands)
            && self.events.is_multiple_of(events)
            && reach(self.commands, commands)
            && reach(self.events, events)
        {
            Ok(())
        } else {
            Err(StartError::Placement)
        }
    }
}

/// Takes the SMMU over; on success every stream behaves as `default` says.
pub(super) fn start<H: Hardware>(
    hw: &H,
    place: &Placement,
    default: &Ste,
) -> Result<(Capabilities, CommandQueue, EventQueue), StartError> {
    abort_all(hw)?;
    let caps = Capabilities::read(hw).map_err(StartError::Unfit)?;
    place.check(&caps)?;

    hw.write32(register::IRQ_CTRL, 0);
    settle(hw, register::IRQ_CTRLACK, |value| value == 0)?;
    // Old errors are firmware's.
    hw.write32(register::GERRORN, hw.read32(register::GERROR));

    let attributes = if caps.coherent {
        register::CR1_COHERENT
    } else {
        register::CR1_UNCACHED
    };
    hw.write32(register::CR1, attributes);
    hw.write32(register::CR2, register::CR2_PTM | register::CR2_RECINVSID);

    place.streams.fill(hw, &default.encode());
    hw.write64(register::STRTAB_BASE, place.streams.base());
    hw.write32(register::STRTAB_BASE_CFG, place.streams.config());

    let mut commands = CommandQueue::new(place.commands, place.command_order);
    hw.write64(register::CMDQ_BASE, commands.base());
    hw.write32(register::CMDQ_PROD, 0);
    hw.write32(register::CMDQ_CONS, 0);

    let events = EventQueue::new(place.events, place.event_order);
    hw.write64(register::EVENTQ_BASE, events.base());
    hw.write32(register::EVENTQ_PROD, 0);
    hw.write32(register::EVENTQ_CONS, 0);

    set_enables(hw, CR0_CMDQEN)?;
    forget_everything(hw, &caps, &mut commands).map_err(StartError::Commands)?;
    let checked = if caps.ats { CR0_ATSCHK } else { 0 };
    set_enables(hw, CR0_CMDQEN | CR0_EVENTQEN)?;
    set_enables(hw, CR0_CMDQEN | CR0_EVENTQEN | checked)?;
    set_enables(hw, CR0_CMDQEN | CR0_EVENTQEN | checked | CR0_SMMUEN)?;
    Ok((caps, commands, events))
}

fn forget_everything<H: Hardware>(
    hw: &H,
    caps: &Capabilities,
    commands: &mut CommandQueue,
) -> Result<(), QueueError> {
    commands.push(hw, Command::config_all())?;
    commands.push(hw, Command::all())?;
    if caps.hypervisor {
        commands.push(hw, Command::all_of_el2())?;
    }
    commands.sync(hw)
}
